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
def _update(places, shape, b, t, unit, live, sums, step, h_before):
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
    write(at, i, n)
    write(at + H * 4, f, n)
    write(at + 2 * H * 4, g, n)
    write(at + 3 * H * 4, o, n)
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
                store(h_next + to, _update(places, shape, b0 + r, t, unit, live, sums_at, step, h_before))
        h, h_next = h_next, h
    give_state(h, row, rows, H, places[H_STATE], b0)


@jit
def forward_step(sums, places, lengths, shape, t):
    """One step, from the recurrent sums of all gates (B, 4H)."""
    B, _, H = shape
    for b in range(B):
        for unit in range(0, H, LANES):
            at, n = places[H_STATE] + (b * H + unit) * 4, H - unit
            sums_at = sums + (b * 4 * H + unit) * 4
            write(at, _update(places, shape, b, t, unit, t < lengths[b], sums_at, H * 4, read(at, n)), n)


@jit
def backward_floats(rows, H):
    """The size of the scratch array of `backward_rows`."""
    return LINE + padded_rows(rows) * (2 * row_bytes(H) + row_bytes(4 * H)) // 4


@jit
def _gradient(places, place, gates, before, peepholes, H, n, dh, dc, da, da_row):
    """The gradients by 16 units' gates before activation, to da and da_row; returns that by the old c."""
    one = splat(np.float32(1))
    i, f = read(gates, n), read(gates + H * 4, n)
    g, o = read(gates + 2 * H * 4, n), read(gates + 3 * H * 4, n)
    tanh_c = tanh(read(places[CELLS] + place, n))
    dh = dh + read(places[DY] + place, n)
    do = dh * tanh_c * o * (one - o)
    dc = dc + dh * o * (one - tanh_c * tanh_c)
    if places[PEEPHOLES]:
        dc = dc + do * read(peepholes + 2 * H * 4, n)
    di = dc * g * i * (one - i)
    df = dc * before * f * (one - f)
    dg = dc * i * (one - g * g)
    for at in (da, da_row):
        write(at, di, n)
        write(at + H * 4, df, n)
        write(at + 2 * H * 4, dg, n)
        write(at + 3 * H * 4, do, n)
    dc = dc * f
    if places[PEEPHOLES]:
        dc = dc + di * read(peepholes, n) + df * read(peepholes + H * 4, n)
    return dc


@jit
def _gradient_row(places, shape, b, t, dh, da_row):
    """One step for one row of the batch: the gradients by its gates, and its dc for the step before."""
    _, T, H = shape
    for unit in range(0, H, LANES):
        n, place = H - unit, ((b * T + t) * H + unit) * 4
        before = read(places[CELLS] + place - H * 4 if t else places[C0] + (b * H + unit) * 4, n)
        gates_at = ((b * T + t) * 4 * H + unit) * 4
        dc_at = places[C_STATE] + (b * H + unit) * 4
        dc = _gradient(
            places, place, places[GATES] + gates_at, before, places[PEEPHOLES] + unit * 4, H, n,
            read(dh + unit * 4, n), read(dc_at, n), places[DA] + gates_at, da_row + unit * 4,
        )  # fmt: skip
        write(dc_at, dc, n)


@jit
def _gradient_step(da, row, dh, dh_row, places, lengths, shape, t, b0, rows):
    """The gradients by the gates at one step, to their place and to rows of scratch at da."""
    _, T, H = shape
    for r in range(rows):
        b = b0 + r
        if t < lengths[b]:
            _gradient_row(places, shape, b, t, dh + r * dh_row, da + r * row)
        else:
            write_zeros(places[DA] + (b * T + t) * 4 * H * 4, 4 * H)
            write_zeros(da + r * row, 4 * H)


@jit
def backward_step(da, places, lengths, shape, t):
    """One step: the gradients by all gates, to their place and to da (B, 4H)."""
    B, _, H = shape
    _gradient_step(da, 4 * H * 4, places[H_STATE], H * 4, places, lengths, shape, t, 0, B)


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
