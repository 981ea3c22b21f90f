"""The recurrence of the GRU over all steps, forward and backward, for some rows of the batch.

A step has two halves. With reset_after the recurrent products of all three gates come before the first; without, that
of n comes between them, since it multiplies what the reset gate leaves of the state.
"""

import numpy as np

from ..jit import jit
from ..products import ADD, REPLACE, aligned
from ..recurrence_cpu import (
    give_state,
    keep_ended,
    multiply_backward,
    multiply_forward,
    padded,
    padded_rows,
    row_bytes,
    take_state,
    write_zeros,
)
from ..vectors import LANES, LINE, read, sigmoid, splat, tanh, write

# The table of addresses: of both directions, of the forward, of the backward. The bias (4H,) holds the sums of the
# biases of r and z, that of n, and what reset_after adds to its recurrent product.
W_HIDDEN, GATES, INNER, Y = range(4)
BIAS, H_STATE = 4, 5
H0, DH, DY, DA, DINNER = range(4, 9)


@jit
def reset_rows(places, shape, t, b0, rows, sums, sums_row, step, h, h_row, rh, after):
    """The first half of a step: r and z to the gates, and either inner = h R^T + d or rh = inner = r h.

    The recurrent sums of the gates lie `step` bytes apart; rows of rh are as far apart as those of h.
    """
    _, T, H = shape
    gate = H * 4
    for r in range(rows):
        for unit in range(0, H, LANES):
            n, row = H - unit, (b0 + r) * T + t
            at, bias, sums_at = places[GATES] + (row * 3 * H + unit) * 4, places[BIAS] + unit * 4, sums + unit * 4
            sums_at += r * sums_row
            reset = sigmoid(read(sums_at, n) + read(at, n) + read(bias, n))
            update = sigmoid(read(sums_at + step, n) + read(at + gate, n) + read(bias + gate, n))
            write(at, reset, n)
            write(at + gate, update, n)
            if after:
                inner = read(sums_at + 2 * step, n) + read(bias + 3 * gate, n)
            else:
                inner = reset * read(h + r * h_row + unit * 4, n)
                write(rh + r * h_row + unit * 4, inner, n)
            write(places[INNER] + (row * H + unit) * 4, inner, n)


@jit
def candidate_rows(places, lengths, shape, t, b0, rows, sums, sums_row, h, h_row, h_next, after):
    """The second half: n to the gates, the output to y, and h_next. sums: of n, not read with reset_after."""
    _, T, H = shape
    gate = H * 4
    for r in range(rows):
        live = t < lengths[b0 + r]
        for unit in range(0, H, LANES):
            n, row = H - unit, (b0 + r) * T + t
            at, place = places[GATES] + (row * 3 * H + unit) * 4, (row * H + unit) * 4
            scaled = read(at, n) * read(places[INNER] + place, n) if after else read(sums + r * sums_row + unit * 4, n)
            candidate = tanh(scaled + read(at + 2 * gate, n) + read(places[BIAS] + 2 * gate + unit * 4, n))
            write(at + 2 * gate, candidate, n)
            h_at, y = read(h + r * h_row + unit * 4, n), splat(np.float32(0))
            if live:
                h_at = y = candidate + read(at + gate, n) * (h_at - candidate)
            write(h_next + r * h_row + unit * 4, h_at, n)
            write(places[Y] + place, y, n)


@jit
def forward_floats(rows, H):
    """The size of the scratch array of `forward_rows`."""
    return LINE + padded_rows(rows) * (2 * row_bytes(H) + row_bytes(3 * padded(H))) // 4


@jit
def forward_rows(scratch, weights, places, after, lengths, shape, b0, rows):
    """All steps for the batch rows from b0. gates holds the input projection and receives the gates."""
    _, T, H = shape
    row, sums_row, step = row_bytes(H), row_bytes(3 * padded(H)), padded(H) * 4
    h = aligned(scratch)
    h_next = h + padded_rows(rows) * row
    sums = h_next + padded_rows(rows) * row
    take_state(places[H_STATE], b0, rows, H, h, row)
    for t in range(T):
        for gate in range(3 if after else 2):
            multiply_forward(h, row, rows, weights, gate, H, sums + gate * step, sums_row)
        reset_rows(places, shape, t, b0, rows, sums, sums_row, step, h, row, h_next, after)
        if not after:
            multiply_forward(h_next, row, rows, weights, 2, H, sums + 2 * step, sums_row)
        candidate_rows(places, lengths, shape, t, b0, rows, sums + 2 * step, sums_row, h, row, h_next, after)
        h, h_next = h_next, h
    give_state(h, row, rows, H, places[H_STATE], b0)


