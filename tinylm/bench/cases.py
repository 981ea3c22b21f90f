"""Realistic shapes for every kernel: GPT-2 with 10.7 and 124 million parameters, LSTMs, single tokens.

One function per kernel, under its name, builds a call from the numbers of a shape. The first number counts
independent rows (or batch entries), so that a check can take fewer of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinylm_kernels as K

from .calls import Case

Dims = tuple[int, ...]
Count = Callable[..., float]

# Sizes around vectors and tiles that no implementation divides evenly, for the axes in turn.
ODD: Dims = (37, 35, 39, 41, 14, 3)


@dataclass(frozen=True)
class Benchmark:
    """A kernel at one shape. Of its axes, the first numbers count independent rows.

    check: the most of the first numbers for a case that the reference computes quickly in float64. flops: the floating
    operations of a call, an exponential, a root and a division counted as one; 0 where it moves data only. moved: the
    bytes read and written, where they are not those of all arrays and results. in_place: the arrays that an engine
    passes as `out`. outlier: what the first array of one more check holds, where exp could overflow.
    """

    name: str
    dims: Dims
    words: str
    build: Callable[..., Case]
    flops: Count
    check: Dims
    moved: Count | None
    in_place: Dims
    outlier: float | None

    def __str__(self) -> str:
        return f"{self.name} {size(self.dims)}"

    @property
    def small(self) -> Dims:
        """Fewer rows."""
        return (*map(min, self.dims, self.check), *self.dims[len(self.check) :])

    @property
    def odd(self) -> Dims:
        """Small numbers that fit into no vector."""
        return tuple(map(min, self.small, ODD))

    @property
    def times_larger(self) -> float:
        """How much more work `dims` is than `small`."""
        return math.prod(self.dims) / math.prod(self.small)

    def work(self, case: Case, results: Sequence[Any]) -> tuple[float, float]:
        """The floating operations and the bytes of this call with these results."""
        everything = sum(a.nbytes for a in (*case.arrays, *results) if a is not None)
        return self.flops(*self.dims), self.moved(*self.dims) if self.moved else everything


def size(dims: Dims) -> str:
    """The numbers in words."""
    return " x ".join(map(str, dims))


BENCHMARKS: dict[str, list[Benchmark]] = {}


def shapes(
    *entries: tuple[Dims, str],
    flops: Count = lambda *dims: 0.0,
    check: Dims = (64,),
    moved: Count | None = None,
    in_place: Dims = (),
    outlier: float | None = None,
) -> Callable[[Callable[..., Case]], Callable[..., Case]]:
    """Decorator: time the kernel of the function's name at these shapes. For the rest see `Benchmark`."""

    def register(build: Callable[..., Case]) -> Callable[..., Case]:
        BENCHMARKS[build.__name__] = [
            Benchmark(build.__name__, dims, words, build, flops, check, moved, in_place, outlier)
            for dims, words in entries
        ]
        return build

    return register


def each(operations: int) -> Count:
    """So many floating operations for each element."""
    return lambda *dims: float(operations * math.prod(dims))


def normal(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape, np.float32) * np.float32(scale)


def ids(count: int, below: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, below, count)


def saved(kernel: Any, case: Case) -> Any:
    """The results of a forward, by its fastest implementation."""
    return kernel(*case.arrays, **case.settings)


ROWS = (((12288, 256), "attention's rows"), ((512, 50257), "GPT-2's logits"))
LOGITS = (((4096, 65), "logits of characters"), ((512, 50257), "GPT-2's logits"))
PROJECTIONS = (
    ((2048, 64, 10000), "words"),
    ((4096, 384, 65), "10.7M"),
    ((512, 768, 50257), "124M"),
)
NORMS = (((4096, 384), "10.7M"), ((512, 768), "124M"), ((1, 768), "124M, one token"))
HIDDEN = (((4096, 1536), "10.7M"), ((512, 3072), "124M"), ((1, 3072), "124M, one token"))
PRODUCTS = (
    ((4096, 384, 1536), "10.7M"),
    ((512, 768, 3072), "124M"),
    ((1, 768, 50257), "124M, one token's logits"),
    ((8, 768, 3072), "124M, eight tokens"),
    ((1, 768, 3072), "124M, one token"),
)
TABLES = (((4096, 65, 384), "10.7M"), ((512, 50257, 768), "124M"))
PARAMETERS = (((800_000,), "0.8M"), ((10_700_000,), "10.7M"))
HEADS = (
    ((8, 6, 256, 256, 64), "10.7M"),
    ((4, 12, 1024, 1024, 64), "124M"),
    ((1, 12, 4096, 4096, 64), "long context"),
    ((1, 12, 1, 1024, 64), "124M, one token behind a cache"),
)
GROUPED = (2, 8, 1024, 1024, 64, 4), "32 heads of queries, 8 of keys"
SEQUENCES = (
    ((64, 64, 64), "small"),
    ((32, 128, 512), "large"),
    ((1, 64, 512), "a batch of one"),
)


@shapes(*ROWS, flops=each(5), outlier=100.0)
def softmax(rows, columns):
    return Case((normal(rows, columns, scale=3),))


