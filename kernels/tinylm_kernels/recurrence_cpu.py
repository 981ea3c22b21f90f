"""What the LSTM and the GRU share on the CPU: the recurrent product of each step, and how a sequence is launched.

What does not wait for the step before it (the projection of all inputs, the gradients of the weights) is a few large
products. The recurrence runs within one kernel for a share of the batch in each thread: rows do not depend on each
other, so that threads never meet between steps. The recurrent matrix is packed once per call into panels, in the
order in which the register tiles read it. With few rows or few steps that does not pay: the GRU calls a product at
each step there, and the threads of the LSTM share its units (`lstm/units.py`).
Source: Appleyard et al. 2016, arXiv:1604.01946 (the split of input and recurrent products).
"""

import numba
import numpy as np

from .blas import matmul
from .jit import jit
from .products import ALL, FLOAT, PANEL, REPLACE, ROWS, aligned, pack, pack_transposed, product
from .vectors import LANES, LINE, load, splat, store, write

# Twins counts elements touched; about so many multiply-adds take the time of one.
MULTIPLY_ADDS = 8
# A single row wastes most of the register tiles; it gains from them while the calls of each step cost more.
WIDE = 128


# --- the launch ----------------------------------------------------------------------


def places(*arrays):
    """The addresses of contiguous arrays; 0 for None."""
    return np.array([0 if a is None else a.ctypes.data for a in arrays], np.int64)


def steps_of(lengths, B, T):
    """The number of steps of each row, as the kernels take it."""
    return np.full(B, T, np.int64) if lengths is None else lengths.astype(np.int64)


def launch(twins, gates, lengths, shape, *arguments):
    """Run a kernel over whole sequences of shape (B, T, H), in as many threads as there are."""
    B, T, H = shape
    if not (B and T and H):
        return
    work = gates * B * T * H * H // MULTIPLY_ADDS
    twins(work, *arguments, steps_of(lengths, B, T), shape, numba.get_num_threads())


@jit
def share_of(B, threads):
    """Batch rows for each thread, in whole register tiles; rows do not depend on each other, nor on the share."""
    return (B + threads * ROWS - 1) // (threads * ROWS) * ROWS


def is_short(B, T, H):
    """Whether the recurrent matrix is used too few times to pack it."""
    return T == 1 or (B == 1 and H >= WIDE)


def project(x, w_input):
    """x W^T for all steps, as one product of matrices."""
    B, T, inputs = x.shape
    return matmul(x.reshape(B * T, inputs), w_input.T).reshape(B, T, len(w_input))


def weight_gradient(da, x, out=None):
    """The sum over rows n of da[n] x[n]^T."""
    # A sum of one term is no product of matrices: four times as fast.
    return np.multiply(da.T, x, out=out) if len(x) == 1 else matmul(da.T, x, out)


# --- the recurrent product, within kernels -------------------------------------------


@jit
def row_bytes(n):
    """Bytes of a row of n floats in scratch: whole cache lines, and one so that rows share no cache set."""
    return (n + LANES - 1) // LANES * LINE + LINE


@jit
def padded_rows(rows):
    """Rows in whole register tiles."""
    return (rows + ROWS - 1) // ROWS * ROWS


@jit
def padded(H):
    """H in whole vectors."""
    return (H + LANES - 1) // LANES * LANES


@jit
def panels(H):
    """The number of panels that H columns take."""
    return (H + PANEL - 1) // PANEL


@jit
def pack_floats(gates, H):
    """The size of the packed recurrent matrix, for either direction."""
    return LINE + gates * padded(H) * padded(H)


@jit
def _columns(H, unit):
    """The width of the panel from a unit on: PANEL, or what is left in whole vectors."""
    return min(PANEL, padded(H - unit))


@jit
def _forward_panel(weights, H, gate, unit):
    return aligned(weights) + (gate * padded(H) + unit) * padded(H) * 4


@jit
def pack_forward(weights, w_hidden, H, n):
    """Pack one of the gates x panels(H) panels of the transposed recurrent weights: H rows of some units of a gate."""
    gate, unit = n // panels(H), n % panels(H) * PANEL
    source, target = w_hidden + (gate * H + unit) * H * 4, _forward_panel(weights, H, gate, unit)
    pack_transposed(source, H * 4, min(PANEL, H - unit), H, target, _columns(H, unit) * 4, np.float32(1))


@jit
def multiply_forward(h, row, rows, weights, gate, H, sums, sums_row):
    """The recurrent sums of a gate: sums (rows x H) = h (rows x H) times its weights, transposed."""
    for unit in range(0, H, PANEL):
        at, columns = _forward_panel(weights, H, gate, unit), _columns(H, unit)
        product(h, row, FLOAT, rows, at, columns * 4, columns, H, sums + unit * 4, sums_row, REPLACE, ALL, ALL, ALL)


@jit
def pack_backward(weights, w_hidden, gates, H, n):
    """Pack one of the panels(H) panels of the recurrent weights: all rows of some columns."""
    unit = n * PANEL
    target, columns = aligned(weights) + unit * gates * H * 4, _columns(H, unit)
    pack(w_hidden + unit * 4, H * 4, gates * H, min(PANEL, H - unit), target, columns * 4)


@jit
def multiply_backward(da, da_row, rows, weights, gates, first, count, H, dh, row, add):
    """dh (rows x H) [+]= da (rows x count H) times the recurrent weights of `count` gates from `first` on."""
    for unit in range(0, H, PANEL):
        columns = _columns(H, unit)
        at = aligned(weights) + (unit * gates + first * columns) * H * 4
        product(da, da_row, FLOAT, rows, at, columns * 4, columns, count * H, dh + unit * 4, row, add, ALL, ALL, ALL)


@jit
def take_state(state, b0, rows, H, h, row):
    """Copy the state of the batch rows from b0 to rows of scratch."""
    pack(state + b0 * H * 4, H * 4, rows, H, h, row)


@jit
def give_state(h, row, rows, H, state, b0):
    """Copy rows of scratch back to where the state of the batch rows from b0 lies."""
    for r in range(rows):
        for unit in range(0, H, LANES):
            write(state + ((b0 + r) * H + unit) * 4, load(h + r * row + unit * 4), H - unit)


@jit
def keep_ended(dh, dh_next, row, lengths, t, b0, rows):
    """Where a batch row has ended before step t, its gradient passes the step as it is."""
    for r in range(rows):
        if t >= lengths[b0 + r]:
            for n in range(0, row, LINE):
                store(dh_next + r * row + n, load(dh + r * row + n))


@jit
def write_zeros(at, n):
    """n zeros."""
    for i in range(0, n, LANES):
        write(at + i * 4, splat(np.float32(0)), n - i)
