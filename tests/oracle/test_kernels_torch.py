"""The kernels, forward and backward, against PyTorch.

In float64 they agree to ten digits; in float32 ours may be as far from PyTorch's float64 as the tolerance
lets an implementation be from its reference, with PyTorch's own float32 in the reference's place.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import variants

import tinylm_kernels as K
from tinylm.autograd import Tensor
from tinylm.autograd import functional as F
from tinylm.bench.tolerance import compare, largest_magnitude
from tinylm.nn import CrossAttention, Initializer

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def ways(*kernels):
    """Each implementation of the forward, which the backward kernels are asked for too, and dtype."""
    return pytest.mark.parametrize(("kernel", "name", "dtype"), variants(*kernels))


def normal(dtype, *shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def theirs(torch, function, arrays, d, dtype):
    """PyTorch's results of function(*arrays), and the gradients by the floating arrays, as NumPy arrays."""
    tensors = [
        torch.tensor(a.astype(dtype) if a.dtype.kind == "f" else a, requires_grad=a.dtype.kind == "f") for a in arrays
    ]
    results = function(*tensors)
    results = results if isinstance(results, tuple) else (results,)
    d = [torch.tensor(x.astype(dtype)) for x in d]
    gradients = torch.autograd.grad(results, [t for t in tensors if t.requires_grad], d)
    return [t.detach().numpy() for t in (*results, *gradients)]


def assert_agrees(torch, ours, function, arrays, d):
    """Compare `ours`, results and gradients, with what PyTorch's function of the same arrays gives."""
    expected = theirs(torch, function, arrays, d, arrays[0].dtype)
    truth = theirs(torch, function, arrays, d, np.float64)
    assert len(ours) == len(expected)
    largest = largest_magnitude([*arrays, *d, *expected])
    for i, (r, e, t) in enumerate(zip(ours, expected, truth, strict=True)):
        if arrays[0].dtype == np.float64:
            np.testing.assert_allclose(r, e, rtol=1e-10, atol=1e-12 * largest, err_msg=f"output {i}")
        else:
            compare(np.asarray(r), e, t, float(np.finfo(np.float32).eps) * largest, f"output {i}")


@ways(K.softmax)
def test_softmax(torch, kernel, name, dtype):
    x, dy = normal(dtype, 3, 40, 65) * 5, normal(dtype, 3, 40, 65, seed=1)
    x[0, 0, ::2] = -np.inf
    with K.use(name):
        y = K.softmax(x)
        ours = [y, K.softmax_backward(dy, y)]
    assert_agrees(torch, ours, lambda x: x.softmax(-1), [x], [dy])


@ways(K.layer_norm)
def test_layer_norm(torch, kernel, name, dtype):
    x, dy = normal(dtype, 3, 40, 65) * 5 + 2, normal(dtype, 3, 40, 65, seed=1)
    weight, bias = normal(dtype, 65, seed=2), normal(dtype, 65, seed=3)
    with K.use(name):
        y, mean, rstd = K.layer_norm(x, weight, bias)
        ours = [y, *K.layer_norm_backward(dy, x, weight, mean, rstd)]

    def function(x, weight, bias):
        return torch.nn.functional.layer_norm(x, (65,), weight, bias)

    assert_agrees(torch, ours, function, [x, weight, bias], [dy])


@ways(K.rms_norm)
def test_rms_norm(torch, kernel, name, dtype):
    x, dy = normal(dtype, 3, 40, 65) * 5 + 2, normal(dtype, 3, 40, 65, seed=1)
    weight = normal(dtype, 65, seed=2)
    with K.use(name):
        y, rstd = K.rms_norm(x, weight, eps=1e-6)
        ours = [y, *K.rms_norm_backward(dy, x, weight, rstd)]
    assert_agrees(torch, ours, lambda x, w: torch.nn.functional.rms_norm(x, (65,), w, 1e-6), [x, weight], [dy])


