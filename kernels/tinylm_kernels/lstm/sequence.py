"""The recurrence of the LSTM over all steps, forward and backward, for some rows of the batch.

The recurrent matrix is packed once per call into the order in which the register tiles read it, forward so
that the four gates of 16 hidden units stand side by side: their sums are activated while they are in the
cache.
Source: Appleyard et al. 2016, arXiv:1604.01946 (the split of input and recurrent products).
"""

import numpy as np

from ..jit import jit
from ..products import ALL, FLOAT, PANEL, REPLACE, ROWS, aligned, pack, pack_transposed, product
from ..vectors import LANES, LINE, load, read, sigmoid, splat, store, tanh, write

BLOCK = np.int64(4 * LINE)  # bytes of the four gates of 16 units
# The table of addresses. The last three are of the backward: C0 is where the forward has the bias, and the
# gradients by the last state lie where the forward has that state.
W_HIDDEN, GATES, CELLS, Y, BIAS, H_STATE, C_STATE, DA = range(8)
DY, C0 = Y, BIAS


@jit
def _row(n):
    """Bytes of a row of n floats in scratch: whole cache lines, and one so that rows share no cache set."""
    return (n + LANES - 1) // LANES * LINE + LINE


@jit
def _padded_rows(rows):
    return (rows + ROWS - 1) // ROWS * ROWS


@jit
def panels(H):
    """The number of 16 unit blocks of the packed recurrent matrix."""
    return (H + LANES - 1) // LANES


@jit
def pack_floats(H):
    """The size of the packed recurrent matrix, for either direction."""
    return LINE + panels(H) * LANES * 4 * panels(H) * LANES


@jit
def forward_floats(rows, H):
    """The size of the scratch array of `forward_rows`."""
    return LINE + _padded_rows(rows) * (2 * _row(H) + _row(panels(H) * 4 * LANES)) // 4


@jit
def pack_block(weights, places, H, block):
    """Pack the recurrent weights of 16 units: for each input unit those of i, f, g and o, 64 floats."""
    target = aligned(weights) + block * panels(H) * LANES * BLOCK
    unit = block * LANES
    for gate in range(4):
        source = places[W_HIDDEN] + (gate * H + unit) * H * 4
        pack_transposed(source, H * 4, min(LANES, H - unit), H, target + gate * LINE, BLOCK, np.float32(1))


@jit
def _update(places, shape, b, t, unit, live, sums, step, h_before):
    """One step of 16 units: activates their gates, writes c and y; returns h.

    The recurrent sums of the four gates lie `step` bytes apart.
    """
    _, T, H = shape
    n, row = H - unit, b * T + t
    at, bias = places[GATES] + (row * 4 * H + unit) * 4, places[BIAS] + unit * 4
    i = sigmoid(read(sums, n) + read(at, n) + read(bias, n))
    f = sigmoid(read(sums + step, n) + read(at + H * 4, n) + read(bias + H * 4, n))
    g = tanh(read(sums + 2 * step, n) + read(at + 2 * H * 4, n) + read(bias + 2 * H * 4, n))
    o = sigmoid(read(sums + 3 * step, n) + read(at + 3 * H * 4, n) + read(bias + 3 * H * 4, n))
    write(at, i, n)
    write(at + H * 4, f, n)
    write(at + 2 * H * 4, g, n)
    write(at + 3 * H * 4, o, n)
    state, place = places[C_STATE] + (b * H + unit) * 4, (row * H + unit) * 4
    c, y = read(state, n), splat(np.float32(0))
    if live:
        c = f * c + i * g
        h_before = y = o * tanh(c)
    write(state, c, n)
    write(places[CELLS] + place, c, n)
    write(places[Y] + place, y, n)
    return h_before