@shapes(*ROWS, flops=each(4))
def softmax_backward(rows, columns):
    y = saved(K.softmax, softmax(rows, columns))
    return Case((normal(rows, columns, seed=1), y))


@shapes(*NORMS, flops=each(8))
def layer_norm(rows, columns):
    return Case((normal(rows, columns), 1 + normal(columns, scale=0.1), normal(columns, scale=0.1)))


@shapes(*NORMS, flops=each(14))
def layer_norm_backward(rows, columns):
    x, weight, bias = layer_norm(rows, columns).arrays
    _, mean, rstd = K.layer_norm(x, weight, bias)
    return Case((normal(rows, columns, seed=1), x, weight, mean, rstd))


ROOTS = (*NORMS[:1], ((4096, 768), "124M"), ((2048, 1024), "1024 wide"), NORMS[2])


@shapes(*ROOTS, flops=each(4))
def rms_norm(rows, columns):
    return Case((normal(rows, columns), 1 + normal(columns, scale=0.1)))


@shapes(*ROOTS, flops=each(10))
def rms_norm_backward(rows, columns):
    x, weight = rms_norm(rows, columns).arrays
    _, rstd = K.rms_norm(x, weight)
    return Case((normal(rows, columns, seed=1), x, weight, rstd))


@shapes(*HIDDEN, flops=each(9), outlier=100.0)
def gelu(rows, columns):
    return Case((normal(rows, columns),))


@shapes(*HIDDEN, flops=each(16))
def gelu_backward(rows, columns):
    return Case((normal(rows, columns, seed=1), normal(rows, columns)))


@shapes(*HIDDEN, flops=each(4), outlier=100.0)
def silu(rows, columns):
    return Case((normal(rows, columns),))


@shapes(*HIDDEN, flops=each(8))
def silu_backward(rows, columns):
    return Case((normal(rows, columns, seed=1), normal(rows, columns)))


@shapes(*HIDDEN, flops=each(5), outlier=100.0)
def swiglu(rows, columns):
    x = normal(rows, 2 * columns)
    return Case((x[:, :columns], x[:, columns:]))  # views, as a fused projection gives them


@shapes(*HIDDEN, flops=each(10))
def swiglu_backward(rows, columns):
    return Case((normal(rows, columns, seed=1), *swiglu(rows, columns).arrays))