@ways(K.gelu)
@pytest.mark.parametrize("form", ["tanh", "none"])
def test_gelu(torch, kernel, name, dtype, form):
    x, dy = normal(dtype, 40, 65) * 3, normal(dtype, 40, 65, seed=1)
    with K.use(name):
        ours = [K.gelu(x, exact=form == "none"), K.gelu_backward(dy, x, exact=form == "none")]
    assert_agrees(torch, ours, lambda x: torch.nn.functional.gelu(x, approximate=form), [x], [dy])


@ways(K.silu)
def test_silu(torch, kernel, name, dtype):
    x, dy = normal(dtype, 40, 65) * 3, normal(dtype, 40, 65, seed=1)
    with K.use(name):
        ours = [K.silu(x), K.silu_backward(dy, x)]
    assert_agrees(torch, ours, torch.nn.functional.silu, [x], [dy])


@ways(K.swiglu)
def test_swiglu_on_the_halves_of_a_projection(torch, kernel, name, dtype):
    x, dy = normal(dtype, 2, 40, 130) * 3, normal(dtype, 2, 40, 65, seed=1)
    leaf = Tensor(x, requires_grad=True)
    with K.use(name):
        y = F.fused_swiglu(leaf)
        y.backward(dy)

    def function(x):
        gate, up = x.chunk(2, dim=-1)
        return torch.nn.functional.silu(gate) * up

    assert_agrees(torch, [y.data, leaf.grad], function, [x], [dy])


@ways(K.linear)
def test_linear_with_bias_and_residual(torch, kernel, name, dtype):
    x, weight, bias = normal(dtype, 3, 40, 33), normal(dtype, 17, 33, seed=1), normal(dtype, 17, seed=2)
    residual, dy = normal(dtype, 3, 40, 17, seed=3), normal(dtype, 3, 40, 17, seed=4)
    with K.use(name):
        ours = [
            K.linear(x, weight, bias, residual),
            K.linear_backward_input(dy, weight),
            K.linear_backward_weight(dy, x),
            K.linear_backward_bias(dy),
            dy,
        ]

    def function(x, weight, bias, residual):
        return torch.nn.functional.linear(x, weight, bias) + residual

    assert_agrees(torch, ours, function, [x, weight, bias, residual], [dy])


@ways(K.embedding)
def test_embedding(torch, kernel, name, dtype):
    table, ids = normal(dtype, 50, 65), np.random.default_rng(1).integers(0, 50, (8, 40))
    dy = normal(dtype, 8, 40, 65, seed=2)
    with K.use(name):
        ours = [K.embedding(table, ids), K.embedding_backward(dy, ids, rows=50)]
    assert_agrees(torch, ours, lambda t, i: torch.nn.functional.embedding(i, t), [table, ids], [dy])


@ways(K.cross_entropy)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_with_ignored_rows_and_smoothing(torch, kernel, name, dtype, smoothing):
    logits, targets = normal(dtype, 40, 129) * 4, np.random.default_rng(1).integers(0, 129, 40)
    targets[::5] = K.IGNORE
    settings = {"label_smoothing": smoothing}
    with K.use(name):
        losses, gradient = K.cross_entropy_with_gradient(logits, targets, scale=0.25, **settings)
        alone = K.cross_entropy(logits, targets, **settings)

    def function(logits, targets):
        return torch.nn.functional.cross_entropy(logits, targets, reduction="none", **settings)

    d = [np.full(40, 0.25, dtype)]
    assert_agrees(torch, [losses, gradient], function, [logits, targets], d)
    assert_agrees(torch, [alone, gradient], function, [logits, targets], d)


