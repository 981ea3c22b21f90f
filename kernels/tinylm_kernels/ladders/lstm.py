"""The ladder of the LSTM over whole sequences. Rows of different length and peepholes the reference does.

Rungs fill y (B, T, H), gates (B, T, 4H) and cells (B, T, H) from x (B, T, I) and the weights; h and c (B, H) hold the
first state, and the last one at the end. All arrays are contiguous.
"""

import math

import numpy as np
from numba import prange

from .. import simd
from ..jit import LAUNCH, STRICT, as_carray, jit
from ..lstm import lstm
from ..pool import empty
from ..products import ADD, ALL, FLOAT, REPLACE, ROWS, aligned, pack, pack_transposed, product
from ..recurrence_cpu import padded, padded_rows, row_bytes
from ..vectors import LANES, LINE, read, sigmoid, store, tanh, write
from . import rungs_of

SHARE = 4 * ROWS  # rows of the batch in a task of the threads
ONE = np.float32(1)


def _run(loops, x, w_input, w_hidden, bias, h0, c0, lengths=None, peepholes=None):
    if lengths is not None or peepholes is not None:
        return lstm.reference(x, w_input, w_hidden, bias, h0, c0, lengths, peepholes)
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    y, gates, cells = empty((B, T, H)), empty((B, T, 4 * H)), empty((B, T, H))
    h, c = np.array(h0, order="C"), np.array(c0, order="C")
    with LAUNCH:
        loops(*map(as_carray, (x, w_input, w_hidden, bias)), h, c, y, gates, cells)
    return y, h, c, gates, cells


rung = rungs_of(lstm, _run)


@rung
@jit(fastmath=STRICT)
def v0_loops(x, w_input, w_hidden, bias, h, c, y, gates, cells):
    """The formula for each number: sums in order, exp and tanh of the C library."""
    B, T, inputs = x.shape
    H = h.shape[1]
    for b in range(B):
        for t in range(T):
            a = gates[b, t]
            for n in range(4 * H):
                total = np.float64(bias[n])
                for k in range(inputs):
                    total += x[b, t, k] * w_input[n, k]
                for k in range(H):
                    total += h[b, k] * w_hidden[n, k]
                a[n] = math.tanh(total) if n // H == 2 else 1 / (1 + math.exp(-total))
            for n in range(H):
                c[b, n] = a[H + n] * c[b, n] + a[n] * a[2 * H + n]
                h[b, n] = a[3 * H + n] * math.tanh(c[b, n])
            y[b, t], cells[b, t] = h[b], c[b]


@jit
def dot(a, b):
    total = np.float32(0)
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@rung
@jit
def v1_vectorised(x, w_input, w_hidden, bias, h, c, y, gates, cells):
    """The same loops as vector code: sums in any order, and activations made of a polynomial exp.

    Still a row of the batch at a time: all weights are read from the cache for each row and step, two loads to a
    multiply-add.
    """
    B, T, _ = x.shape
    H = h.shape[1]
    for b in range(B):
        state, cell = h[b], c[b]
        for t in range(T):
            a, result, row = gates[b, t], y[b, t], x[b, t]
            for n in range(4 * H):
                a[n] = bias[n] + dot(row, w_input[n]) + dot(state, w_hidden[n])
            for n in range(2 * H):
                a[n] = simd.sigmoid(a[n])
            for n in range(2 * H, 3 * H):
                a[n] = simd.tanh(a[n])
            for n in range(3 * H, 4 * H):
                a[n] = simd.sigmoid(a[n])
            for n in range(H):
                cell[n] = a[H + n] * cell[n] + a[n] * a[2 * H + n]
            for n in range(H):
                result[n] = a[3 * H + n] * simd.tanh(cell[n])
            state[:], cells[b, t] = result, cell


@jit
def address(a):
    return np.int64(a.ctypes.data)


@jit
def packed_floats(inputs, H):
    """The size of the packed weights: a row of all gates for each input and unit."""
    return LINE + (padded(inputs) + padded(H)) * row_bytes(4 * padded(H)) // 4


@jit
def places(packed, inputs, H):
    """The addresses of both weights in `packed`, which the caller keeps alive."""
    wi = aligned(packed)
    return wi, wi + padded(inputs) * row_bytes(4 * padded(H))


