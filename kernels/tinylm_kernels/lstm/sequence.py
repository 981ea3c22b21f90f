"""The recurrence of the LSTM over all steps, forward and backward, for some rows of the batch."""

import numpy as np

from ..jit import jit
from ..products import REPLACE, aligned
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
from ..vectors import LANES, LINE, load, read, sigmoid, splat, store, tanh, write

# The table of addresses: of both directions, of the forward, of the backward, where the gradients by the last state
# lie in place of that state. The address of no peepholes is 0.
W_HIDDEN, GATES, CELLS, H_STATE, C_STATE, PEEPHOLES = range(6)
Y, BIAS = 6, 7
DY, C0, DA = range(6, 9)


@jit
def update(places, shape, b, t, unit, live, sums, step, h_before):
    """One step of 16 units: activates their gates, writes c and y; returns h.

    The recurrent sums of the four gates lie `step` bytes apart.
    """
    _, T, H = shape
    n, row, peepholes = H - unit, b * T + t, places[PEEPHOLES] + unit * 4
    at, bias = places[GATES] + (row * 4 * H + unit) * 4, places[BIAS] + unit * 4
    state, place = places[C_STATE] + (b * H + unit) * 4, (row * H + unit) * 4
    c, y = read(state, n), splat(np.float32(0))
    i = read(sums, n) + read(at, n) + read(bias, n)
    f = read(sums + step, n) + read(at + H * 4, n) + read(bias + H * 4, n)
    g = tanh(read(sums + 2 * step, n) + read(at + 2 * H * 4, n) + read(bias + 2 * H * 4, n))
    o = read(sums + 3 * step, n) + read(at + 3 * H * 4, n) + read(bias + 3 * H * 4, n)
    if places[PEEPHOLES]:
        i = i + read(peepholes, n) * c
        f = f + read(peepholes + H * 4, n) * c
    i, f = sigmoid(i), sigmoid(f)
    new_c = f * c + i * g
    if places[PEEPHOLES]:
        o = o + read(peepholes + 2 * H * 4, n) * new_c
    o = sigmoid(o)
    write_gates(at, i, f, g, o, H, n)
    if live:
        c = new_c
        h_before = y = o * tanh(c)
    write(state, c, n)
    write(places[CELLS] + place, c, n)
    write(places[Y] + place, y, n)
    return h_before


@jit
def forward_floats(rows, H):
    """The size of the scratch array of `forward_rows`."""
    return LINE + padded_rows(rows) * (2 * row_bytes(H) + row_bytes(4 * padded(H))) // 4


@jit
def forward_rows(scratch, weights, places, lengths, shape, b0, rows):
    """All steps for the batch rows from b0. gates holds the input projection and receives the gates."""
    _, T, H = shape
    row, sums_row, step = row_bytes(H), row_bytes(4 * padded(H)), padded(H) * 4
    h = aligned(scratch)
    h_next = h + padded_rows(rows) * row
    sums = h_next + padded_rows(rows) * row
    take_state(places[H_STATE], b0, rows, H, h, row)
    for t in range(T):
        for gate in range(4):
            multiply_forward(h, row, rows, weights, gate, H, sums + gate * step, sums_row)
        for r in range(rows):
            live = t < lengths[b0 + r]
            for unit in range(0, H, LANES):
                to, sums_at = r * row + unit * 4, sums + r * sums_row + unit * 4
                h_before = load(h + to)
                store(h_next + to, update(places, shape, b0 + r, t, unit, live, sums_at, step, h_before))
        h, h_next = h_next, h
    give_state(h, row, rows, H, places[H_STATE], b0)


@jit
def backward_floats(rows, H):
    """The size of the scratch array of `backward_rows`."""
    return LINE + padded_rows(rows) * (2 * row_bytes(H) + row_bytes(4 * H)) // 4


@jit
def gradient(places, shape, b, t, unit, dh):
    """One step of 16 units: writes the gradients by their gates before activation, which it returns, and by the old c.

    dh: what the steps after this one add to the gradient by the output.
    """
    _, T, H = shape
    n, row, peepholes = H - unit, b * T + t, places[PEEPHOLES] + unit * 4
    place, state = (row * H + unit) * 4, (b * H + unit) * 4
    gates, da, dc_at = (row * 4 * H + unit) * 4, places[DA] + (row * 4 * H + unit) * 4, places[C_STATE] + state
    gates += places[GATES]
    one = splat(np.float32(1))
    i, f = read(gates, n), read(gates + H * 4, n)
    g, o = read(gates + 2 * H * 4, n), read(gates + 3 * H * 4, n)
    before = read(places[CELLS] + place - H * 4 if t else places[C0] + state, n)
    tanh_c = tanh(read(places[CELLS] + place, n))
    dh = dh + read(places[DY] + place, n)
    do = dh * tanh_c * o * (one - o)
    dc = read(dc_at, n) + dh * o * (one - tanh_c * tanh_c)
    if places[PEEPHOLES]:
        dc = dc + do * read(peepholes + 2 * H * 4, n)
    di = dc * g * i * (one - i)
    df = dc * before * f * (one - f)
    dg = dc * i * (one - g * g)
    dc = dc * f
    if places[PEEPHOLES]:
        dc = dc + di * read(peepholes, n) + df * read(peepholes + H * 4, n)
    write(dc_at, dc, n)
    write_gates(da, di, df, dg, do, H, n)
    return di, df, dg, do


@jit
def write_gates(to, i, f, g, o, H, n):
    """The first n of 16 units of all four gates."""
    write(to, i, n)
    write(to + H * 4, f, n)
    write(to + 2 * H * 4, g, n)
    write(to + 3 * H * 4, o, n)


@jit
def _gradient_step(da, da_row, dh, dh_row, places, lengths, shape, t, b0, rows):
    """The gradients by the gates at one step, to their place and to rows of scratch at da."""
    _, T, H = shape
    for r in range(rows):
        b, copy = b0 + r, da + r * da_row
        if t >= lengths[b]:
            write_zeros(places[DA] + (b * T + t) * 4 * H * 4, 4 * H)
            write_zeros(copy, 4 * H)
            continue
        for unit in range(0, H, LANES):
            n = H - unit
            di, df, dg, do = gradient(places, shape, b, t, unit, read(dh + r * dh_row + unit * 4, n))
            write_gates(copy + unit * 4, di, df, dg, do, H, n)


@jit
def backward_rows(scratch, weights, places, lengths, shape, b0, rows):
    """All steps, from the last, for the batch rows from b0."""
    _, T, H = shape
    row, da_row = row_bytes(H), row_bytes(4 * H)
    dh = aligned(scratch)
    dh_next = dh + padded_rows(rows) * row
    da = dh_next + padded_rows(rows) * row
    take_state(places[H_STATE], b0, rows, H, dh, row)
    for t in range(T - 1, -1, -1):
        _gradient_step(da, da_row, dh, row, places, lengths, shape, t, b0, rows)
        multiply_backward(da, da_row, rows, weights, 4, 0, 4, H, dh_next, row, REPLACE)
        keep_ended(dh, dh_next, row, lengths, t, b0, rows)
        dh, dh_next = dh_next, dh
    give_state(dh, row, rows, H, places[H_STATE], b0)
