"""The operators of the ONNX standard in terms of our functions: what turns a node test into calls of ours.

A function per operator takes the node's inputs (None for those left out), its attributes and its outputs' names, and
returns the outputs; or raises `Skip` with the reason why that case asks for something else. They adapt layouts (axes,
transposes, heads beside each other) and formats (weights of classes to those of rows); the mathematics is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Parameter, Tensor
from tinylm.autograd import functional as F
from tinylm.nn import AttentionCache
from tinylm.optim import SGD, Adagrad, Adam, ParameterGroup
from tinylm_kernels.attention.scores import STAGES


class Skip(Exception):
    """A node test that asks for something our function does not promise."""


def need(condition, reason):
    if not condition:
        raise Skip(reason)


def softmax(x, attributes, outputs):
    return [F.softmax(x[0], axis=attributes.get("axis", -1)).data]


def log_softmax(x, attributes, outputs):
    return [F.log_softmax(x[0], axis=attributes.get("axis", -1)).data]


def gelu(x, attributes, outputs):
    return [K.gelu(x[0], exact=attributes.get("approximate", b"none") == b"none")]


def gemm(x, attributes, outputs):
    """alpha a b + beta c: our weight lies transposed, c is a bias or a residual by its shape."""
    a, b, c = x[:3]
    a, b = a.T if attributes.get("transA") else a, b if attributes.get("transB") else b.T
    bias = residual = None
    if c is not None:
        c = Tensor(c) * attributes.get("beta", 1.0)
        columns = len(b)
        if c.size in (1, columns):
            bias = F.broadcast_to(c.reshape(-1), shape=(columns,))
        else:
            residual = c
    return [F.linear(Tensor(a) * attributes.get("alpha", 1.0), b, bias, residual).data]


def layer_normalization(x, attributes, outputs):
    axis = attributes.get("axis", -1) % x[0].ndim
    rows = x[0].reshape(*x[0].shape[:axis], -1)
    weight, bias = x[1].reshape(-1), x[2].reshape(-1)
    y, mean, rstd = K.layer_norm(rows, weight, bias, eps=attributes.get("epsilon", 1e-5))
    kept = (*x[0].shape[:axis], *[1] * (x[0].ndim - axis))
    return [y.reshape(x[0].shape), np.reshape(mean, kept), np.reshape(rstd, kept)]


def rms_normalization(x, attributes, outputs):
    axis = attributes.get("axis", -1) % x[0].ndim
    rows = x[0].reshape(*x[0].shape[:axis], -1)
    return [K.rms_norm(rows, x[1].reshape(-1), eps=attributes.get("epsilon", 1e-5))[0].reshape(x[0].shape)]


def softmax_cross_entropy_loss(x, attributes, outputs):
    scores, labels, class_weights = x[:3]
    settings = _loss_settings(attributes)
    weights = _weights_of_rows(class_weights, labels, settings["ignore_index"])
    loss = F.cross_entropy(np.moveaxis(scores, 1, -1), labels, weights, **settings).data
    return [loss, F.log_softmax(scores, axis=1).data]


def negative_log_likelihood_loss(x, attributes, outputs):
    log_probabilities, labels, class_weights = x[:3]
    settings = _loss_settings(attributes)
    weights = _weights_of_rows(class_weights, labels, settings["ignore_index"])
    return [F.nll_loss(np.moveaxis(log_probabilities, 1, -1), labels, weights, **settings).data]


def _loss_settings(attributes):
    reduction = attributes.get("reduction", b"mean").decode()
    return {"reduction": reduction, "ignore_index": attributes.get("ignore_index", K.IGNORE)}


def _weights_of_rows(class_weights, labels, ignore_index):
    return None if class_weights is None else class_weights[np.where(labels == ignore_index, 0, labels)]


def lstm(x, attributes, outputs):
    need(not {"activations", "clip", "input_forget"} & set(attributes), "other activations, clipping or gates")
    *inputs, c0, peepholes = x[:8]

    def layer(x, w, r, b, h0, lengths, n, batch_first):
        H = r.shape[1]
        order = (0, 2, 3, 1)  # from i, o, f, c to i, f, g, o
        weights = *_gates(order, H, w, r), sum(_gates(order, H, b[: 4 * H], b[4 * H :]))
        c = np.zeros_like(h0) if c0 is None else _of_direction(c0, n, batch_first)
        p = None if peepholes is None else _gates((0, 2, 1), H, peepholes[n])[0]  # from i, o, f
        return K.lstm(x, *weights, h0, c, lengths, p)[:3]

    return _recurrent(layer, 4, inputs, attributes)


def gru(x, attributes, outputs):
    need(not {"activations", "clip"} & set(attributes), "other activations or clipping")

    def layer(x, w, r, b, h0, lengths, n, batch_first):
        H = r.shape[1]
        arrays = _gates((1, 0, 2), H, w, r, b[: 3 * H], b[3 * H :])  # from z, r, h to r, z, n
        return K.gru(x, *arrays, h0, lengths, reset_after=bool(attributes.get("linear_before_reset", 0)))[:2]

    return _recurrent(layer, 3, x[:6], attributes)


def _recurrent(layer, gates, inputs, attributes):
    """The outputs of a recurrent node from those of layer(x, w, r, b, h0, lengths, direction, batch_first)."""
    x, w, r, b, lengths, h0 = inputs
    batch_first = attributes.get("layout", 0) == 1
    x = x if batch_first else x.swapaxes(0, 1)
    H = r.shape[-1]
    results = []
    backwards = {b"forward": [False], b"reverse": [True], b"bidirectional": [False, True]}
    for n, backward in enumerate(backwards[attributes.get("direction", b"forward")]):
        bias = np.zeros(2 * gates * H, w.dtype) if b is None else b[n]
        h = np.zeros((len(x), H), w.dtype) if h0 is None else _of_direction(h0, n, batch_first)
        way = (lambda a: _backwards(a, lengths)) if backward else (lambda a: a)
        y, *last = layer(way(x), w[n], r[n], bias, h, lengths, n, batch_first)
        results.append((way(y), *last))
    ys, *states = zip(*results, strict=True)
    y = np.stack(ys, axis=2)  # (B, T, directions, H)
    return [y if batch_first else y.transpose(1, 2, 0, 3), *(np.stack(s, axis=1 if batch_first else 0) for s in states)]


def _of_direction(state, n, batch_first):
    return state[:, n] if batch_first else state[n]


def _backwards(x, lengths):
    """Each row backwards over its own length."""
    ends = np.full(len(x), x.shape[1]) if lengths is None else lengths
    return np.stack([np.concatenate([row[:n][::-1], row[n:]]) for row, n in zip(x, ends, strict=True)])


def _gates(order, H, *arrays):
    """The blocks of H rows of each array in another order."""
    return [np.concatenate([a[n * H : (n + 1) * H] for n in order]) for a in arrays]


def attention(x, attributes, outputs):
    q, k, v, mask, past_k, past_v, lengths = x[:7]
    three = q.ndim == 3
    if three:
        q, k, v = (_split(a, attributes[f"{h}_num_heads"]) for a, h in ((q, "q"), (k, "kv"), (v, "kv")))
    past = 0 if past_k is None else past_k.shape[2]
    if past:
        k, v = _behind_a_cache(past_k, past_v, k, v)
    B, _, T, _ = q.shape
    S = k.shape[2]
    # The standard counts positions from the first key; by default we have the last query at the last key.
    offsets = np.full(B, past) if lengths is None else lengths - T
    masks = None if lengths is None else np.arange(S) < lengths[:, None], _of_four_axes(mask, S), offsets
    sides = (attributes.get(f"{side}_window_size", -1) for side in ("left", "right"))
    settings = {
        "causal": bool(attributes.get("is_causal")),
        "window": tuple(None if size < 0 else size for size in sides),
        "softcap": attributes.get("softcap") or None,
        "scale": attributes.get("scale"),
    }
    y, _ = K.attention(q, k, v, *masks, **settings)
    results = [y.swapaxes(1, 2).reshape(B, T, -1) if three else y, k, v]
    if len(outputs) == 4:
        stage = STAGES[attributes.get("qk_matmul_output_mode", 0)]
        results.append(K.attention_scores(q, k, *masks, **settings, stage=stage))
    return results


def _split(a, heads):
    return a.reshape(*a.shape[:2], heads, -1).swapaxes(1, 2)


def _behind_a_cache(past_k, past_v, k, v):
    B, G, past, D = past_k.shape
    cache = AttentionCache(B, G, past + k.shape[2], D, k.dtype, value_width=v.shape[3])
    cache.append(past_k, past_v)
    return cache.append(k, v)


def _of_four_axes(mask, S):
    """A mask with leading axes of 1; keys that it leaves out are hidden."""
    if mask is None:
        return None
    missing = [(0, 0)] * (mask.ndim - 1) + [(0, S - mask.shape[-1])]
    mask = np.pad(mask, missing, constant_values=False if mask.dtype == bool else -np.inf)
    return mask.reshape((1,) * (4 - mask.ndim) + mask.shape)


def rotary_embedding(x, attributes, outputs):
    """Heads beside each other are split; the angles of each token alone are a table with a row for each token."""
    values, cos, sin, positions = x[:4]
    three = values.ndim == 3
    if three:
        values = _split(values, attributes["num_heads"])
    B, _, T, _ = values.shape
    if positions is None:
        cos, sin, positions = cos.reshape(B * T, -1), sin.reshape(B * T, -1), np.arange(B * T).reshape(B, T)
    y = K.rope(values, cos, sin, positions, interleaved=bool(attributes.get("interleaved", 0)))
    return [y.swapaxes(1, 2).reshape(x[0].shape) if three else y]


def adam(x, attributes, outputs):
    # The standard counts steps from 0, and its step 0 has no bias correction: nor has one so late that beta^step is 0.
    betas = attributes.get("alpha", 0.9), attributes.get("beta", 0.999)
    return _step(
        lambda groups: Adam(groups, betas=betas, eps=attributes.get("epsilon", 0.0), eps_hat=True),
        *x, attributes=attributes, steps=(int(x[1]) or 10**9) - 1,
    )  # fmt: skip


def momentum(x, attributes, outputs):
    need(int(x[1]) == 0 or attributes["beta"] == 1, "a gradient that joins the momentum in part")
    nesterov = attributes["mode"] == b"nesterov"
    return _step(
        lambda groups: SGD(groups, momentum=attributes["alpha"], nesterov=nesterov),
        *x, attributes=attributes, steps=int(x[1]),
    )  # fmt: skip


def adagrad(x, attributes, outputs):
    return _step(
        lambda groups: Adagrad(groups, rate_decay=attributes.get("decay_factor", 0.0), eps=attributes["epsilon"]),
        *x, attributes=attributes, steps=int(x[1]),
    )  # fmt: skip


def _step(make, rate, _, *arrays, attributes, steps):
    """The parameters and then each buffer after a step of the optimizer; arrays: those, the gradients in between."""
    arrays = [a for a in arrays if a is not None]
    buffers = make([ParameterGroup([Parameter(np.zeros(1, np.float32))])]).buffers[0]
    n = len(arrays) // (2 + len(buffers))
    parameters = [Parameter(a.copy()) for a in arrays[:n]]
    optimizer = make([ParameterGroup(parameters, weight_decay=attributes.get("norm_coefficient", 0.0))])
    optimizer.steps = steps
    for p, gradient in zip(parameters, arrays[n:], strict=False):
        p.grad = gradient
    for i, buffer in enumerate(optimizer.buffers[0].values(), start=2):
        buffer[...] = np.concatenate(arrays[i * n : (i + 1) * n])
    optimizer.step(float(rate))
    ends = np.cumsum([len(p.data) for p in parameters])[:-1]
    states = [part for buffer in optimizer.buffers[0].values() for part in np.split(buffer, ends)]
    return [*(p.data for p in parameters), *states]


@dataclass(frozen=True)
class Operator:
    """How to run an operator's node tests. words: what of ours computes it; kernel: whose implementations run it."""

    call: Callable[..., list[Any]]
    words: str
    kernel: Any = None


