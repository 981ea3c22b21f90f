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
from .attending import attend, attention_bytes, remember
from .inputs import apply
from .program import (
    ADD,
    ATTEND,
    BIAS,
    BIASES_AT,
    BIASES_LENGTH,
    CACHE,
    GROUPS,
    HEADS,
    HOW,
    KEY_WIDTH,
    KEYS_AT,
    KIND,
    MEMORY,
    MULTIPLY,
    NORM_BIAS,
    NORM_WEIGHT,
    NORMALIZE,
    OPERATION,
    OTHER,
    OTHER_LENGTH,
    OUTPUTS,
    POSITION,
    PREPARE,
    REMEMBER,
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
def _prepare(at, number, first, rows, scratch):
    """Prepare the rows from `first` on in the ways that products want; returns (numbers of a row, where they begin)."""
    n, count = at[WIDTH], rows - first
    prepared = scratch + _row_bytes(n)
    for r in range(count):
        source = at[SOURCE] + (first + r) * at[SOURCE_ROW]
        x = apply(at[HOW], source, n, at[NORM_WEIGHT], at[NORM_BIAS], number, scratch)
        for way in range(WAYS):
            if at[WANTS] >> way & 1:
                prepare_row(x, n, way, prepared + _prepared_places(n, count, way) + r * prepared_bytes(n, way))
    return n, prepared


@jit
def _multiply(at, prepared, first_row, rows, part, parts):
    """A part of the outputs of a product."""
    n, places = prepared
    count, groups = rows - first_row, (at[OUTPUTS] + GROUP - 1) // GROUP  # sums of a group are computed together
    first, stop = GROUP * (part * groups // parts), min(at[OUTPUTS], GROUP * ((part + 1) * groups // parts))
    way = way_of(at[KIND])
    x, x_row = places + _prepared_places(n, count, way), prepared_bytes(n, way)
    weights, target = (at[KIND], at[WEIGHTS], at[WEIGHTS_ROW], n), at[TARGET] + first_row * at[TARGET_ROW]
    multiply(weights, first, stop, x, x_row, count, target, at[TARGET_ROW], at[BIAS], at[ADD] != 0)


@jit
def _remember(at, tokens, angles, part, parts):
    """The heads of keys that are a part's, of all rows; `_attend` has the same."""
    heads, groups = at[HEADS] // at[GROUPS], at[GROUPS]
    for task in range(part, len(tokens) * groups, parts):
        row, group = task // groups, task % groups
        source, position, cache = at[SOURCE] + row * at[SOURCE_ROW], tokens[row, POSITION], tokens[row, CACHE]
        to = cache + at[KEYS_AT], cache + at[VALUES_AT]
        remember(source, to, position, group, heads, groups, at[KEY_WIDTH], at[VALUE_WIDTH], at[TURNED], angles)


@jit
def _attend(at, scale, tokens, angles, part, parts, scratch):
    heads, groups, D, E = at[HEADS] // at[GROUPS], at[GROUPS], at[KEY_WIDTH], at[VALUE_WIDTH]
    for task in range(part, len(tokens) * groups, parts):
        row, group = task // groups, task % groups
        position, cache, other, length = (
            tokens[row, POSITION], tokens[row, CACHE], tokens[row, OTHER], tokens[row, OTHER_LENGTH],
        )  # fmt: skip
        keys, seen = (cache + at[KEYS_AT], cache + at[VALUES_AT]), (np.int64(0), position + 1)
        if at[MEMORY]:
            keys, seen = (other + length * at[KEYS_AT], other + length * at[VALUES_AT]), (np.int64(0), length)
        elif at[WINDOW]:
            seen = max(position + 1 - at[WINDOW], np.int64(0)), position + 1
        source, target = at[SOURCE] + row * at[SOURCE_ROW], at[TARGET] + row * at[TARGET_ROW]
        biases = at[BIASES_AT], at[BIASES_LENGTH]
        attend(
            source, target, keys, seen, position, group, heads, groups, D, E, at[TURNED], scale, angles, biases, scratch
        )


@jit
def _normalize(at, number, rows, part, parts):
    """The rows that are a part's."""
    for r in range(part, rows, parts):
        source, target = at[SOURCE] + r * at[SOURCE_ROW], at[TARGET] + r * at[TARGET_ROW]
        apply(at[HOW], source, at[WIDTH], at[NORM_WEIGHT], at[NORM_BIAS], number, target)


@jit
def _go_through(program, numbers, steps, tokens, first_result, angles, relay, parts, mine, scratch):
    """All steps, together with the threads that call this at the same time. mine: the part to begin with."""
    rows = len(tokens)
    for step in range(len(steps) - 1):
        first, stop = steps[step], steps[step + 1]
        first_row = first_result if step == len(steps) - 2 else 0
        wait_for_step(relay, parts, step)
        prepared = np.int64(0), np.int64(0)
        if program[first, OPERATION] == PREPARE:
            prepared = _prepare(program[first], numbers[first], first_row, rows, scratch)
        done = 0
        for n in range(parts):
            part = (mine + n) % parts
            if not claim(relay, part, step):
                continue
            done += 1
            for i in range(first, stop):
                at = program[i]
                if at[OPERATION] == MULTIPLY:
                    _multiply(at, prepared, first_row, rows, part, parts)
                elif at[OPERATION] == REMEMBER:
                    _remember(at, tokens, angles, part, parts)
                elif at[OPERATION] == ATTEND:
                    _attend(at, numbers[i], tokens, angles, part, parts, scratch)
                elif at[OPERATION] == NORMALIZE:
                    _normalize(at, numbers[i], rows, part, parts)
        finish(relay, done)


def _run(program, numbers, steps, tokens, first_result, angles, threads):
    parts = PARTS * threads
    relay = np.zeros(relay_size(parts), np.int64)
    size = _thread_bytes(program, len(tokens))
    scratch = np.empty(threads * size + LINE, np.uint8)
    meeting, work = aligned(relay), aligned(scratch)
    for thread in prange(threads):
        mine, own = thread * PARTS, work + thread * (size // LINE * LINE)
        _go_through(program, numbers, steps, tokens, first_result, angles, meeting, parts, mine, own)


_serial, _parallel = jit(_run), jit(_run, parallel=True)


def run_program(
    program: np.ndarray,
    numbers: np.ndarray,
    steps: np.ndarray,
    tokens: np.ndarray,
    first_result: int,
    angles: tuple[int, int],
    *,
    alone: bool,
) -> None:
    """Run a program for some tokens, a row of the buffers each.

    program: (I, COLUMNS) int64; numbers: (I,) float32, see `program`; steps: where each begins in it, and its end;
    tokens: (B, ROW_COLUMNS) int64. Tokens of one text, which see each other, need REMEMBER and ATTEND in steps of their
    own. first_result: the first row of which the last step is wanted. angles: the addresses of the cosines and sines of
    rotary positions; alone: in one thread, where the whole is too little for two.
    """
    threads = 1 if alone else LAUNCH.threads()
    if threads == 1:
        _serial(program, numbers, steps, tokens, first_result, angles, 1)
        return
    with LAUNCH:
        _parallel(program, numbers, steps, tokens, first_result, angles, threads)
