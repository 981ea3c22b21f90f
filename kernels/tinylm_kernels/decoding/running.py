"""The interpreter: threads go through a program together, and meet in memory between its steps (`relay`)."""

import numpy as np
from numba import prange

from ..jit import LAUNCH, jit
from ..packed.activations import WAYS, prepare_row, prepared_bytes
from ..packed.dots import ROWS
from ..packed.interleaved import GROUP
from ..packed.products import multiply, way_of
from ..products import aligned
from ..relay import claim, finish, relay_size, wait_for_step
from ..vectors import LINE
from .attending import attend, attention_bytes
from .inputs import apply
from .program import (
    ADD,
    ATTEND,
    BIAS,
    GROUPS,
    HEADS,
    HOW,
    KEY_WIDTH,
    KEYS_AT,
    KIND,
    MULTIPLY,
    NORM_BIAS,
    NORM_WEIGHT,
    OPERATION,
    OUTPUTS,
    PREPARE,
    SOURCE,
    SOURCE_ROW,
    TARGET,
    TARGET_ROW,
    TURNED,
    VALUE_WIDTH,
    VALUES_AT,
    WANTS,
    WEIGHTS,
    WEIGHTS_ROW,
    WIDTH,
    WINDOW,
)

__all__ = ["run_program"]

# Parts of a step for each thread: enough for one to go on while the other was held up. No part changes a bit: each
# result is computed by itself.
PARTS = 4


@jit
def _row_bytes(n):
    return (n * 4 + 2 * LINE - 1) // LINE * LINE


@jit
def _thread_bytes(program, rows):
    """What a thread works in: a row of floats, prepared rows of both kinds, and what attention needs."""
    widest, attention = 0, 0
    for i in range(len(program)):
        at = program[i]
        if at[OPERATION] == PREPARE:
            widest = max(widest, at[WIDTH])
        elif at[OPERATION] == ATTEND:
            attention = max(attention, attention_bytes(at[HEADS] // at[GROUPS], at[KEY_WIDTH], at[VALUE_WIDTH]))
    return _row_bytes(widest) + _prepared_places(widest, rows, WAYS) + attention + 2 * LINE


@jit
def _prepared_places(n, rows, way):
    """Where the rows that are prepared in a way begin, behind those of the ways before it."""
    at = 0
    for before in range(way):
        at += (rows + ROWS - 1) // ROWS * ROWS * (prepared_bytes(n, before) + LINE) // LINE * LINE
    return at


@jit
def _prepare(at, number, rows, scratch):
    """Prepare all rows in the ways that products want; returns (numbers of a row, where the ways begin)."""
    n = at[WIDTH]
    prepared = scratch + _row_bytes(n)
    for r in range(rows):
        x = apply(at[HOW], at[SOURCE] + r * at[SOURCE_ROW], n, at[NORM_WEIGHT], at[NORM_BIAS], number, scratch)
        for way in range(WAYS):
            if at[WANTS] >> way & 1:
                prepare_row(x, n, way, prepared + _prepared_places(n, rows, way) + r * prepared_bytes(n, way))
    return n, prepared


@jit
def _multiply(at, prepared, rows, part, parts):
    """A part of the outputs of a product."""
    n, places = prepared
    groups = (at[OUTPUTS] + GROUP - 1) // GROUP  # sums of so many outputs are computed together
    first, stop = GROUP * (part * groups // parts), min(at[OUTPUTS], GROUP * ((part + 1) * groups // parts))
    way = way_of(at[KIND])
    x, x_row = places + _prepared_places(n, rows, way), prepared_bytes(n, way)
    weights = at[KIND], at[WEIGHTS], at[WEIGHTS_ROW], n
    multiply(weights, first, stop, x, x_row, rows, at[TARGET], at[TARGET_ROW], at[BIAS], at[ADD] != 0)


@jit
def _attend(at, scale, positions, caches, angles, part, parts, scratch):
    """The heads of keys that are a part's, of all rows."""
    heads, groups, D, E = at[HEADS] // at[GROUPS], at[GROUPS], at[KEY_WIDTH], at[VALUE_WIDTH]
    for task in range(part, len(positions) * groups, parts):
        row, group = task // groups, task % groups
        cache = caches[row] + at[KEYS_AT], caches[row] + at[VALUES_AT]
        source, target = at[SOURCE] + row * at[SOURCE_ROW], at[TARGET] + row * at[TARGET_ROW]
        attend(
            source, target, cache, positions[row], group, heads, groups, D, E, at[TURNED], at[WINDOW], scale,
            angles, scratch,
        )  # fmt: skip


@jit
def _go_through(program, numbers, steps, positions, caches, angles, relay, parts, mine, scratch):
    """All steps, together with the threads that call this at the same time. mine: the part to begin with."""
    rows = len(positions)
    for step in range(len(steps) - 1):
        first, stop = steps[step], steps[step + 1]
        wait_for_step(relay, parts, step)
        prepared = np.int64(0), np.int64(0)
        if program[first, OPERATION] == PREPARE:
            prepared = _prepare(program[first], numbers[first], rows, scratch)
        done = 0
        for n in range(parts):
            part = (mine + n) % parts
            if not claim(relay, part, step):
                continue
            done += 1
            for i in range(first, stop):
                at = program[i]
                if at[OPERATION] == MULTIPLY:
                    _multiply(at, prepared, rows, part, parts)
                elif at[OPERATION] == ATTEND:
                    _attend(at, numbers[i], positions, caches, angles, part, parts, scratch)
        finish(relay, done)


def _run(program, numbers, steps, positions, caches, angles, threads):
    parts = PARTS * threads
    relay = np.zeros(relay_size(parts), np.int64)
    size = _thread_bytes(program, len(positions))
    scratch = np.empty(threads * size + LINE, np.uint8)
    meeting, work = aligned(relay), aligned(scratch)
    for thread in prange(threads):
        mine, own = thread * PARTS, work + thread * (size // LINE * LINE)
        _go_through(program, numbers, steps, positions, caches, angles, meeting, parts, mine, own)


_serial, _parallel = jit(_run), jit(_run, parallel=True)


def run_program(
    program: np.ndarray,
    numbers: np.ndarray,
    steps: np.ndarray,
    positions: np.ndarray,
    caches: np.ndarray,
    angles: tuple[int, int],
    *,
    alone: bool,
) -> None:
    """Run a program for one token of each sequence.

    program: (I, COLUMNS) int64; numbers: (I,) float32, see `program`; steps: where each begins in it, and its end;
    positions: of the tokens in their sequences; caches: the addresses of theirs; angles: those of the cosines and sines
    of rotary positions; alone: in one thread, where the whole is too little for two.
    """
    threads = 1 if alone else LAUNCH.threads()
    if threads == 1:
        _serial(program, numbers, steps, positions, caches, angles, 1)
        return
    with LAUNCH:
        _parallel(program, numbers, steps, positions, caches, angles, threads)
