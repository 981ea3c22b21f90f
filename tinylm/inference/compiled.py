"""A plan as one compiled program, which runs a token of one or several sequences without returning to Python."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from tinylm.models import Attend, Matrix, Norm, Plan, Project
from tinylm_kernels.decoding import program as P
from tinylm_kernels.decoding.running import run_program
from tinylm_kernels.packed.products import address_of, in_whole_units, place_of, way_of

from .by_kernels import embed
from .cache import SequenceCache

__all__ = ["CompiledPlan"]

_ACTIVATIONS = {
    None: P.COPY,
    "swiglu": P.SWIGLU,
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

    def run(self, ids: np.ndarray, caches: list[SequenceCache]) -> np.ndarray:
        """ids (B,), the next token of each sequence, to the logits (B, V) after it."""
        positions = np.array([cache.length for cache in caches], np.int64)
        addresses = np.array([cache.address for cache in caches], np.int64)
        with self._lock:
            if len(ids) > self._rows:
                self._build(len(ids))
            self._buffers["x"][: len(ids)] = embed(self.plan, ids, positions)
            angles = self._angles(int(positions.max()) + 1)
            run_program(*self._program, positions, addresses, angles, alone=self._alone)
            logits = self._buffers["logits"][: len(ids)].copy()
        for cache in caches:
            cache.length += 1
        return logits

    def _angles(self, length: int) -> tuple[int, int]:
        """Where the tables of rotary positions lie; they stay alive in the plan until longer ones are asked for."""
        if self.plan.rotary is None:
            return 0, 0
        self._tables = self.plan.rotary.tables(length, np.dtype(np.float32))
        return address_of(self._tables[0]), address_of(self._tables[1])

    def _build(self, rows: int) -> None:
        """The program and its buffers for so many sequences at once."""
        self._rows, self._kept = rows, []
        self._buffers = {name: np.zeros((rows, width), np.float32) for name, width in self.plan.widths.items()}
        places = SequenceCache(self.plan).places
        table: list[list[int]] = []
        numbers: list[float] = []
        starts = []
        for step in self.plan.steps:
            starts.append(len(table))
            if isinstance(step, Attend):
                table.append(self._attend(step, places[step.layer]))
                numbers.append(step.scale)
                continue
            products, wants = self._products(step)
            table += [self._prepare(step, wants), *products]
            numbers += [step.before.eps if isinstance(step.before, Norm) else 0.0, *[0.0] * len(products)]
        program = np.zeros((len(table), P.COLUMNS), np.int64)
        for row, values in zip(program, table, strict=True):
            row[: len(values)] = values
        self._program = program, np.array(numbers, np.float32), np.array([*starts, len(table)], np.int64)

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

    def _prepare(self, step: Project, wants: int) -> list[int]:
        if isinstance(step.before, Norm):
            how = P.RMS_NORM if step.before.bias is None else P.LAYER_NORM
            norm = self._keep(step.before.weight), self._keep(step.before.bias)
        else:
            how, norm = _ACTIVATIONS[step.before], (0, 0)
        return [P.PREPARE, *self._place(step.source), 0, 0, how, step.width, *norm, wants]

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

    def _attend(self, step: Attend, place: tuple[int, int]) -> list[int]:
        turned = 0 if self.plan.rotary is None else 2 * len(self.plan.rotary.frequencies)
        shape = step.heads, step.groups, step.key_width, step.value_width, turned, step.window or 0
        return [P.ATTEND, *self._place("inner"), *self._place("mixed"), *shape, *place]