@ways(K.cross_entropy)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_with_weights_of_classes(torch, kernel, name, dtype, reduction):
    logits, targets = normal(dtype, 5, 8, 129) * 4, np.random.default_rng(1).integers(0, 129, (5, 8))
    targets[::2, ::3] = K.IGNORE
    class_weights = abs(normal(dtype, 129, seed=2))
    d = normal(dtype, *((5, 8) if reduction == "none" else ()), seed=3)
    leaf = Tensor(logits, requires_grad=True)
    with K.use(name):
        loss = F.cross_entropy(leaf, targets, class_weights[targets], reduction=reduction)
        loss.backward(d)

    def function(logits, targets):
        flat, weight = logits.flatten(0, 1), torch.tensor(class_weights, dtype=logits.dtype)
        losses = torch.nn.functional.cross_entropy(flat, targets.flatten(), weight, reduction=reduction)
        return losses.reshape(d.shape)

    assert_agrees(torch, [loss.data, leaf.grad], function, [logits, targets], [d])


@ways(K.linear_cross_entropy)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_cross_entropy_of_a_projection(torch, kernel, name, dtype, reduction):
    x, weight, bias = normal(dtype, 5, 8, 33), normal(dtype, 129, 33, seed=1) / 4, normal(dtype, 129, seed=2)
    targets = np.random.default_rng(1).integers(0, 129, (5, 8))
    targets[::2, ::3] = K.IGNORE
    settings = {"reduction": reduction, "label_smoothing": 0.1}
    leaves = [Tensor(a, requires_grad=True) for a in (x, weight, bias)]
    d = normal(dtype, seed=3)
    with K.use(name):
        loss = F.linear_cross_entropy(leaves[0], leaves[1], targets, leaves[2], **settings)
        loss.backward(d)

    def function(x, weight, bias):
        logits = torch.nn.functional.linear(x, weight, bias).flatten(0, 1)
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets).flatten(), **settings)

    assert_agrees(torch, [loss.data, *(leaf.grad for leaf in leaves)], function, [x, weight, bias], [d])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nll_loss_with_weights_of_classes(torch, reduction):
    log_p, targets = normal("float64", 40, 129), np.random.default_rng(1).integers(0, 129, 40)
    targets[::5] = K.IGNORE
    class_weights = abs(normal("float64", 129, seed=2))
    d = normal("float64", *((40,) if reduction == "none" else ()), seed=3)
    leaf = Tensor(log_p, requires_grad=True)
    loss = F.nll_loss(leaf, targets, class_weights[targets], reduction=reduction)
    loss.backward(d)

    def function(log_p, targets):
        return torch.nn.functional.nll_loss(log_p, targets, torch.tensor(class_weights), reduction=reduction)

    assert_agrees(torch, [loss.data, leaf.grad], function, [log_p, targets], [d])


@ways(K.attention)
@pytest.mark.parametrize("kind", ["full", "causal", "cached", "padded", "causal and padded", "scaled"])
def test_attention(torch, kernel, name, dtype, kind):
    T, S = (40, 100) if kind == "cached" else (70, 70)
    q, dy = normal(dtype, 2, 3, T, 24), normal(dtype, 2, 3, T, 24, seed=1)
    k, v = normal(dtype, 2, 3, S, 24, seed=2), normal(dtype, 2, 3, S, 24, seed=3)
    causal, scale = kind.startswith("ca"), 0.3 if kind == "scaled" else None
    key_mask = np.arange(S) < np.array([S, 33])[:, None] if "padded" in kind else None
    with K.use(name):
        y, log_sum_exp = K.attention(q, k, v, key_mask, causal=causal, scale=scale)
        settings = {"causal": causal, "scale": scale}
        ours = [y, *K.attention_backward(dy, q, k, v, y, log_sum_exp, key_mask, **settings)]

    visible = np.tri(T, S, S - T, dtype=bool) if causal else np.ones((T, S), bool)
    if key_mask is not None:
        visible = visible & key_mask[:, None, None, :]

    def function(q, k, v):
        if kind in ("full", "causal", "scaled"):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, torch.tensor(visible))

    assert_agrees(torch, ours, function, [q, k, v], [dy])


