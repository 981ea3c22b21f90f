"""What the CPU kernels shall reach: the rows of `bench_reach`, each with its shapes, its goal, and both sides' code.

Ours runs as the engine runs it: results come from the pool, a forward and backward is the function of the autograd with
its pullback, gradients of parameters go to a buffer that is there. PyTorch's side makes fresh results as its users have
it, once eager and once compiled for the shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import functional as F
from tinylm.bench import cases
from tinylm.bench.calls import Case
from tinylm.bench.cases import BENCHMARKS, HIDDEN, NORMS, ROOTS, SEQUENCES, Dims, ids
from tinylm.bench.rivals import torch_candidates

__all__ = ["MEMORY", "ROWS", "Contest", "Row"]

Run = Callable[[], Any]
FORWARD, BACKWARD, BOTH = "forward", "backward", "forward and backward"


@dataclass
class Contest:
    """Ours and, given torch, the others by name. compared: their first results are to be the same."""

    ours: Run
    others: Callable[[Any], dict[str, Run]]
    compared: bool = True


@dataclass(frozen=True)
class Row:
    """A goal: how many times as long as ours the fastest of the others takes.

    prepare: makes the contest from `dims`. kernels: those whose operations and bytes a call counts; moved: the bytes
    where there are none. share: the share of the roof that binds, where that is a goal too.
    """

    name: str
    passes: str
    dims: Dims
    goal: float
    prepare: Callable[..., Contest]
    kernels: tuple[str, ...] = ()
    share: float | None = None
    moved: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}, {self.passes}, {' x '.join(map(str, self.dims))}"


def at_line(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a line of the cache, as the arrays of the engine and of PyTorch do."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def normal(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    """Random numbers, as those of the bench."""
    return at_line(cases.normal(*shape, scale=scale, seed=seed))


def case_of(kernel: str, dims: Dims) -> Case:
    """The call of a kernel as `tinylm bench` makes it."""
    case = BENCHMARKS[kernel][0].build(*dims)
    return replace(case, arrays=tuple(at_line(a) if a is not None and a.flags.c_contiguous else a for a in case.arrays))


def one_kernel(name: str, *dims: int) -> Contest:
    """A kernel against its counterpart in the bench's room."""
    case = case_of(name, dims)

    def others(torch: Any) -> dict[str, Run]:
        (eager,) = torch_candidates(torch, name, case).values()
        return {"eager": without_gradients(torch, eager), "compiled": without_gradients(torch, compiled(torch, eager))}

    return Contest(partial(getattr(K, name), *case.arrays, **case.settings), others)


def both_passes(function: Any, theirs: Callable[..., Any], *arrays: Any, dy: Any = None, **settings: Any) -> Contest:
    """A function of the autograd with its pullback against one of PyTorch's, `theirs(torch, *tensors)`."""
    raw, buffers = function.__wrapped__, {}

    def ours() -> tuple[Any, ...]:
        y, pullback, *_ = raw(*arrays, **settings)
        gradients = list(pullback(np.ones_like(y) if dy is None else dy))[: len(arrays)]
        for i, gradient in enumerate(gradients):
            if callable(gradient):  # a parameter's, into the buffer that an optimizer has for it
                gradients[i] = buffers[i] = gradient(buffers.get(i), False)
        return y, *(g for g in gradients if g is not None)

    def others(torch: Any) -> dict[str, Run]:
        tensors = [None if a is None else torch.from_numpy(a) for a in arrays]
        wanted = [t.requires_grad_() for t in tensors if t is not None and t.is_floating_point()]
        d = None if dy is None else torch.from_numpy(dy)

        def passes(f: Any) -> tuple[Any, ...]:
            y = f(*tensors)
            return y.detach(), *torch.autograd.grad(y, wanted, d)

        eager = partial(theirs, torch)
        return {"eager": partial(passes, eager), "compiled": partial(passes, compiled(torch, eager))}

    return Contest(ours, others)


