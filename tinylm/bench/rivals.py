"""The kernels' counterparts in PyTorch, as a user calls them: eager, with fresh outputs.

One function per kernel, under its name, takes `torch` and the kernel's arrays as tensors, and gives a
function without arguments that returns what corresponds to the kernel's first results. A backward is the
autograd's alone: the forward has run, and its graph is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .calls import Case
from .cases import normal

# Random, changing its state at every call, or rounding its result: what these return is not compared.
NOT_COMPARED = {"dropout", "adamw", "matmul_bfloat16"}


def torch_candidates(torch: Any, name: str, case: Case) -> dict[str, Callable[[], Any]]:
    """The candidates that PyTorch has for a kernel, by their names in the table."""
    tensors = [None if a is None else torch.from_numpy(a.copy()) for a in case.arrays]
    if name == "adamw":
        return {"torch": _adamw(torch, tensors), "torch fused": _adamw(torch, tensors, fused=True)}
    if name == "matmul_bfloat16":
        return matmul_bfloat16(torch, *tensors)
    return {"torch": globals()[name](torch, *tensors, **case.settings)}


def _adamw(torch, tensors, **options):
    p = torch.nn.Parameter(tensors[0].clone())
    p.grad = tensors[1].clone()
    return torch.optim.AdamW([p], lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, **options).step


def matmul_bfloat16(torch, a, b):
    """From float32 to float32 as the kernel, from bfloat16 to bfloat16, and in float32."""
    a16, b16 = a.bfloat16(), b.bfloat16()
    return {
        "torch": lambda: (a.bfloat16() @ b.bfloat16()).float(),
        "torch, bfloat16 in": lambda: a16 @ b16,
        "torch, float32": lambda: a @ b,
    }


def _gradient(torch, function, inputs, d):
    """A function that runs the backward of function(*inputs)."""
    inputs = [x.requires_grad_() for x in inputs]
    results = function(*inputs)
    return lambda: torch.autograd.grad(results, inputs, d, retain_graph=True)


def softmax(torch, x):
    return lambda: x.softmax(-1)


def softmax_backward(torch, dy, y):
    return lambda: torch._softmax_backward_data(dy, y, -1, y.dtype)


def layer_norm(torch, x, weight, bias):
    return lambda: torch.nn.functional.layer_norm(x, weight.shape, weight, bias)


def layer_norm_backward(torch, dy, x, weight, mean, rstd):
    def function(x, weight, bias):
        return torch.nn.functional.layer_norm(x, weight.shape, weight, bias)

    return _gradient(torch, function, [x, weight, torch.zeros_like(weight)], dy)


def rms_norm(torch, x, weight):
    return lambda: torch.nn.functional.rms_norm(x, weight.shape, weight, 1e-5)


def rms_norm_backward(torch, dy, x, weight, rstd):
    def function(x, weight):
        return torch.nn.functional.rms_norm(x, weight.shape, weight, 1e-5)

    return _gradient(torch, function, [x, weight], dy)


def gelu(torch, x):
    return lambda: torch.nn.functional.gelu(x, approximate="tanh")


def gelu_backward(torch, dy, x):
    return _gradient(torch, lambda x: torch.nn.functional.gelu(x, approximate="tanh"), [x], dy)


def silu(torch, x):
    return lambda: torch.nn.functional.silu(x)


def silu_backward(torch, dy, x):
    return _gradient(torch, torch.nn.functional.silu, [x], dy)


def swiglu(torch, gate, up):
    return lambda: torch.nn.functional.silu(gate) * up


def swiglu_backward(torch, dy, gate, up):
    return _gradient(torch, lambda gate, up: torch.nn.functional.silu(gate) * up, [gate, up], dy)


def rope(torch, x, cos, sin):
    cos, sin = cos.repeat(1, 2), sin.repeat(1, 2)
    half = x.shape[-1] // 2
    return lambda: x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def linear(torch, x, weight, bias, residual):
    return lambda: torch.nn.functional.linear(x, weight, bias) + residual


def linear_backward_input(torch, dy, weight):
    return lambda: dy @ weight


def linear_backward_weight(torch, dy, x):
    return lambda: dy.T @ x


def linear_backward_bias(torch, dy):
    return lambda: dy.sum(0)


def embedding(torch, table, ids):
    return lambda: torch.nn.functional.embedding(ids, table)


def embedding_backward(torch, dy, ids, rows):
    table = torch.zeros(rows, dy.shape[-1])
    return _gradient(torch, lambda table: torch.nn.functional.embedding(ids, table), [table], dy)


def cross_entropy(torch, logits, targets):
    return lambda: torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def cross_entropy_with_gradient(torch, logits, targets, scale):
    logits.requires_grad_()
    d = torch.full((len(targets),), scale)

    def run():
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return losses.detach(), *torch.autograd.grad(losses, logits, d)

    return run


def linear_cross_entropy(torch, x, weight, targets):
    functional = torch.nn.functional
    return lambda: functional.cross_entropy(functional.linear(x, weight), targets, reduction="none")


def linear_cross_entropy_with_gradients(torch, x, weight, targets, scale):
    parameters = x.requires_grad_(), weight.requires_grad_()
    d = torch.full((len(targets),), scale)

    def run():
        losses = torch.nn.functional.cross_entropy(torch.nn.functional.linear(x, weight), targets, reduction="none")
        return losses.detach(), *torch.autograd.grad(losses, parameters, d)

    return run


def dropout(torch, x, rate, **_):
    return lambda: torch.nn.functional.dropout(x, rate)


def _attend(torch, q, k, v):
    grouped = q.shape[1] != k.shape[1]
    if q.shape[2] == k.shape[2]:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
    assert q.shape[2] == 1  # which sees every key
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=grouped)


def attention(torch, q, k, v, causal):
    return lambda: _attend(torch, q, k, v)


def attention_backward(torch, dy, q, k, v, y, log_sum_exp, causal):
    return _gradient(torch, lambda q, k, v: _attend(torch, q, k, v), [q, k, v], dy)


def attention_backward_bias(torch, dy, q, k, v, y, log_sum_exp, key_mask, bias, causal):
    def function(bias):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, bias)

    run = _gradient(torch, function, [bias], dy)
    return lambda: run()[0]


def attention_scores(torch, q, k, causal):
    hidden = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).triu(1)
    return lambda: (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(hidden, float("-inf")).softmax(-1)


def _lstm(torch, w_input, w_hidden, bias):
    """Our function of the same arguments on torch.nn.LSTM, whose second bias is zero; and its parameters."""
    layer = torch.nn.LSTM(w_input.shape[1], w_hidden.shape[1], batch_first=True)
    with torch.no_grad():
        for p, value in zip(layer.parameters(), (w_input, w_hidden, bias, bias * 0), strict=True):
            p.copy_(value)

    def function(x, h0, c0):
        y, (h, c) = layer(x, (h0[None], c0[None]))
        return y, h[0], c[0]

    return function, list(layer.parameters())[:3]


def lstm(torch, x, w_input, w_hidden, bias, h0, c0):
    function, _ = _lstm(torch, w_input, w_hidden, bias)
    return lambda: function(x, h0, c0)


def lstm_backward(torch, dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells):
    # The kernel has no use for the bias; PyTorch gets the one that the case was made with.
    bias = torch.from_numpy(normal(len(w_hidden)))
    function, parameters = _lstm(torch, w_input, w_hidden, bias)
    inputs = [x.requires_grad_(), *parameters, h0.requires_grad_(), c0.requires_grad_()]
    results = function(x, h0, c0)
    return lambda: torch.autograd.grad(results, inputs, (dy, dh, dc), retain_graph=True)


def _gru(torch, *weights):
    """Our function of the same arguments on torch.nn.GRU; and its parameters."""
    w_input, w_hidden = weights[:2]
    layer = torch.nn.GRU(w_input.shape[1], w_hidden.shape[1], batch_first=True)
    with torch.no_grad():
        for p, value in zip(layer.parameters(), weights, strict=True):
            p.copy_(value)

    def function(x, h0):
        y, h = layer(x, h0[None])
        return y, h[0]

    return function, list(layer.parameters())


def gru(torch, x, w_input, w_hidden, b_input, b_hidden, h0):
    function, _ = _gru(torch, w_input, w_hidden, b_input, b_hidden)
    return lambda: function(x, h0)


def gru_backward(torch, dy, dh, x, w_input, w_hidden, h0, y, gates, inner):
    # The kernel has no use for the biases; PyTorch gets those that the case was made with.
    biases = (torch.from_numpy(normal(len(w_hidden), seed=seed)) for seed in (3, 4))
    function, parameters = _gru(torch, w_input, w_hidden, *biases)
    inputs = [x.requires_grad_(), *parameters, h0.requires_grad_()]
    results = function(x, h0)
    return lambda: torch.autograd.grad(results, inputs, (dy, dh), retain_graph=True)


def squared_norm(torch, x):
    return lambda: torch.linalg.vector_norm(x).square()