@jit
def update_gradient_rows(places, lengths, shape, t, b0, rows, dh, dh_row, dh_next, da, da_row, after):
    """The gradients by z and n before their activations, with reset_after also by r; what of dh passes z to dh_next.

    They go to their place, and to the rows (3H) of scratch at da in the form in which the recurrent weights want
    them: with reset_after, that of n times r.
    """
    _, T, H = shape
    gate, one = H * 4, splat(np.float32(1))
    for r in range(rows):
        b = b0 + r
        if t >= lengths[b]:
            write_zeros(places[DA] + (b * T + t) * 3 * gate, 3 * H)
            write_zeros(places[DINNER] + (b * T + t) * gate, H)
            write_zeros(da + r * da_row, 3 * H)
            continue
        for unit in range(0, H, LANES):
            n, place, gates_at = H - unit, ((b * T + t) * H + unit) * 4, ((b * T + t) * 3 * H + unit) * 4
            gates, da_at, da_to = places[GATES] + gates_at, places[DA] + gates_at, da + r * da_row + unit * 4
            update, candidate = read(gates + gate, n), read(gates + 2 * gate, n)
            before = read(places[Y] + place - gate if t else places[H0] + (b * H + unit) * 4, n)
            d = read(dh + r * dh_row + unit * 4, n) + read(places[DY] + place, n)
            dn = d * (one - update) * (one - candidate * candidate)
            dz = d * (before - candidate) * update * (one - update)
            write(dh_next + r * dh_row + unit * 4, d * update, n)
            write(da_at + gate, dz, n)
            write(da_to + gate, dz, n)
            write(da_at + 2 * gate, dn, n)
            dinner = dn
            if after:
                reset = read(gates, n)
                dr = dn * read(places[INNER] + place, n) * reset * (one - reset)
                write(da_at, dr, n)
                write(da_to, dr, n)
                dinner = dn * reset
            write(places[DINNER] + place, dinner, n)
            write(da_to + 2 * gate, dinner, n)


@jit
def reset_gradient_rows(places, lengths, shape, t, b0, rows, drh, dh_row, dh_next, da, da_row):
    """Without reset_after: the gradient by r before its activation, from drh, that by r h; dh_next gets its share."""
    _, T, H = shape
    one = splat(np.float32(1))
    for r in range(rows):
        b = b0 + r
        if t >= lengths[b]:
            continue
        for unit in range(0, H, LANES):
            n, gates_at, to = H - unit, ((b * T + t) * 3 * H + unit) * 4, r * dh_row + unit * 4
            before = read(places[Y] + ((b * T + t - 1) * H + unit) * 4 if t else places[H0] + (b * H + unit) * 4, n)
            reset, d = read(places[GATES] + gates_at, n), read(drh + to, n)
            dr = d * before * reset * (one - reset)
            write(places[DA] + gates_at, dr, n)
            write(da + r * da_row + unit * 4, dr, n)
            write(dh_next + to, read(dh_next + to, n) + d * reset, n)


@jit
def backward_floats(rows, H):
    """The size of the scratch array of `backward_rows`."""
    return LINE + padded_rows(rows) * (3 * row_bytes(H) + row_bytes(3 * H)) // 4


@jit
def backward_rows(scratch, weights, places, after, lengths, shape, b0, rows):
    """All steps, from the last, for the batch rows from b0."""
    _, T, H = shape
    row, da_row, size = row_bytes(H), row_bytes(3 * H), padded_rows(rows)
    dh = aligned(scratch)
    dh_next, drh, da = dh + size * row, dh + 2 * size * row, dh + 3 * size * row
    take_state(places[DH], b0, rows, H, dh, row)
    for t in range(T - 1, -1, -1):
        update_gradient_rows(places, lengths, shape, t, b0, rows, dh, row, dh_next, da, da_row, after)
        if not after:
            multiply_backward(da + 2 * H * 4, da_row, rows, weights, 3, 2, 1, H, drh, row, REPLACE)
            reset_gradient_rows(places, lengths, shape, t, b0, rows, drh, row, dh_next, da, da_row)
        multiply_backward(da, da_row, rows, weights, 3, 0, 3 if after else 2, H, dh_next, row, ADD)
        keep_ended(dh, dh_next, row, lengths, t, b0, rows)
        dh, dh_next = dh_next, dh
    give_state(dh, row, rows, H, places[DH], b0)