def compiled(torch: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in torch.compile, for the one shape that it will see."""

    def call(*arguments: Any) -> Any:
        return function(*arguments)

    return torch.compile(call, dynamic=False)


def without_gradients(torch: Any, run: Run) -> Run:
    """The call as inference makes it, where no graph is recorded."""
    return torch.no_grad()(run)


def layer_norm(rows: int, columns: int) -> Contest:
    def theirs(torch, x, weight, bias):
        return torch.nn.functional.layer_norm(x, weight.shape, weight, bias)

    arrays = case_of("layer_norm", (rows, columns)).arrays
    return both_passes(F.layer_norm, theirs, *arrays, dy=normal(rows, columns, seed=1))


def rms_norm(rows: int, columns: int) -> Contest:
    def theirs(torch, x, weight):
        return torch.nn.functional.rms_norm(x, weight.shape, weight, 1e-5)

    arrays = case_of("rms_norm", (rows, columns)).arrays
    return both_passes(F.rms_norm, theirs, *arrays, dy=normal(rows, columns, seed=1))


def gelu(rows: int, columns: int) -> Contest:
    def theirs(torch, x):
        return torch.nn.functional.gelu(x, approximate="tanh")

    return both_passes(F.gelu, theirs, normal(rows, columns), dy=normal(rows, columns, seed=1))


def swiglu(rows: int, columns: int) -> Contest:
    def theirs(torch, x):
        gate, up = x.chunk(2, -1)
        return torch.nn.functional.silu(gate) * up

    return both_passes(F.fused_swiglu, theirs, normal(rows, 2 * columns), dy=normal(rows, columns, seed=1))


def embedding(count: int, vocabulary: int, columns: int) -> Contest:
    def theirs(torch, table, ids):
        return torch.nn.functional.embedding(ids, table)

    arrays = case_of("embedding", (count, vocabulary, columns)).arrays
    return both_passes(F.embedding, theirs, *arrays, dy=normal(count, columns, seed=1))


def cross_entropy(rows: int, vocabulary: int) -> Contest:
    """Ours puts the gradient in the place of the logits, as the models of the engine do."""
    x, targets = normal(rows, vocabulary, scale=3), ids(rows, vocabulary)
    logits = x.copy()

    def ours() -> tuple[Any, ...]:
        losses, gradient = K.cross_entropy_with_gradient(logits, targets, scale=1 / rows, out=logits)
        return losses.mean(), gradient

    def others(torch: Any) -> dict[str, Run]:
        tensor, wanted = torch.from_numpy(x).requires_grad_(), torch.from_numpy(targets)

        def passes(f: Any) -> tuple[Any, ...]:
            loss = f(tensor, wanted)
            return loss.detach(), *torch.autograd.grad(loss, tensor)

        eager = torch.nn.functional.cross_entropy
        return {"eager": partial(passes, eager), "compiled": partial(passes, compiled(torch, eager))}

    return Contest(ours, others)


def projection(rows: int, inputs: int, vocabulary: int) -> Contest:
    """The loss in chunks against our kernels for projection and loss one after the other, with all logits at once."""
    case = case_of("linear_cross_entropy_with_gradients", (rows, inputs, vocabulary))
    x, weight, targets = case.arrays

    def apart() -> tuple[Any, ...]:
        logits = K.linear(x, weight)
        losses, dlogits = K.cross_entropy_with_gradient(logits, targets, scale=1 / rows, out=logits)
        return losses, K.linear_backward_input(dlogits, weight), K.linear_backward_weight(dlogits, x)

    ours = partial(K.linear_cross_entropy_with_gradients, *case.arrays, **case.settings)
    return Contest(ours, lambda torch: {"ours, apart": apart})


def attention(*dims: int, padded: bool = False, causal: bool = True, both: bool = False) -> Contest:
    """dims: as in the bench's cases. padded: of every second row the last quarter of the keys does not count."""
    B, H, T, S, D, *sharing = dims
    q, k, v = case_of("attention", dims).arrays
    dy = normal(B, T, H * (sharing or [1])[0], D, seed=3).swapaxes(1, 2)
    mask = np.ones((B, S), bool) if padded else None
    if mask is not None:
        mask[::2, -(S // 4) :] = False

    def theirs(torch, q, k, v, mask=None):
        attend = torch.nn.functional.scaled_dot_product_attention
        allowed = None if mask is None else mask[:, None, None]
        return attend(q, k, v, allowed, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])

    arrays = (q, k, v) if mask is None else (q, k, v, mask)
    if both:
        return both_passes(F.attention, theirs, *arrays, dy=dy, causal=causal)

    def others(torch: Any) -> dict[str, Run]:
        tensors = [torch.from_numpy(a) for a in arrays]
        runs = {"eager": partial(theirs, torch), "compiled": compiled(torch, partial(theirs, torch))}
        return {name: without_gradients(torch, partial(f, *tensors)) for name, f in runs.items()}

    return Contest(partial(K.attention, *arrays, causal=causal), others)


def lstm(*dims: int, both: bool = True) -> Contest:
    """Against PyTorch's layer with oneDNN and without; it cannot be compiled as a whole."""
    arrays = case_of("lstm", dims).arrays
    raw = F.lstm.__wrapped__
    shapes = [dims, (dims[0], dims[2]), (dims[0], dims[2])]
    d = tuple(normal(*shape, seed=3 + i) for i, shape in enumerate(shapes))

    def ours() -> tuple[Any, ...]:
        results, pullback = raw(*arrays)
        return *results, *(g for g in pullback(*d) if g is not None)

    def others(torch: Any) -> dict[str, Run]:
        layer = torch.nn.LSTM(dims[2], dims[2], batch_first=True)
        x, *weights, h0, c0 = map(torch.from_numpy, arrays)
        with torch.no_grad():
            for p, value in zip(layer.parameters(), (*weights, weights[2] * 0), strict=True):
                p.copy_(value)
        wanted = [x, *list(layer.parameters())[:3], h0, c0]

        def run(onednn: bool) -> tuple[Any, ...]:
            with torch.backends.mkldnn.flags(enabled=onednn), torch.set_grad_enabled(both):
                y, (h, c) = layer(x, (h0[None], c0[None]))
                results = y, h[0], c[0]
                if both:
                    results += torch.autograd.grad(results, wanted, [torch.from_numpy(a) for a in d])
                return tuple(r.detach() for r in results)

        for a in (x, h0, c0):
            a.requires_grad_(both)
        return {"oneDNN": partial(run, True), "without oneDNN": partial(run, False)}

    return Contest(ours if both else partial(K.lstm, *arrays), others)


def optimizer(parameters: int, model: str) -> Contest:
    """Clipping and AdamW over the parameters of a GPT with random gradients; PyTorch's fused AdamW."""
    from train_gpt import BETAS, CLIP, DECAY, LR, build

    from tinylm.optim import AdamW, clip_scale, parameter_groups

    rng = np.random.default_rng(0)
    given = list(build(model).parameters())
    gradients = [rng.standard_normal(p.shape, np.float32) for p in given]

    def others(torch: Any) -> dict[str, Run]:
        theirs = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in given]
        for p, gradient in zip(theirs, gradients, strict=True):
            p.grad = torch.from_numpy(gradient.copy())
        adamw = torch.optim.AdamW(theirs, lr=LR, betas=BETAS, weight_decay=DECAY, fused=True)

        def step() -> None:
            torch.nn.utils.clip_grad_norm_(theirs, CLIP)
            adamw.step()

        return {"eager, fused": step}

    adamw = AdamW(parameter_groups(given, DECAY), betas=BETAS)
    for p, gradient in zip(given, gradients, strict=True):
        p.gradient_buffer[...] = gradient
        p.grad = p.gradient_buffer

    def ours() -> None:
        adamw.step(LR, scale=clip_scale(adamw.gradient_norm(), CLIP))

    return Contest(ours, others, compared=False)


TALL = ((4096, 256), (12288, 256), (4096, 1024), (12288, 1024), (512, 50257))
HEADS = ((8, 6, 256, 256, 64), (4, 12, 1024, 1024, 64), (1, 12, 4096, 4096, 64))
GROUPED, PADDED = (2, 8, 1024, 1024, 64, 4), HEADS[1]
ATTENTION = ("attention",), ("attention", "attention_backward")


def _dims(entries: Any) -> list[Dims]:
    return [dims for dims, _ in entries]


def _norm(name: str, goal: float, entries: Any, prepare: Any) -> list[Row]:
    return [Row(name, BOTH, dims, goal, prepare, (name, f"{name}_backward")) for dims in _dims(entries)]


def _attention(name: str, dims: Dims, goals: tuple[float, float], **options: Any) -> list[Row]:
    # The operations that the bench counts are those of a causal mask; without one there are twice as many.
    counted = ATTENTION if options.get("causal", True) else ((), ())
    return [
        Row(name, FORWARD, dims, goals[0], partial(attention, **options), counted[0]),
        Row(name, BOTH, dims, goals[1], partial(attention, both=True, **options), counted[1]),
    ]


ROWS: list[Row] = [
    *(Row("softmax", FORWARD, d, 2.5, partial(one_kernel, "softmax"), ("softmax",), 0.85) for d in TALL),
    *(
        Row("softmax", BACKWARD, d, 2.0, partial(one_kernel, "softmax_backward"), ("softmax_backward",), 0.85)
        for d in TALL
    ),
    *(
        Row("cross-entropy with softmax", BOTH, d, 8.0, cross_entropy, ("cross_entropy_with_gradient",))
        for d in ((512, 50257), (2048, 10000))
    ),
    *(
        Row(
            "projection and cross-entropy in chunks", BOTH, d, 1.0, projection, ("linear_cross_entropy_with_gradients",)
        )
        for d in ((2048, 64, 10000), (2048, 768, 50257))
    ),
    *_norm("layer_norm", 2.0, NORMS, layer_norm),
    *_norm("rms_norm", 4.0, ROOTS, rms_norm),
    *_norm("gelu", 3.5, HIDDEN, gelu),
    *_norm("swiglu", 3.0, HIDDEN, swiglu),
    *(
        Row("embedding", BOTH, d, 1.5, embedding, ("embedding", "embedding_backward"))
        for d in ((4096, 65, 384), (512, 50257, 768), (2048, 10000, 64))
    ),
    *(
        Row("rope", FORWARD, d, 2.0, partial(one_kernel, "rope"), ("rope",))
        for d in ((8, 6, 256, 64), (4, 12, 1024, 64), (1, 32, 2048, 128))
    ),
    *_attention("attention, causal", HEADS[0], (1.5, 2.0)),
    *_attention("attention, causal", HEADS[1], (1.5, 2.0)),
    *_attention("attention, causal", HEADS[2], (1.1, 1.3)),
    *_attention("attention, causal, 4 heads of queries to one of keys", GROUPED, (1.5, 2.0)),
    *_attention("attention, keys padded", PADDED, (1.5, 2.0), padded=True, causal=False),
    *(
        Row("lstm", BOTH, d, goal, lstm, ("lstm", "lstm_backward"))
        for d, goal in zip(_dims(SEQUENCES), (1.1, 1.2, 1.6), strict=True)
    ),
    Row("lstm, one step", FORWARD, (1, 1, 512), 5.0, partial(lstm, both=False), ("lstm",)),
    *(
        Row("AdamW with clipping", "step", (n,), 1.3, partial(optimizer, model=model), moved=32.0 * n)
        for n, model in ((10_700_000, "b"), (124_000_000, "c"))
    ),
]


@dataclass(frozen=True)
class Memory:
    """A goal in bytes: what a call holds at most beside its arguments and results.

    most: given the bytes that calls at all `dims` held, whether the goal is met, and the words for it.
    """

    name: str
    dims: tuple[Dims, ...]
    prepare: Callable[..., Contest]
    goal: str
    met: Callable[[list[float]], bool]


def _tenth(rows: int, vocabulary: int) -> Callable[[list[float]], bool]:
    return lambda held: held[0] < 4 * rows * vocabulary / 10


LENGTHS = tuple((1, 12, t, t, 64) for t in (1024, 2048, 4096))

MEMORY: list[Memory] = [
    *(
        Memory("projection and cross-entropy in chunks", (d,), projection, "a tenth of the logits", _tenth(d[0], d[2]))
        for d in ((2048, 64, 10000), (2048, 768, 50257))
    ),
    *(
        Memory(
            f"attention, {words}, by tokens",
            LENGTHS,
            partial(attention, both=both),
            "twice as much for twice the tokens",
            lambda held: held[2] <= 2.2 * held[1] and held[1] <= 2.2 * held[0],
        )
        for words, both in ((FORWARD, False), (BOTH, True))
    ),
]
