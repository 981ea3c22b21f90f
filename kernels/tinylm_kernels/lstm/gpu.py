"""The LSTM on the card: products of all steps by cuBLAS, the recurrence in one launch."""

from ..arrays import array_module
from ..cuda import NUMBERS, Program, contiguous, integers, whole_warps
from ..cuda.program import MOST_THREADS
from ..recurrence import states_before
from .reference import lstm, lstm_backward, peephole_gradient

PROGRAM = Program(__file__, "lstm.cu")


def _fits(x, w_input, w_hidden, *_):
    """Whether a block has a thread for each gate of each unit."""
    return w_hidden.shape[0] <= MOST_THREADS


def _fits_backward(dy, dh, dc, x, w_input, w_hidden, *_):
    return w_hidden.shape[0] <= MOST_THREADS


def _optional(lengths, peepholes):
    return None if lengths is None else integers(lengths), None if peepholes is None else contiguous(peepholes)


@lstm.implement("cuda", device="gpu", dtypes=NUMBERS, when=_fits)
def lstm_cuda(x, w_input, w_hidden, bias, h0, c0, lengths=None, peepholes=None):
    xp, (B, T, _), H = array_module(x), x.shape, w_hidden.shape[1]
    gates = xp.matmul(x, w_input.T)
    gates += bias
    y, cells = (xp.empty((B, T, H), x.dtype) for _ in range(2))
    h, c = (xp.empty((B, H), x.dtype) for _ in range(2))
    arrays = (*map(contiguous, (gates, w_hidden.T, h0, c0)), *_optional(lengths, peepholes), y, cells, h, c)
    PROGRAM.launch("lstm", B, whole_warps(4 * H), *arrays, T, H, shared=4 * 6 * H)
    return y, h, c, arrays[0], cells


@lstm_backward.implement("cuda", device="gpu", dtypes=NUMBERS, when=_fits_backward)
def lstm_backward_cuda(dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None, peepholes=None):
    xp, (B, T, H) = array_module(x), y.shape
    da = xp.empty((B, T, 4 * H), x.dtype)
    dh0, dc0 = (xp.empty((B, H), x.dtype) for _ in range(2))
    arrays = map(contiguous, (dy, dh, dc, gates, cells, c0, w_hidden))
    optional = _optional(lengths, peepholes)
    PROGRAM.launch("lstm_backward", B, whole_warps(4 * H), *arrays, *optional, da, dh0, dc0, T, H, shared=4 * 8 * H)
    flat = da.reshape(B * T, 4 * H)
    dx = xp.matmul(flat, w_input).reshape(x.shape)
    dw_input = xp.matmul(flat.T, x.reshape(B * T, x.shape[2]))
    dw_hidden = xp.matmul(flat.T, states_before(h0, y))
    return dx, dw_input, dw_hidden, flat.sum(axis=0), dh0, dc0, *peephole_gradient(da, c0, cells, peepholes)
