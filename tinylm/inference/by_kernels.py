"""A plan run by kernels, one after the other: for many tokens at once, and where no Numba is installed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tinylm_kernels as K
from tinylm.models import Activation, Attend, Norm, Normalize, Plan, Project
from tinylm_kernels.packed import Packed

from .cache import SequenceCache

__all__ = ["embed", "run_by_kernels"]

_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "silu": K.silu,
    "gelu": K.gelu,
    "gelu_exact": lambda x: K.gelu(x, exact=True),
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
}


def embed(plan: Plan, ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """What the first step sees: ids and their positions (N,) to (N, C)."""
    rows = plan.tokens.take_rows(ids).dequantize() if isinstance(plan.tokens, Packed) else plan.tokens[ids]
    rows = rows if plan.scale == 1.0 else rows * np.float32(plan.scale)
    return rows if plan.positions is None else rows + plan.positions[positions]


def run_by_kernels(plan: Plan, ids: np.ndarray, caches: list[SequenceCache], count: int) -> np.ndarray:
    """ids (B, T), the next tokens of each sequence, to the logits (B, count, V) after the last of them."""
    B, T = ids.shape
    positions = np.concatenate([np.arange(cache.length, cache.length + T) for cache in caches])
    buffers = {name: np.empty((B * T, plan.widths[name]), np.float32) for name in ("inner", "mixed")}
    buffers["x"] = embed(plan, ids.reshape(-1), positions)
    for step in plan.steps[:-1]:
        if isinstance(step, Attend):
            _attend(plan, step, buffers, caches, T)
        elif isinstance(step, Normalize):
            buffers["x"] = _normalized(step.norm, buffers["x"])
        else:
            _project(step, buffers)
    buffers["x"] = np.ascontiguousarray(buffers["x"].reshape(B, T, -1)[:, -count:]).reshape(B * count, -1)
    buffers["logits"] = np.empty((B * count, plan.widths["logits"]), np.float32)
    head = plan.steps[-1]
    assert isinstance(head, Project)
    _project(head, buffers)
    for cache in caches:
        cache.length += T
    return buffers["logits"].reshape(B, count, -1)


def _project(step: Project, buffers: dict[str, np.ndarray]) -> None:
    x = _prepared(step, buffers[step.source])
    for product in step.products:
        columns = buffers[product.target][:, product.offset : product.offset + product.weight.shape[0]]
        residual = np.ascontiguousarray(columns) if product.add else None
        columns[...] = K.linear(x, product.weight, product.bias, residual, out=residual)


def _prepared(step: Project, source: np.ndarray) -> np.ndarray:
    if isinstance(step.before, Activation) and step.before.gated:
        return _gated(step.before.name, source[:, : step.width], source[:, step.width : 2 * step.width])
    x = np.ascontiguousarray(source[:, : step.width])
    if isinstance(step.before, Norm):
        return _normalized(step.before, x)
    return x if step.before is None else _ACTIVATIONS[step.before.name](x)


def _normalized(norm: Norm, x: np.ndarray) -> np.ndarray:
    if norm.bias is None:
        return K.rms_norm(x, norm.weight, eps=norm.eps)[0]
    return K.layer_norm(x, norm.weight, norm.bias, eps=norm.eps)[0]


def _gated(name: str, gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    return K.swiglu(gate, up) if name == "silu" else _ACTIVATIONS[name](np.ascontiguousarray(gate)) * up


def _attend(plan: Plan, step: Attend, buffers: dict[str, np.ndarray], caches: list[SequenceCache], T: int) -> None:
    window = None if step.window is None else (step.window - 1, None)
    for row, cache in enumerate(caches):
        rows = slice(row * T, (row + 1) * T)
        inner = buffers["inner"][rows]
        if step.memory:
            assert cache.memory is not None
            q = _heads(inner[:, : step.heads * step.key_width], step.heads)
            seen = [
                array[None].swapaxes(1, 2) for array in (cache.memory.keys[step.layer], cache.memory.values[step.layer])
            ]
            y, _ = K.attention(q, *seen, causal=False, scale=step.scale)
        else:
            q, *seen = _remembered(plan, step, inner, cache)
            y, _ = K.attention(
                q, *seen, None, _biases(step, cache.length, T), causal=True, window=window, scale=step.scale
            )
        mixed = buffers["mixed"][rows, : step.heads * step.value_width]
        mixed[...] = y[0].swapaxes(0, 1).reshape(T, -1)


def _remembered(plan: Plan, step: Attend, inner: np.ndarray, cache: SequenceCache) -> tuple[np.ndarray, ...]:
    """The queries (1, H, T, D) of new tokens, and all keys and values (1, G, S, D or E), theirs among them."""
    ends = np.cumsum([step.heads * step.key_width, step.groups * step.key_width, step.groups * step.value_width])
    parts = np.split(inner[:, : ends[-1]], ends[:-1], axis=1)
    q, k, v = (_heads(a, n) for a, n in zip(parts, (step.heads, step.groups, step.groups), strict=True))
    start, stop = cache.length, cache.length + len(inner)
    if plan.rotary is not None:
        angles = [table[start:] for table in plan.rotary.tables(stop, np.dtype(np.float32))]
        q, k = K.rope(q, *angles), K.rope(k, *angles)
    keys, values = cache.keys[step.layer], cache.values[step.layer]
    keys[start:stop], values[start:stop] = k[0].swapaxes(0, 1), v[0].swapaxes(0, 1)
    return q, *(array[None, :stop].swapaxes(1, 2) for array in (keys, values))


def _heads(x: np.ndarray, heads: int) -> np.ndarray:
    """(T, H D) as (1, H, T, D)."""
    return x.reshape(1, len(x), heads, -1).swapaxes(1, 2)


def _biases(step: Attend, start: int, T: int) -> np.ndarray | None:
    """What is added to the scores of T tokens from `start` on, (1, H, T, S); what lies after a token is not seen."""
    if step.biases is None:
        return None
    distance = np.maximum(np.arange(start, start + T)[:, None] - np.arange(start + T), 0)
    return step.biases[None, :, step.biases.shape[1] - 1 - distance]