def flexible_scores(torch, q, k, bias, offsets, window, softcap):
    """The scores of attention with every setting, spelled out in torch on repeated heads."""
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
    scores = softcap * torch.tanh(scores / softcap) + bias
    at = torch.tensor(offsets)[:, None] + torch.arange(q.shape[2])
    ahead = (torch.arange(k.shape[2]) - at[..., None])[:, None]
    return scores.masked_fill((ahead > window[1]) | (ahead < -window[0]), -math.inf)


@ways(K.attention)
@pytest.mark.parametrize("kind", ["grouped", "one group", "grouped and causal", "wide values", "bias", "shared bias"])
def test_attention_with_grouped_heads_widths_and_biases(torch, kernel, name, dtype, kind):
    heads, E = {"one group": 1, "wide values": 4, "bias": 4}.get(kind, 2), 40 if kind == "wide values" else 24
    shapes = (
        (2, 4, 70, 24),
        (2, heads, 70, 24),
        (2, heads, 70, E),
        (1, 4, 70, 70) if kind == "shared bias" else (2, 4, 70, 70),
    )
    q, k, v, bias = (normal(dtype, *shape, seed=i) for i, shape in enumerate(shapes))
    dy, causal = normal(dtype, 2, 4, 70, E, seed=9), "causal" in kind
    biased = "bias" in kind
    with K.use(name):
        leaves = [Tensor(a, requires_grad=True) for a in (q, k, v, bias)[: 3 + biased]]
        y = F.attention(*leaves[:3], None, *leaves[3:], causal=causal)
        y.backward(dy)

    def function(q, k, v, bias=None):
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(q, k, v, None if bias is None else bias.expand(2, 4, 70, 70), is_causal=causal, enable_gqa=True)

    assert_agrees(torch, [y.data, *(leaf.grad for leaf in leaves)], function, [leaf.data for leaf in leaves], [dy])


@ways(K.attention)
@pytest.mark.parametrize("queries", [3, 70])
def test_attention_with_a_window_a_soft_cap_a_bias_and_offsets_at_once(torch, kernel, name, dtype, queries):
    shapes = (2, 4, queries, 24), (2, 2, 90, 24), (2, 2, 90, 17), (1, 4, queries, 90)
    q, k, v, bias = (normal(dtype, *shape, seed=i) for i, shape in enumerate(shapes))
    offsets, window, softcap = np.array([0, 20]), (30, 2), 1.5
    dy = normal(dtype, 2, 4, queries, 17, seed=9)
    leaves = [Tensor(a, requires_grad=True) for a in (q, k, v, bias)]
    with K.use(name):
        y = F.attention(*leaves[:3], None, leaves[3], offsets, causal=False, window=window, softcap=softcap)
        y.backward(dy)

    def function(q, k, v, bias):
        scores = flexible_scores(torch, q, k, bias, offsets, window, softcap)
        return scores.softmax(-1) @ v.repeat_interleave(2, 1)

    assert_agrees(torch, [y.data, *(leaf.grad for leaf in leaves)], function, [q, k, v, bias], [dy])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_attention_with_memory_of_another_width(torch, dtype):
    theirs = torch.nn.MultiheadAttention(12, 3, kdim=20, vdim=20, batch_first=True, dtype=getattr(torch, dtype))
    ours = CrossAttention(12, 3, Initializer(0, dtype=np.dtype(dtype)), memory_channels=20)
    state = {name: p.detach().numpy() for name, p in theirs.named_parameters()}
    ours.query.weight.data = state["q_proj_weight"]
    ours.key_value.weight.data = np.concatenate([state["k_proj_weight"], state["v_proj_weight"]])
    ours.projection.weight.data = state["out_proj.weight"]
    x, memory = normal(dtype, 2, 5, 12), normal(dtype, 2, 9, 20)
    mask = np.arange(9) < np.array([[9], [4]])
    a, b = torch.tensor(x), torch.tensor(memory)
    expected = theirs(a, b, b, key_padding_mask=torch.tensor(~mask))[0].detach().numpy()
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(ours(Tensor(x), Tensor(memory), key_mask=mask).data, expected, atol=tolerance)


