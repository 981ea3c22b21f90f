"""A plan as one compiled program, which runs a token of one or several sequences without returning to Python."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from tinylm.models import Attend, Matrix, Norm, Normalize, Plan, Project, Step
from tinylm_kernels.decoding import program as P
from tinylm_kernels.decoding.running import run_program
from tinylm_kernels.packed.products import address_of, in_whole_units, place_of, way_of

from .by_kernels import embed
from .cache import SequenceCache, cache_places, source_places

__all__ = ["CompiledPlan"]

_ACTIVATIONS = {
    "silu": P.SILU,
    "gelu": P.GELU,
    "gelu_exact": P.GELU_EXACT,
    "relu": P.RELU,
    "tanh": P.TANH,
}
# Below so many bytes of weights a token costs less than the meetings of threads.
ALONE_BELOW = 1 << 20


class CompiledPlan:
    """The program of a plan, and the buffers in which it runs; one call at a time."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self._lock = threading.Lock()
        self._kept: list[Any] = []  # what the program's addresses name
        self._matrices: dict[int, Matrix] = {}
        self._rows = 0
        self._alone = plan.nbytes < ALONE_BELOW
        self._side_by_side = _starts_of(plan, apart=False)
        self._one_after_another = _starts_of(plan, apart=True)

    def run(self, ids: np.ndarray, caches: list[SequenceCache]) -> np.ndarray:
        """ids (B,), the next token of each sequence, to the logits (B, V) after it."""
        logits = self._run(ids, caches, np.array([cache.length for cache in caches]), 0, self._side_by_side)
        for cache in caches:
            cache.length += 1
        return logits

    def read(self, ids: np.ndarray, cache: SequenceCache, count: int) -> np.ndarray:
        """ids (T,), the next tokens of one sequence, to the logits (count, V) after the last of them.

        The same bits as of one token after the other, for the weights of all are read together.
        """
        positions = np.arange(cache.length, cache.length + len(ids))
        logits = self._run(ids, [cache] * len(ids), positions, len(ids) - count, self._one_after_another)
        cache.length += len(ids)
        return logits

    def _run(
        self, ids: np.ndarray, caches: list[SequenceCache], positions: np.ndarray, first: int, starts: np.ndarray
    ) -> np.ndarray:
        rows = np.zeros((len(ids), P.ROW_COLUMNS), np.int64)
        rows[:, P.POSITION] = positions
        rows[:, P.CACHE] = [cache.address for cache in caches]
        rows[:, P.OTHER] = [cache.memory.address if cache.memory else 0 for cache in caches]
        rows[:, P.OTHER_LENGTH] = [cache.memory.length if cache.memory else 0 for cache in caches]
        with self._lock:
            if len(ids) > self._rows:
                self._build(len(ids))
            self._buffers["x"][: len(ids)] = embed(self.plan, ids, positions)
            angles = self._angles(int(positions.max()) + 1)
            run_program(*self._program, starts, rows, first, angles, alone=self._alone)
            return self._buffers["logits"][first : len(ids)].copy()

    def _angles(self, length: int) -> tuple[int, int]:
        """Where the tables of rotary positions lie; they stay alive in the plan until longer ones are asked for."""
        if self.plan.rotary is None:
            return 0, 0
        self._tables = self.plan.rotary.tables(length, np.dtype(np.float32))
        return address_of(self._tables[0]), address_of(self._tables[1])

    def _build(self, rows: int) -> None:
        """The program and its buffers for so many tokens at once."""
        self._rows, self._kept = rows, []
        self._buffers = {name: np.zeros((rows, width), np.float32) for name, width in self.plan.widths.items()}
        table = [row for step in self.plan.steps for row in self._rows_of(step)]
        numbers = [number for step in self.plan.steps for number in _numbers_of(step)]
        program = np.zeros((len(table), P.COLUMNS), np.int64)
        for row, values in zip(program, table, strict=True):
            row[: len(values)] = values
        self._program = program, np.array(numbers, np.float32)

    def _rows_of(self, step: Step) -> list[list[int]]:
        if isinstance(step, Attend):
            return self._attend(step)
        if isinstance(step, Normalize):
            return [[P.NORMALIZE, *self._place("x"), *self._place("x"), *self._norm(step.norm, self.plan.widths["x"])]]
        products, wants = self._products(step)
        return [self._prepare(step, wants), *products]

    def _place(self, name: str, column: int = 0) -> tuple[int, int]:
        """The address of a column of a buffer, and the bytes of a row."""
        buffer = self._buffers[name]
        return address_of(buffer) + 4 * column, buffer.strides[0]

    def _keep(self, array: np.ndarray | None) -> int:
        """The address of an array that stays, 0 of None."""
        if array is None:
            return 0
        self._kept.append(array := np.ascontiguousarray(array, np.float32))
        return address_of(array)

    def _norm(self, norm: Norm, width: int) -> list[int]:
        how = P.RMS_NORM if norm.bias is None else P.LAYER_NORM
        return [how, width, self._keep(norm.weight), self._keep(norm.bias)]

    def _prepare(self, step: Project, wants: int) -> list[int]:
        if isinstance(step.before, Norm):
            how = self._norm(step.before, step.width)
        elif step.before is None:
            how = [P.COPY, step.width, 0, 0]
        else:
            how = [_ACTIVATIONS[step.before.name] + P.GATED * step.before.gated, step.width, 0, 0]
        return [P.PREPARE, *self._place(step.source), 0, 0, *how, wants]

    def _products(self, step: Project) -> tuple[list[list[int]], int]:
        """The rows of the table, and in which ways the rows are prepared that they read."""
        rows, wants = [], 0
        for product in step.products:
            weight = in_whole_units(product.weight)
            self._kept.append(weight)
            kind, address, row, _ = place_of(weight)
            wants |= 1 << way_of(kind)
            target = self._place(product.target, product.offset)
            outputs, bias = weight.shape[0], self._keep(product.bias)
            rows.append([P.MULTIPLY, 0, 0, *target, kind, address, row, outputs, bias, int(product.add)])
        return rows, wants

    def _attend(self, step: Attend) -> list[list[int]]:
        """The rows of the table: keys and values are remembered, unless they are a source's, and seen."""
        turned = 0 if self.plan.rotary is None or step.memory else 2 * len(self.plan.rotary.frequencies)
        places = source_places(self.plan) if step.memory else cache_places(self.plan)
        biases, length = self._keep(step.biases), 0 if step.biases is None else step.biases.shape[1]
        shape = step.heads, step.groups, step.key_width, step.value_width, turned, step.window or 0
        seen = [*self._place("inner"), *self._place("mixed"), *shape, *places[step.layer]]
        attend = [P.ATTEND, *seen, int(step.memory), biases, length]
        return [attend] if step.memory else [[P.REMEMBER, *seen], attend]


def _numbers_of(step: Step) -> list[float]:
    """The number of each row of the table that a step makes."""
    if isinstance(step, Attend):
        return [step.scale] if step.memory else [0.0, step.scale]
    if isinstance(step, Normalize):
        return [step.norm.eps]
    return [step.before.eps if isinstance(step.before, Norm) else 0.0, *[0.0] * len(step.products)]


def _starts_of(plan: Plan, *, apart: bool) -> np.ndarray:
    """Where each step begins in the table, and its end; apart: keys are remembered in a step before they are seen."""
    starts = [0]
    for step in plan.steps:
        if apart and isinstance(step, Attend) and not step.memory:
            starts.append(starts[-1] + 1)
            starts.append(starts[-1] + 1)
        else:
            starts.append(starts[-1] + len(_numbers_of(step)))
    return np.array(starts, np.int64)
