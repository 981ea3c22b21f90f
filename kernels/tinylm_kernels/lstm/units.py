"""The recurrence of the LSTM for a few rows: each thread takes some of the units, since rows are too few to share.

Each step reads all recurrent weights for a few multiply-adds each, so that the cache they come from bounds the time.
They are read where they lie: packing them would cost more than it gains.
"""

import numpy as np

from ..few_rows import dot
from ..jit import jit
from ..products import aligned
from ..recurrence_cpu import give_state, padded, row_bytes, take_state, write_zeros
from ..relay import claim, finish, wait_for_step
from ..vectors import LANES, LINE, load, peek, poke, read, splat, store
from .sequence import DA, GATES, H_STATE, W_HIDDEN, gradient, update

UNITS = 64  # in a part: four vectors, whose sums over all gates stay in registers
ZERO = np.float32(0)


@jit
def unit_parts(H):
    """The number of parts of a step."""
    return (H + UNITS - 1) // UNITS


@jit
def begin_forward(places, shape):
    """The scratch array of `forward_units`, with the first state in it."""
    B, _, H = shape
    scratch = np.empty(LINE + B * (2 * row_bytes(H) + row_bytes(4 * padded(H))) // 4, np.float32)
    take_state(places[H_STATE], 0, B, H, aligned(scratch), row_bytes(H))
    return scratch


@jit
def forward_units(scratch, relay, places, source, lengths, shape, first):
    """All steps for all rows, together with the threads that call this at the same time, on the same arrays.

    relay: see `relay_size`. first: the part of a step to begin with. source: where gates do not hold the projection of
    the inputs yet, the addresses of x and the input weights and the number of inputs; else zeros.
    """
    B, T, H = shape
    row, sums_row, parts = row_bytes(H), row_bytes(4 * padded(H)), unit_parts(H)
    h, meeting = aligned(scratch), aligned(relay)
    h_next = h + B * row
    sums = h_next + B * row
    for t in range(T):
        wait_for_step(meeting, parts, t)
        for n in range(parts):
            part = (first + n) % parts
            if claim(meeting, part, t):
                unit = part * UNITS
                stop = min(H, unit + UNITS)
                _project_part(places, source, shape, t, unit, stop)
                _forward_part(h, h_next, row, sums, sums_row, places, lengths, shape, t, unit, stop)
                finish(meeting, 1)
        h, h_next = h_next, h


@jit
def end_forward(scratch, places, shape):
    """Deliver the last state."""
    B, T, H = shape
    row = row_bytes(H)
    give_state(aligned(scratch) + T % 2 * B * row, row, B, H, places[H_STATE], 0)


@jit
def _project_part(places, source, shape, t, first, stop):
    """The projection of the inputs by some units' gates, to its place, where there is something to project."""
    B, T, H = shape
    x, weights, inputs = source
    if not x:
        return
    for gate in range(4):
        for unit in range(gate * H + first, gate * H + stop):
            for b in range(B):
                row = b * T + t
                projection = dot(x + row * inputs * 4, weights + unit * inputs * 4, inputs)
                poke(places[GATES] + (row * 4 * H + unit) * 4, projection)


@jit
def _forward_part(h, h_next, row, sums, sums_row, places, lengths, shape, t, first, stop):
    B, _, H = shape
    step = padded(H) * 4
    for gate in range(4):
        for unit in range(first, stop):
            weights = places[W_HIDDEN] + (gate * H + unit) * H * 4
            for b in range(B):
                poke(sums + b * sums_row + gate * step + unit * 4, dot(h + b * row, weights, H))
    for b in range(B):
        live = t < lengths[b]
        for unit in range(first, stop, LANES):
            to, sums_at = b * row + unit * 4, sums + b * sums_row + unit * 4
            store(h_next + to, update(places, shape, b, t, unit, live, sums_at, step, load(h + to)))


@jit
def begin_backward(places, shape):
    """The scratch array of `backward_units`, with the gradient by the last state in it."""
    B, _, H = shape
    scratch = np.empty(LINE + B * row_bytes(H) // 4, np.float32)
    take_state(places[H_STATE], 0, B, H, aligned(scratch), row_bytes(H))
    return scratch


@jit
def backward_units(scratch, relay, places, lengths, shape, first):
    """All steps from the last; as `forward_units`. The step after them only carries the gradient to the first state."""
    _, T, H = shape
    dh, meeting, row, parts = aligned(scratch), aligned(relay), row_bytes(H), unit_parts(H)
    for step in range(T + 1):
        wait_for_step(meeting, parts, step)
        for n in range(parts):
            part = (first + n) % parts
            if claim(meeting, part, step):
                unit = part * UNITS
                _backward_part(dh, row, places, lengths, shape, T - 1 - step, unit, min(H, unit + UNITS))
                finish(meeting, 1)


@jit
def end_backward(scratch, places, shape):
    """Deliver the gradient by the first state."""
    B, _, H = shape
    give_state(aligned(scratch), row_bytes(H), B, H, places[H_STATE], 0)


@jit
def _backward_part(dh, row, places, lengths, shape, t, first, stop):
    """The gradient by some units' outputs at step t from those by all gates at step t + 1, and by their own gates."""
    B, T, H = shape
    weights = places[W_HIDDEN] + first * 4
    for b in range(B):
        if t + 1 < min(T, lengths[b]):
            da = places[DA] + (b * T + t + 1) * 4 * H * 4
            _combine(da, weights, H * 4, 4 * H, dh + b * row + first * 4, stop - first)
        if t >= lengths[b]:
            for gate in range(4):
                write_zeros(places[DA] + (((b * T + t) * 4 + gate) * H + first) * 4, stop - first)
        elif t >= 0:
            for unit in range(first, stop, LANES):
                gradient(places, shape, b, t, unit, read(dh + b * row + unit * 4, H - unit))


@jit
def _combine(factors, weights, row, n, to, columns):
    """to = the sum over k < n of factors[k] times row k of up to UNITS columns."""
    if columns == UNITS:
        s0 = s1 = s2 = s3 = splat(ZERO)
        for k in range(n):
            factor, at = splat(peek(factors + k * 4)), weights + k * row
            s0 = s0 + factor * load(at)
            s1 = s1 + factor * load(at + LINE)
            s2 = s2 + factor * load(at + 2 * LINE)
            s3 = s3 + factor * load(at + 3 * LINE)
        store(to, s0)
        store(to + LINE, s1)
        store(to + 2 * LINE, s2)
        store(to + 3 * LINE, s3)
        return
    for column in range(0, columns, LANES):
        s0 = splat(ZERO)
        for k in range(n):
            s0 = s0 + splat(peek(factors + k * 4)) * read(weights + k * row + column * 4, columns - column)
        store(to + column * 4, s0)