@ways(K.lstm)
@pytest.mark.parametrize("lengths", [None, [20, 1, 7, 20, 13]])
def test_lstm(torch, kernel, name, dtype, lengths):
    B, T, inputs, H = 5, 20, 9, 12
    sizes = [(B, T, inputs), (4 * H, inputs), (4 * H, H), (4 * H,), (B, H), (B, H)]
    arrays = [normal(dtype, *size, seed=i) / (3 if i in (1, 2) else 1) for i, size in enumerate(sizes)]
    d = [normal(dtype, *size, seed=10 + i) for i, size in enumerate([(B, T, H), (B, H), (B, H)])]
    extra = () if lengths is None else (np.array(lengths),)
    x, w_input, w_hidden, _, h0, c0 = arrays
    with K.use(name):
        y, h, c, gates, cells = K.lstm(*arrays, *extra)
        saved = (x, w_input, w_hidden, h0, c0, y, gates, cells)
        ours = [y, h, c, *K.lstm_backward(*d, *saved, *extra)]

    def function(x, w_input, w_hidden, bias, h0, c0):
        layer = torch.nn.LSTM(inputs, H, batch_first=True, dtype=x.dtype)
        weights = {"weight_ih_l0": w_input, "weight_hh_l0": w_hidden, "bias_ih_l0": bias}
        weights["bias_hh_l0"] = torch.zeros_like(bias)
        if lengths is not None:
            x = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), True, enforce_sorted=False)
        y, (h, c) = torch.func.functional_call(layer, weights, (x, (h0[None], c0[None])))
        if lengths is not None:
            y = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=T)[0]
        return y, h[0], c[0]

    assert_agrees(torch, ours, function, arrays, d)


@ways(K.lstm)
def test_lstm_with_peepholes_written_out_step_by_step(torch, kernel, name, dtype):
    B, T, inputs, H = 3, 9, 5, 12
    sizes = [(B, T, inputs), (4 * H, inputs), (4 * H, H), (4 * H,), (B, H), (B, H), (3 * H,)]
    arrays = [normal(dtype, *size, seed=i) / (3 if i in (1, 2) else 1) for i, size in enumerate(sizes)]
    d = [normal(dtype, *size, seed=10 + i) for i, size in enumerate([(B, T, H), (B, H), (B, H)])]
    x, w_input, w_hidden, _, h0, c0, peepholes = arrays
    with K.use(name):
        y, h, c, gates, cells = K.lstm(*arrays[:6], None, peepholes)
        ours = [y, h, c, *K.lstm_backward(*d, x, w_input, w_hidden, h0, c0, y, gates, cells, None, peepholes)]

    def function(x, w_input, w_hidden, bias, h, c, peepholes):
        p_i, p_f, p_o = peepholes.chunk(3)
        ys = []
        for t in range(T):
            i, f, g, o = (x[:, t] @ w_input.T + h @ w_hidden.T + bias).chunk(4, dim=1)
            c = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
            h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
            ys.append(h)
        return torch.stack(ys, dim=1), h, c

    assert_agrees(torch, ours, function, arrays, d)


@ways(K.gru)
@pytest.mark.parametrize("lengths", [None, [20, 1, 7, 20, 13]])
def test_gru(torch, kernel, name, dtype, lengths):
    B, T, inputs, H = 5, 20, 9, 12
    sizes = [(B, T, inputs), (3 * H, inputs), (3 * H, H), (3 * H,), (3 * H,), (B, H)]
    arrays = [normal(dtype, *size, seed=i) / (3 if i in (1, 2) else 1) for i, size in enumerate(sizes)]
    d = [normal(dtype, *size, seed=10 + i) for i, size in enumerate([(B, T, H), (B, H)])]
    extra = () if lengths is None else (np.array(lengths),)
    x, w_input, w_hidden, _, _, h0 = arrays
    with K.use(name):
        y, h, gates, inner = K.gru(*arrays, *extra)
        ours = [y, h, *K.gru_backward(*d, x, w_input, w_hidden, h0, y, gates, inner, *extra)]

    def function(x, w_input, w_hidden, b_input, b_hidden, h0):
        layer = torch.nn.GRU(inputs, H, batch_first=True, dtype=x.dtype)
        names = "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"
        weights = dict(zip(names, (w_input, w_hidden, b_input, b_hidden), strict=True))
        if lengths is not None:
            x = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), True, enforce_sorted=False)
        y, h = torch.func.functional_call(layer, weights, (x, h0[None]))
        if lengths is not None:
            y = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=T)[0]
        return y, h[0]

    assert_agrees(torch, ours, function, arrays, d)