@jit
def forward_rows(scratch, weights, places, lengths, shape, b0, rows):
    """All steps for the batch rows from b0. gates holds the input projection and receives the gates."""
    _, T, H = shape
    row, packed = _row(H), aligned(weights)
    h = aligned(scratch)
    h_next = h + _padded_rows(rows) * row
    sums = h_next + _padded_rows(rows) * row
    pack(places[H_STATE] + b0 * H * 4, H * 4, rows, H, h, row)
    sums_row = _row(panels(H) * 4 * LANES)
    for t in range(T):
        for block in range(panels(H)):
            at, to = packed + block * panels(H) * LANES * BLOCK, sums + block * BLOCK
            product(h, row, FLOAT, rows, at, BLOCK, BLOCK // 4, H, to, sums_row, REPLACE, ALL, ALL, ALL)
        # Not block by block: the gates of a row lie together, those of the next row far away.
        for r in range(rows):
            live = t < lengths[b0 + r]
            for unit in range(0, H, LANES):
                to, sums_at = r * row + unit * 4, sums + r * sums_row + unit * (BLOCK // LANES)
                h_before = load(h + to)
                store(h_next + to, _update(places, shape, b0 + r, t, unit, live, sums_at, LINE, h_before))
        h, h_next = h_next, h
    for r in range(rows):
        for unit in range(0, H, LANES):
            write(places[H_STATE] + ((b0 + r) * H + unit) * 4, load(h + r * row + unit * 4), H - unit)


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
    return LINE + _padded_rows(rows) * (2 * _row(H) + _row(4 * H)) // 4


@jit
def _panel_columns(H, unit):
    """The width of the panel from a unit on: PANEL, or what is left in whole vectors."""
    return (min(PANEL, H - unit) + LANES - 1) // LANES * LANES


@jit
def pack_panel(weights, places, H, panel):
    """Pack a panel of columns of the recurrent weights, all 4H rows; panels may be fewer than blocks."""
    unit = panel * PANEL
    if unit < H:
        target, columns = aligned(weights) + unit * 4 * H * 4, _panel_columns(H, unit)
        pack(places[W_HIDDEN] + unit * 4, H * 4, 4 * H, min(PANEL, H - unit), target, columns * 4)


@jit
def _gradient(places, place, gates, before, H, n, dh, dc, da, da_row):
    """The gradients by 16 units' gates before activation, to da and da_row; returns that by the old c."""
    one = splat(np.float32(1))
    i, f = read(gates, n), read(gates + H * 4, n)
    g, o = read(gates + 2 * H * 4, n), read(gates + 3 * H * 4, n)
    tanh_c = tanh(read(places[CELLS] + place, n))
    dh = dh + read(places[DY] + place, n)
    dc = dc + dh * o * (one - tanh_c * tanh_c)
    di = dc * g * i * (one - i)
    df = dc * before * f * (one - f)
    dg = dc * i * (one - g * g)
    do = dh * tanh_c * o * (one - o)
    for at in (da, da_row):
        write(at, di, n)
        write(at + H * 4, df, n)
        write(at + 2 * H * 4, dg, n)
        write(at + 3 * H * 4, do, n)
    return dc * f


@jit
def _no_gradient(da, da_row, H):
    for n in range(0, 4 * H, LANES):
        write(da + n * 4, splat(np.float32(0)), 4 * H - n)
        write(da_row + n * 4, splat(np.float32(0)), 4 * H - n)


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
            places, place, places[GATES] + gates_at, before, H, n, read(dh + unit * 4, n), read(dc_at, n),
            places[DA] + gates_at, da_row + unit * 4,
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
            _no_gradient(places[DA] + (b * T + t) * 4 * H * 4, da + r * row, H)


@jit
def backward_step(da, places, lengths, shape, t):
    """One step: the gradients by all gates, to their place and to da (B, 4H)."""
    B, _, H = shape
    _gradient_step(da, 4 * H * 4, places[H_STATE], H * 4, places, lengths, shape, t, 0, B)


@jit
def _copy_row(source, target, row):
    for n in range(0, row, LINE):
        store(target + n, load(source + n))


@jit
def backward_rows(scratch, weights, places, lengths, shape, b0, rows):
    """All steps, from the last, for the batch rows from b0."""
    _, T, H = shape
    row, da_row, packed = _row(H), _row(4 * H), aligned(weights)
    dh = aligned(scratch)
    dh_next = dh + _padded_rows(rows) * row
    da = dh_next + _padded_rows(rows) * row
    pack(places[H_STATE] + b0 * H * 4, H * 4, rows, H, dh, row)
    for t in range(T - 1, -1, -1):
        _gradient_step(da, da_row, dh, row, places, lengths, shape, t, b0, rows)
        for unit in range(0, H, PANEL):
            at, to, columns = packed + unit * 4 * H * 4, dh_next + unit * 4, _panel_columns(H, unit)
            product(da, da_row, FLOAT, rows, at, columns * 4, columns, 4 * H, to, row, REPLACE, ALL, ALL, ALL)
        for r in range(rows):
            if t >= lengths[b0 + r]:
                _copy_row(dh + r * row, dh_next + r * row, row)
        dh, dh_next = dh_next, dh
    for r in range(rows):
        for unit in range(0, H, LANES):
            write(places[H_STATE] + ((b0 + r) * H + unit) * 4, load(dh + r * row + unit * 4), H - unit)
