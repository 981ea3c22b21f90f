"""Legal inputs of every kernel, for the tests that walk the registry.

One function per kernel, under the kernel's name, draws a `Case`: odd shapes, size 1, empty where legal,
outliers, -inf masks, strided and transposed views. A new kernel needs one here, nothing else in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import tinylm_kernels as K
from tinylm.bench.calls import Case

# Around the widths of vectors and tiles.
SMALL = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 33, 64, 65)
# Several chunks for two threads, and more than one tile.
LARGE = (97, 130, 161)


CASES: dict[str, Callable[[Drawing], Case]] = {}


def case(function: Callable[[Drawing], Case]) -> Callable[[Drawing], Case]:
    """Decorator: the function draws the cases of the kernel of its name."""
    CASES[function.__name__] = function
    return function


def variants(*kernels: Any) -> list[Any]:
    """pytest parameters (kernel, implementation, dtype): what runs on the CPU, of all kernels or of these."""
    return [
        pytest.param(kernel, implementation.name, dtype, id=f"{kernel.name}-{implementation.name}-{dtype}")
        for kernel in kernels or K.all_kernels().values()
        for implementation in kernel.implementations.values()
        for dtype in ("float32", "float64")
        if implementation.takes("cpu", {dtype})
    ]


def cases(name: str, dtype: str, sizes: tuple[int, ...] = SMALL, *, tame: bool = False) -> st.SearchStrategy[Case]:
    """The legal inputs of the kernel `name`: arrays in `dtype`, axes from `sizes`; tame: no outliers."""
    if name not in CASES:
        raise LookupError(
            f"the kernel {name!r} has no case: add to tests/cases.py a function `@case def {name}(d):` that "
            "draws its inputs and returns Case((arrays ...), {settings ...})"
        )
    return _draw_case(CASES[name], np.dtype(dtype), sizes, tame)


def plain_case(name: str, dtype: str, size: int = 5) -> Case:
    """The simplest input of the kernel `name`: every axis of this size, no masks, C-contiguous."""
    return CASES[name](PlainDrawing(None, np.dtype(dtype), (size, size), tame=True))


@st.composite
def _draw_case(draw: Any, function: Callable[[Drawing], Case], *drawing: Any) -> Case:
    return function(Drawing(draw, *drawing))


def laid_out(shape: tuple[int, ...], dtype: Any, layout: str) -> np.ndarray:
    """NaN in an array of the layout "contiguous", "wide rows", "strided" or "transposed"."""
    if layout == "wide rows":
        return np.full((*shape[:-1], shape[-1] + 3), np.nan, dtype)[..., 2:-1]
    if layout == "strided":
        return np.full((*shape[:-1], 2 * shape[-1]), np.nan, dtype)[..., ::2]
    if layout == "transposed":
        return np.full(shape[::-1], np.nan, dtype).T
    return np.full(shape, np.nan, dtype)


def layouts(shape: tuple[int, ...]) -> tuple[str, ...]:
    """The layouts in which arrays of this shape differ."""
    if len(shape) < 2:
        return ("contiguous", "strided") if shape else ("contiguous",)
    return ("contiguous", "wide rows", "strided", "transposed")


class Drawing:
    """Hypothesis chooses shapes, layouts and a seed; the numbers come from the seed, which is fast."""

    def __init__(self, draw: Any, dtype: np.dtype, sizes: tuple[int, ...], tame: bool):
        self._draw, self.dtype, self.sizes, self.tame = draw, dtype, sizes, tame
        self.rng = np.random.default_rng(self.integer(0, 999))
        self.scale = 1.0 if tame else self.choice(1.0, 0.2, 5.0)

    def choice(self, *options: Any) -> Any:
        return self._draw(st.sampled_from(options))

    def number(self, low: float, high: float) -> float:
        return self._draw(st.floats(low, high))

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def size(self, most: int = max(LARGE)) -> int:
        return self.choice(*dict.fromkeys(min(s, most) for s in self.sizes))

    def rows(self) -> tuple[int, ...]:
        """The leading axes: none, one or several, one of them perhaps empty."""
        return self.choice(*((s,) for s in self.sizes), (), (0,), (2, self.sizes[1]), (2, 0), (3, 1, 2))

    def array(self, *shape: int, outliers: float = 100.0) -> np.ndarray:
        """Normal numbers times the scale, a few of them `outliers` times larger, in some memory layout."""
        x = laid_out(shape, self.dtype, self.choice(*layouts(shape)))
        x[...] = self.rng.standard_normal(shape) * self.scale
        if outliers and not self.tame and self.choice(False, False, True):
            x[self.rng.random(shape) < 0.05] *= outliers
        return x

    def like(self, x: np.ndarray) -> np.ndarray:
        return self.array(*x.shape, outliers=0)

    def ids(self, shape: tuple[int, ...], below: int) -> np.ndarray:
        """Integers in 0..below-1, with repetitions, of either width, at times strided."""
        most = self.choice(below, (below + 1) // 2)
        ids = self.rng.integers(0, most, shape, self.choice(np.int64, np.int32))
        return np.repeat(ids, 2, axis=-1)[..., ::2] if shape and self.choice(False, True) else ids

    def masked(self, x: np.ndarray) -> np.ndarray:
        """-inf at random places, in whole rows too."""
        if self.choice(False, True):
            x[self.rng.random(x.shape) < 0.3] = -np.inf
            x[self.rng.random(x.shape[:-1]) < 0.2] = -np.inf
        return x


class PlainDrawing(Drawing):
    """Always the first option, which is the plainest."""

    def choice(self, *options: Any) -> Any:
        return options[0]

    def integer(self, low: int, high: int) -> int:
        return low

    number = integer


def results(kernel: Any, case: Case) -> Any:
    """What the reference gives: the saved arrays that a backward needs."""
    return kernel.reference(*case.arrays, **case.settings)


# Softmax, normalisation, activations


@case
def softmax(d):
    return Case((d.masked(d.array(*d.rows(), d.size())),))


@case
def softmax_backward(d):
    y = results(K.softmax, softmax(d))
    return Case((d.array(*y.shape), y))


@case
def layer_norm(d):
    C = d.size()
    x = d.array(*d.rows(), C)
    if d.choice(False, True):
        x += 30 * d.scale  # a mean far from zero, where a variance by E[x^2] - E[x]^2 would lose its digits
    return Case((x, d.array(C), d.array(C)), {"eps": d.choice(1e-5, 1e-12, 1e-3)})


@case
def layer_norm_backward(d):
    x = layer_norm(d).arrays[0]
    C = x.shape[-1]
    weight = 1 + d.array(C, outliers=0) / 16
    # Of a single column nothing is left; with rstd = 1 / sqrt(1e-5) that zero would be made of large numbers.
    _, mean, rstd = K.layer_norm.reference(x, weight, weight, eps=1.0 if C == 1 else 1e-5)
    return Case((d.like(x), x, weight, np.asarray(mean), np.asarray(rstd)))


@case
def rms_norm(d):
    C = d.size()
    return Case((d.array(*d.rows(), C), d.array(C)), {"eps": d.choice(1e-5, 1e-12, 1e-3)})


@case
def rms_norm_backward(d):
    x = rms_norm(d).arrays[0]
    C = x.shape[-1]
    weight = 1 + d.array(C, outliers=0) / 16
    # Of a single column eps alone keeps something, rstd^3 eps: with a small eps that is a difference of large numbers.
    _, rstd = K.rms_norm.reference(x, weight, eps=1.0 if C == 1 else 1e-5)
    return Case((d.like(x), x, weight, np.asarray(rstd)))


@case
def gelu(d):
    return Case((d.array(*d.rows(), d.choice(d.size(), 0)),), {"exact": d.choice(False, True)})


@case
def gelu_backward(d):
    forward = gelu(d)
    (x,) = forward.arrays
    return Case((d.like(x), x), forward.settings)


@case
def silu(d):
    return Case((d.array(*d.rows(), d.choice(d.size(), 0)),))


@case
def silu_backward(d):
    (x,) = silu(d).arrays
    return Case((d.like(x), x))


@case
def swiglu(d):
    rows, F = d.rows(), d.choice(d.size(), 0)
    if d.choice(False, True):
        return Case(tuple(np.split(d.array(*rows, 2 * F), 2, axis=-1)))
    return Case((d.array(*rows, F), d.array(*rows, F)))


@case
def swiglu_backward(d):
    gate, up = swiglu(d).arrays
    return Case((d.like(gate), gate, up))


# Rotary positions


@case
def rope(d):
    B, H, T, D = d.choice(1, 2, 0), d.choice(1, 3), d.choice(d.size(), 0), 1 + d.size(most=130)
    x = d.array(B, H, T, D)
    if d.choice(False, True):
        x = d.array(B, T, 2 * H, D).swapaxes(1, 2)[:, :H]  # heads of a fused projection
    P, half = T + d.choice(0, 5) + 1, d.choice(D // 2, (D + 2) // 4)
    angles = d.rng.uniform(0, 2 * np.pi, (P, half))
    positions = d.choice(None, d.ids((B, T), P))
    settings = {"interleaved": d.choice(False, True), "inverse": d.choice(False, True)}
    return Case((x, np.cos(angles).astype(d.dtype), np.sin(angles).astype(d.dtype), positions), settings)


# Linear


@case
def linear(d):
    inputs, outputs, rows = d.size(), d.size(), d.rows()
    bias = d.choice(d.array(outputs), None)
    residual = d.choice(d.array(*rows, outputs), None)
    return Case((d.array(*rows, inputs), d.array(outputs, inputs), bias, residual))


@case
def linear_backward_input(d):
    outputs = d.size()
    return Case((d.array(*d.rows(), outputs), d.array(outputs, d.size())))


@case
def linear_backward_weight(d):
    rows = d.rows()
    return Case((d.array(*rows, d.size()), d.array(*rows, d.size())))


@case
def linear_backward_bias(d):
    return Case((d.array(*d.rows(), d.size()),))


@case
def matmul_bfloat16(d):
    M, K, N = d.size(), d.choice(d.size(), 0), d.size()
    return Case((d.array(M, K), d.array(K, N), d.choice(d.array(N), None), d.choice(d.array(M, N), None)))


# Embedding and dropout


@case
def embedding(d):
    V = d.size()
    return Case((d.array(V, d.size()), d.ids(d.rows(), V)))


@case
def embedding_backward(d):
    V, rows = d.size(), d.rows()
    return Case((d.array(*rows, d.size()), d.ids(rows, V)), {"rows": V})


@case
def dropout(d):
    x = d.array(d.choice(d.size(), 0), *d.rows())
    first_row = d.choice(0, d.integer(0, 2**32 - max(len(x), 1)))
    words = {"step": d.integer(0, 2**32 - 1), "site": d.integer(0, 2**32 - 1), "first_row": first_row}
    return Case((x,), {"rate": d.choice(0.1, 0.0, 0.5, 0.999), "seed": d.integer(0, 2**64 - 1), **words})


# Cross-entropy


@case
def cross_entropy(d):
    N, V = d.choice(d.size(), 0), d.size()
    logits, targets = d.array(N, V), d.ids((N,), V)
    ignore = d.choice(K.IGNORE, 0, -1)
    targets[d.rng.random(N) < 0.3] = ignore
    smoothing = d.choice(0.0, 0.1, d.number(0, 0.99))
    if not smoothing and V > 1 and d.choice(False, True):
        # One class ruled out in each row; where it is the target, the loss is infinite.
        logits[np.arange(N), d.rng.integers(0, V, N)] = -np.inf
    weights = d.choice(None, abs(d.array(N)))
    if weights is not None:
        weights[d.rng.random(N) < 0.3] = 0
    return Case((logits, targets, weights), {"ignore_index": ignore, "label_smoothing": smoothing})


@case
def cross_entropy_with_gradient(d):
    forward = cross_entropy(d)
    return Case(forward.arrays, {**forward.settings, "scale": d.choice(1.0, 0.125, -3.0)})


@case
def linear_cross_entropy(d):
    forward = cross_entropy(d)
    logits, targets, weights = forward.arrays
    (N, V), C = logits.shape, d.size()
    weight = d.array(V, C, outliers=0)
    weight /= d.dtype.type(d.scale * C**0.5)  # logits as large as x, whatever C
    arrays = d.array(N, C, outliers=0), weight, targets, d.choice(d.array(V, outliers=0), None), weights
    return Case(arrays, {**forward.settings, "rows": d.choice(None, 1, 3, 64)})


@case
def linear_cross_entropy_with_gradients(d):
    forward = linear_cross_entropy(d)
    return Case(forward.arrays, {**forward.settings, "scale": d.choice(1.0, 0.125, -3.0)})


# Attention


@case
def attention(d):
    B, (H, G), D = d.choice(1, 2, 0), d.choice((1, 1), (3, 3), (4, 2), (3, 1)), d.size(most=130)
    T, causal, window = d.choice(d.size(), 0), d.choice(True, False), d.choice(None, (3, None), (70, 2), (None, 5))
    offsets = d.choice(None, d.rng.integers(-T - 1, T + 9, B)) if causal or window else None
    bounded = (causal or window) and offsets is None
    S = d.choice(max(T, 1), T + d.size()) if bounded else d.size()
    if S == 1:  # dq and dk are truly zero, a difference of two sums: keep it one of small numbers
        d.scale, d.tame = 0.2, True
    q, k, v = _projections(d, B, H, G, T, S, D)
    # Where scores are far above the cap, its slope magnifies their rounding: with outliers, Gemma 2's own cap.
    softcap = d.choice(None, 1.5 if d.tame else 50.0)
    settings = {"causal": causal, "window": window, "softcap": softcap, "scale": d.choice(None, 0.3)}
    return Case((q, k, v, _key_mask(d, B, S), _bias(d, B, H, T, S), offsets), settings)


def _projections(d, B, H, G, T, S, D):
    if T == S and H == G and d.choice(True, False):
        fused = d.array(B, T, 3, H, D, outliers=10)
        return tuple(fused.transpose(2, 0, 3, 1, 4))
    E = d.choice(D, d.size(most=130))
    shapes = (B, H, T, D), (B, G, S, D), (B, G, S, E)
    return tuple(d.array(*shape, outliers=10) for shape in shapes)


def _key_mask(d, B, S):
    kind = d.choice("none", "padding", "random")
    if kind == "none":
        return None
    if kind == "padding":
        return np.arange(S) < d.rng.integers(0, S + 1, B)[:, None]
    return d.rng.random((B, S)) < 0.6


def _bias(d, B, H, T, S):
    if not d.choice(False, False, True):
        return None
    shape = tuple(d.choice(size, 1) for size in (B, H, T, S))
    return d.rng.random(shape) < 0.7 if d.choice(False, True) else d.masked(d.array(*shape, outliers=0))


@case
def attention_scores(d):
    forward = attention(d)
    q, k, _, *rest = forward.arrays
    stage = d.choice("weights", "products", "capped", "masked")
    return Case((q, k, *rest), {**forward.settings, "stage": stage})


def _backward(d, forward):
    q, k, v, *rest = forward.arrays
    # Scores of about 1, whatever the scale: weights and gradients have the rounding errors of the scores, which for
    # scores beyond all arguments the tolerance does not allow for.
    k /= d.dtype.type(d.scale**2)
    y, log_sum_exp = results(K.attention, forward)
    return Case((d.like(y), q, k, v, y, log_sum_exp, *rest), forward.settings)


@case
def attention_backward(d):
    return _backward(d, attention(d))


@case
def attention_backward_bias(d):
    forward = attention(d)
    *arrays, _, offsets = forward.arrays
    q, k = arrays[:2]
    bias = d.array(*(d.choice(size, 1) for size in (*q.shape[:3], k.shape[2])), outliers=0)
    return _backward(d, Case((*arrays, d.masked(bias), offsets), forward.settings))


# LSTM and GRU


@case
def lstm(d):
    B, T = d.choice(d.size(), 0), d.choice(d.size(), 0)
    inputs, H = d.size(most=33), d.size(most=33)
    w_hidden = d.array(4 * H, H, outliers=0)
    w_hidden /= d.dtype.type(H**0.5)  # keeps the recurrence from amplifying its rounding
    weights = d.array(4 * H, inputs, outliers=0), w_hidden, d.array(4 * H)
    lengths = d.choice(None, d.rng.integers(0, T + 1, B, np.int64), d.rng.integers(0, T + 1, B, np.int32))
    peepholes = d.choice(None, d.array(3 * H, outliers=0))
    if peepholes is not None:
        peepholes /= d.dtype.type(4)  # larger ones amplify the rounding of c from step to step
    return Case((d.array(B, T, inputs), *weights, d.array(B, H), d.array(B, H), lengths, peepholes))


@case
def lstm_backward(d):
    forward = lstm(d)
    x, w_input, w_hidden, _, h0, c0, *optional = forward.arrays
    y, h, c, gates, cells = results(K.lstm, forward)
    return Case((d.like(y), d.like(h), d.like(c), x, w_input, w_hidden, h0, c0, y, gates, cells, *optional))


@case
def gru(d):
    B, T = d.choice(d.size(), 0), d.choice(d.size(), 0)
    inputs, H = d.size(most=33), d.size(most=33)
    w_hidden = d.array(3 * H, H, outliers=0)
    w_hidden /= d.dtype.type(d.scale * H**0.5)  # a larger one is chaotic: rounding grows from step to step
    weights = d.array(3 * H, inputs, outliers=0), w_hidden, d.array(3 * H), d.array(3 * H)
    lengths = d.choice(None, d.rng.integers(0, T + 1, B, np.int64), d.rng.integers(0, T + 1, B, np.int32))
    settings = {"reset_after": d.choice(True, False)}
    return Case((d.array(B, T, inputs), *weights, d.array(B, H), lengths), settings)


@case
def gru_backward(d):
    forward = gru(d)
    x, w_input, w_hidden, _, _, h0, lengths = forward.arrays
    y, h, gates, inner = results(K.gru, forward)
    arrays = (d.like(y), d.like(h), x, w_input, w_hidden, h0, y, gates, inner, lengths)
    return Case(arrays, forward.settings)


# Optimizer


@case
def adamw(d):
    shape = d.choice((d.size() * d.size(),), (d.size(), d.size()), (0,))
    p, g, m = d.array(*shape), d.array(*shape), d.array(*shape)
    settings = {
        "lr": d.choice(1e-3, 0.1),
        "beta1": d.choice(0.9, 0.0),
        "beta2": d.choice(0.999, 0.95),
        "eps": d.choice(1e-8, 1e-3),
        "weight_decay": d.choice(0.0, 0.1),
        "step": d.choice(1, 2, 1000, 10**6),
        "decoupled": d.choice(True, False),
        "scale": d.choice(1.0, 0.37, 0.0),
    }
    return Case((p, g, m, np.square(d.array(*shape))), settings)


@case
def squared_norm(d):
    return Case((d.array(*d.rows(), d.choice(d.size(), 0)),))