@ways(K.gru)
def test_gru_that_resets_before_its_product(torch, kernel, name, dtype):
    B, T, inputs, H = 3, 9, 5, 12
    sizes = [(B, T, inputs), (3 * H, inputs), (3 * H, H), (3 * H,), (3 * H,), (B, H)]
    arrays = [normal(dtype, *size, seed=i) / (3 if i in (1, 2) else 1) for i, size in enumerate(sizes)]
    d = [normal(dtype, *size, seed=10 + i) for i, size in enumerate([(B, T, H), (B, H)])]
    x, w_input, w_hidden, _, _, h0 = arrays
    with K.use(name):
        y, h, gates, inner = K.gru(*arrays, reset_after=False)
        ours = [y, h, *K.gru_backward(*d, x, w_input, w_hidden, h0, y, gates, inner, reset_after=False)]

    def function(x, w_input, w_hidden, b_input, b_hidden, h):
        hidden, ys = [w_hidden[:H], w_hidden[H : 2 * H], w_hidden[2 * H :]], []
        for t in range(T):
            r, z, n = (x[:, t] @ w_input.T + b_input + b_hidden).chunk(3, dim=1)
            r, z = torch.sigmoid(r + h @ hidden[0].T), torch.sigmoid(z + h @ hidden[1].T)
            h = (1 - z) * torch.tanh(n + (r * h) @ hidden[2].T) + z * h
            ys.append(h)
        return torch.stack(ys, dim=1), h

    assert_agrees(torch, ours, function, arrays, d)


@ways(K.adamw)
@pytest.mark.parametrize("optimizer", ["AdamW", "Adam"])
def test_twenty_clipped_steps_of_adam(torch, kernel, name, dtype, optimizer):
    settings = {"lr": 0.01, "eps": 1e-8, "weight_decay": 0.1}
    state = [normal(dtype, 300), np.zeros(300, dtype), np.zeros(300, dtype)]
    gradients = [normal(dtype, 300, seed=step) * step for step in range(1, 21)]
    for step, g in enumerate(gradients, start=1):
        with K.use(name):
            scale = min(1.0, 20 / (math.sqrt(K.squared_norm(g)) + 1e-6))
            state[:] = K.adamw(
                state[0], g, *state[1:], beta1=0.9, beta2=0.95, step=step, scale=scale,
                decoupled=optimizer == "AdamW", **settings,
            )  # fmt: skip

    def steps(in_dtype):
        p = torch.nn.Parameter(torch.tensor(normal(dtype, 300).astype(in_dtype)))
        adam = getattr(torch.optim, optimizer)([p], betas=(0.9, 0.95), **settings)
        for g in gradients:
            p.grad = torch.tensor(g.astype(in_dtype))
            torch.nn.utils.clip_grad_norm_([p], 20)
            adam.step()
        return [t.detach().numpy() for t in (p, adam.state[p]["exp_avg"], adam.state[p]["exp_avg_sq"])]

    eps = float(np.finfo(dtype).eps)
    for i, (ours, e, t) in enumerate(zip(state, steps(dtype), steps(np.float64), strict=True)):
        if dtype == "float64":
            np.testing.assert_allclose(ours, e, rtol=1e-10)
        else:
            compare(ours, e, t, eps * largest_magnitude([*gradients, e]), "pmv"[i])