@jit
def pack_weights(packed, w_input, w_hidden):
    """Transpose the weights, so that 16 neighbouring sums read 16 neighbouring weights."""
    inputs, H = w_input.shape[1], w_hidden.shape[1]
    row = row_bytes(4 * padded(H))
    wi, wh = places(packed, inputs, H)
    for gate in range(4):
        to = gate * padded(H) * 4
        pack_transposed(address(w_input) + gate * H * inputs * 4, inputs * 4, H, inputs, wi + to, row, ONE)
        pack_transposed(address(w_hidden) + gate * H * H * 4, H * 4, H, H, wh + to, row, ONE)


@jit
def update(sums, step, bias, H, n, gates, cell, cell_out, y):
    """16 units of one row: activations, the new cell and the new output, which it returns. step: from gate to gate."""
    i = sigmoid(read(sums, n) + read(bias, n))
    f = sigmoid(read(sums + step, n) + read(bias + H * 4, n))
    g = tanh(read(sums + 2 * step, n) + read(bias + 2 * H * 4, n))
    o = sigmoid(read(sums + 3 * step, n) + read(bias + 3 * H * 4, n))
    write(gates, i, n)
    write(gates + H * 4, f, n)
    write(gates + 2 * H * 4, g, n)
    write(gates + 3 * H * 4, o, n)
    c = f * read(cell, n) + i * g
    write(cell, c, n)
    write(cell_out, c, n)
    h = o * tanh(c)
    write(y, h, n)
    return h


@jit
def state_floats(rows, H):
    """The size of the scratch array of `sequence`: the state and the sums of all gates."""
    return LINE + padded_rows(rows) * (row_bytes(H) + row_bytes(4 * padded(H))) // 4


@jit
def sequence(packed, scratch, x, bias, h, c, y, gates, cells, b0, rows):
    """All steps for some rows of the batch, whose state stays in the cache."""
    _, T, inputs = x.shape
    H = h.shape[1]
    row, wide, step = row_bytes(H), row_bytes(4 * padded(H)), padded(H) * 4
    wi, wh = places(packed, inputs, H)
    state = aligned(scratch)
    sums = state + padded_rows(rows) * row
    pack(address(h) + b0 * H * 4, H * 4, rows, H, state, row)
    for t in range(T):
        x_at = address(x) + (b0 * T + t) * inputs * 4
        product(x_at, T * inputs * 4, FLOAT, rows, wi, wide, step, inputs, sums, wide, REPLACE, ALL, ALL, ALL)
        product(state, row, FLOAT, rows, wh, wide, step, H, sums, wide, ADD, ALL, ALL, ALL)
        for r in range(rows):
            for unit in range(0, H, LANES):
                place, cell = ((b0 + r) * T + t) * H + unit, address(c) + ((b0 + r) * H + unit) * 4
                new = update(
                    sums + r * wide + unit * 4, step, address(bias) + unit * 4, H, H - unit,
                    address(gates) + (place + ((b0 + r) * T + t) * 3 * H) * 4, cell,
                    address(cells) + place * 4, address(y) + place * 4,
                )  # fmt: skip
                store(state + r * row + unit * 4, new)
    if T:
        h[b0 : b0 + rows] = y[b0 : b0 + rows, T - 1]


@rung
@jit
def v2_fused(x, w_input, w_hidden, bias, h, c, y, gates, cells):
    """All rows at once: a step is two products of matrices by register tiles, its gates follow while they are cached.

    The weights are transposed once, and read once for four rows.
    """
    packed = np.empty(packed_floats(x.shape[2], h.shape[1]), np.float32)
    pack_weights(packed, w_input, w_hidden)
    scratch = np.empty(state_floats(len(x), h.shape[1]), np.float32)
    sequence(packed, scratch, x, bias, h, c, y, gates, cells, 0, len(x))


@rung
@jit(parallel=True)
def v3_parallel(x, w_input, w_hidden, bias, h, c, y, gates, cells):
    """Rows of the batch never meet: each thread takes some through all steps, and nobody waits after each step."""
    packed = np.empty(packed_floats(x.shape[2], h.shape[1]), np.float32)
    pack_weights(packed, w_input, w_hidden)
    for share in prange((len(x) + SHARE - 1) // SHARE):
        rows = min(SHARE, len(x) - share * SHARE)
        scratch = np.empty(state_floats(rows, h.shape[1]), np.float32)
        sequence(packed, scratch, x, bias, h, c, y, gates, cells, share * SHARE, rows)