OPERATORS = {
    "Softmax": Operator(softmax, "`F.softmax`", K.softmax),
    "LogSoftmax": Operator(log_softmax, "`F.log_softmax`"),
    "LayerNormalization": Operator(layer_normalization, "kernel `layer_norm`", K.layer_norm),
    "RMSNormalization": Operator(rms_normalization, "kernel `rms_norm`", K.rms_norm),
    "Attention": Operator(attention, "kernels `attention`, `attention_scores`", K.attention),
    "RotaryEmbedding": Operator(rotary_embedding, "kernel `rope`", K.rope),
    "SoftmaxCrossEntropyLoss": Operator(softmax_cross_entropy_loss, "`F.cross_entropy`", K.cross_entropy),
    "NegativeLogLikelihoodLoss": Operator(negative_log_likelihood_loss, "`F.nll_loss`"),
    "Gelu": Operator(gelu, "kernel `gelu`", K.gelu),
    "Gemm": Operator(gemm, "`F.linear`", K.linear),
    "LSTM": Operator(lstm, "kernel `lstm`", K.lstm),
    "GRU": Operator(gru, "kernel `gru`", K.gru),
    "Adam": Operator(adam, "`optim.Adam`", K.adamw),
    "Momentum": Operator(momentum, "`optim.SGD`"),
    "Adagrad": Operator(adagrad, "`optim.Adagrad`"),
}