@shapes(
    ((8, 6, 256, 64), "10.7M"),
    ((4, 12, 1024, 64), "124M"),
    ((1, 32, 2048, 128), "the queries of Llama 7B"),
    flops=each(3),
    check=(1, 1),
)
def rope(batch, heads, tokens, width):
    x = normal(batch, tokens, heads, width).swapaxes(1, 2)  # a view, as a fused projection gives it
    angles = np.arange(tokens)[:, None] * 10000.0 ** (-2 * np.arange(width // 2) / width)
    return Case((x, np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)))


def product(rows, inputs, outputs):
    return 2.0 * rows * inputs * outputs


@shapes(*PRODUCTS, flops=product)
def linear(rows, inputs, outputs):
    weight = normal(outputs, inputs, scale=0.02)
    return Case((normal(rows, inputs), weight, normal(outputs), normal(rows, outputs, seed=1)))


@shapes(*PRODUCTS[:2], flops=product)
def linear_backward_input(rows, inputs, outputs):
    return Case((normal(rows, outputs), normal(outputs, inputs, scale=0.02)))


@shapes(*PRODUCTS[:2], flops=product)
def linear_backward_weight(rows, inputs, outputs):
    return Case((normal(rows, outputs), normal(rows, inputs, seed=1)))


@shapes(*HIDDEN[:2], flops=each(1))
def linear_backward_bias(rows, outputs):
    return Case((normal(rows, outputs),))


@shapes(*PRODUCTS[:2], PROJECTIONS[2], flops=product)
def matmul_bfloat16(rows, inputs, outputs):
    return Case((normal(rows, inputs), normal(outputs, inputs, scale=0.02).T))


# Reads as many rows as it writes, not the table.
@shapes(*TABLES, moved=lambda count, vocabulary, columns: 8 * count * columns)
def embedding(count, vocabulary, columns):
    return Case((normal(vocabulary, columns), ids(count, vocabulary)))


@shapes(*TABLES, flops=lambda count, vocabulary, columns: count * columns)
def embedding_backward(count, vocabulary, columns):
    return Case((normal(count, columns), ids(count, vocabulary)), {"rows": vocabulary})


@shapes(*LOGITS, flops=each(4), outlier=100.0)
def cross_entropy(rows, vocabulary):
    return Case((normal(rows, vocabulary, scale=3), ids(rows, vocabulary)))


@shapes(*LOGITS, flops=each(6), outlier=100.0)
def cross_entropy_with_gradient(rows, vocabulary):
    return Case(cross_entropy(rows, vocabulary).arrays, {"scale": 1 / rows})


@shapes(*PROJECTIONS, flops=product)
def linear_cross_entropy(rows, inputs, vocabulary):
    arrays = normal(rows, inputs), normal(vocabulary, inputs, scale=inputs**-0.5), ids(rows, vocabulary)
    return Case(arrays)


@shapes(*PROJECTIONS, flops=lambda *dims: 3 * product(*dims))
def linear_cross_entropy_with_gradients(rows, inputs, vocabulary):
    return Case(linear_cross_entropy(rows, inputs, vocabulary).arrays, {"scale": 1 / rows})


@shapes(((4096, 384), "10.7M"), ((512, 768), "124M"), flops=each(1))
def dropout(rows, columns):
    return Case((normal(rows, columns),), {"rate": 0.1, "seed": 1, "step": 2, "site": 3})


def seen(batch, heads, queries, keys, width, sharing=1):
    """Floating operations of one product over the scores that the causal mask leaves."""
    return 2.0 * batch * heads * sharing * queries * (keys - (queries - 1) / 2) * width


@shapes(*HEADS, GROUPED, flops=lambda *dims: 2 * seen(*dims), check=(1, 1))
def attention(batch, heads, queries, keys, width, sharing=1):
    """sharing: so many heads of queries to one of keys."""
    q = normal(batch, queries, heads * sharing, width).swapaxes(1, 2)  # views, as a fused projection gives them
    k, v = (normal(batch, keys, heads, width, seed=s).swapaxes(1, 2) for s in (1, 2))
    return Case((q, k, v), {"causal": True})


@shapes(*HEADS[:3], GROUPED, flops=lambda *dims: 5 * seen(*dims), check=(1, 1))
def attention_backward(batch, heads, queries, keys, width, sharing=1):
    forward = attention(batch, heads, queries, keys, width, sharing)
    y, log_sum_exp = saved(K.attention, forward)
    dy = normal(batch, queries, heads * sharing, width, seed=3).swapaxes(1, 2)
    return Case((dy, *forward.arrays, y, log_sum_exp), forward.settings)


@shapes(HEADS[0], flops=lambda *dims: 4 * math.prod(dims), check=(1, 1))
def attention_backward_bias(batch, heads, queries, keys, width):
    dy, q, k, v = attention_backward(batch, heads, queries, keys, width).arrays[:4]
    bias = normal(1, heads, queries, keys, seed=4)
    y, log_sum_exp = K.attention(q, k, v, None, bias, causal=False)
    return Case((dy, q, k, v, y, log_sum_exp, None, bias), {"causal": False})


@shapes(HEADS[0], flops=lambda *dims: seen(*dims), check=(1, 1))
def attention_scores(batch, heads, queries, keys, width):
    return Case(attention(batch, heads, queries, keys, width).arrays[:2], {"causal": True})


def recurrence(gates, passes):
    """Floating operations of a recurrent layer with so many gates, forward (1 pass) or backward (2)."""
    return lambda batch, steps, hidden: 2.0 * passes * batch * steps * gates * hidden * 2 * hidden


@shapes(*SEQUENCES, flops=recurrence(4, 1), check=(4,), outlier=100.0)
def lstm(batch, steps, hidden):
    weights = (normal(4 * hidden, hidden, scale=hidden**-0.5, seed=s) for s in (1, 2))
    state = np.zeros((batch, hidden), np.float32)
    return Case((normal(batch, steps, hidden), *weights, normal(4 * hidden), state, state.copy()))


@shapes(*SEQUENCES, flops=recurrence(4, 2), check=(4,))
def lstm_backward(batch, steps, hidden):
    x, w_input, w_hidden, bias, h0, c0 = lstm(batch, steps, hidden).arrays
    y, h, c, gates, cells = K.lstm(x, w_input, w_hidden, bias, h0, c0)
    d = normal(*y.shape, seed=3), normal(*h.shape, seed=4), normal(*c.shape, seed=5)
    return Case((*d, x, w_input, w_hidden, h0, c0, y, gates, cells))


@shapes(*SEQUENCES, flops=recurrence(3, 1), check=(4,), outlier=100.0)
def gru(batch, steps, hidden):
    weights = (normal(3 * hidden, hidden, scale=hidden**-0.5, seed=s) for s in (1, 2))
    biases = (normal(3 * hidden, seed=s) for s in (3, 4))
    return Case((normal(batch, steps, hidden), *weights, *biases, np.zeros((batch, hidden), np.float32)))


@shapes(*SEQUENCES, flops=recurrence(3, 2), check=(4,))
def gru_backward(batch, steps, hidden):
    forward = gru(batch, steps, hidden)
    x, w_input, w_hidden, _, _, h0 = forward.arrays
    y, h, gates, inner = saved(K.gru, forward)
    d = normal(*y.shape, seed=5), normal(*h.shape, seed=6)
    return Case((*d, x, w_input, w_hidden, h0, y, gates, inner))


@shapes(*PARAMETERS, check=(100_000,), flops=each(14), in_place=(0, 2, 3))
def adamw(count):
    settings = {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1, "step": 10}
    p, g, m = normal(count, scale=0.02), normal(count, scale=1e-3, seed=1), normal(count, scale=1e-3, seed=2)
    return Case((p, g, m, np.square(g)), settings)


@shapes(*PARAMETERS, check=(100_000,), flops=each(2))
def squared_norm(count):
    return Case((normal(count),))
