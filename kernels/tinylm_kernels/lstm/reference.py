"""The long short-term memory layer over a whole sequence."""

from ..arrays import array_module, check_shape
from ..recurrence import check_sequence, sigmoid_in_place, states_before
from ..registry import Kernel


@Kernel
def lstm(x, w_input, w_hidden, bias, h0, c0, lengths=None, peepholes=None):
    """One LSTM layer over T steps:

        i, f, g, o = x_t W_input^T + h W_hidden^T + bias      (sigmoid for i, f, o; tanh for g)
        c = f c + i g        h = o tanh(c)

    x: (B, T, I) float; w_input: (4H, I); w_hidden: (4H, H); bias: (4H,), gates in the order i, f, g, o; h0, c0:
    (B, H). lengths: (B,) integers or None: from step lengths[b] on, row b gives zeros and its state stays.
    peepholes: (3H,) or None: i and f add their part of it times the old c before their activation, o times the new c.
    Returns (y, h, c, gates, cells): y (B, T, H) all outputs, h and c (B, H) the last state, gates (B, T, 4H) after
    their activations and cells (B, T, H), which the backward needs.
    Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000 (forget gate), 2002 (peepholes); Graves 2013,
    arXiv:1308.0850, eq. 7-11.
    """
    xp = array_module(x)
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    gates = xp.matmul(x, w_input.T)
    gates += bias
    y, cells = xp.empty((B, T, H), x.dtype), xp.empty((B, T, H), x.dtype)
    h, c = h0, c0
    for t in range(T):
        gates[:, t] += h @ w_hidden.T
        i, f, g, o = (gates[:, t, n * H : (n + 1) * H] for n in range(4))
        if peepholes is not None:
            i += peepholes[:H] * c
            f += peepholes[H : 2 * H] * c
        sigmoid_in_place(xp, gates[:, t, : 2 * H])
        xp.tanh(g, out=g)
        new_c = f * c + i * g
        if peepholes is not None:
            o += peepholes[2 * H :] * new_c
        sigmoid_in_place(xp, o)
        new_h = o * xp.tanh(new_c)
        if lengths is None:
            h, c, y[:, t] = new_h, new_c, new_h
        else:
            live = (t < lengths)[:, None]
            h, c, y[:, t] = xp.where(live, new_h, h), xp.where(live, new_c, c), xp.where(live, new_h, 0)
        cells[:, t] = c
    return y, h.copy(), c.copy(), gates, cells


@Kernel
def lstm_backward(dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None, peepholes=None):
    """Returns (dx, dw_input, dw_hidden, dbias, dh0, dc0), and dpeepholes where there are any, by backpropagation
    through time.

    dy (B, T, H), dh and dc (B, H): the gradients by y and by the last state; the other arguments as given to and
    returned by `lstm`.
    """
    xp = array_module(x)
    B, T, H = y.shape
    da = xp.empty_like(gates)  # by the gates before their activations
    for t in range(T - 1, -1, -1):
        i, f, g, o = (gates[:, t, n * H : (n + 1) * H] for n in range(4))
        di, df, dg, do = (da[:, t, n * H : (n + 1) * H] for n in range(4))
        tanh_c = xp.tanh(cells[:, t])
        before = cells[:, t - 1] if t else c0
        live = None if lengths is None else (t < lengths)[:, None]
        dht = dh + dy[:, t]
        do[...] = dht * tanh_c * o * (1 - o)
        dct = dc + dht * o * (1 - tanh_c * tanh_c)
        if peepholes is not None:
            dct += do * peepholes[2 * H :]
        di[...] = dct * g * i * (1 - i)
        df[...] = dct * before * f * (1 - f)
        dg[...] = dct * i * (1 - g * g)
        if live is not None:
            da[:, t] *= live
        new_dh, new_dc = da[:, t] @ w_hidden, dct * f
        if peepholes is not None:
            new_dc += di * peepholes[:H] + df * peepholes[H : 2 * H]
        if live is None:
            dh, dc = new_dh, new_dc
        else:
            dh, dc = xp.where(live, new_dh, dh), xp.where(live, new_dc, dc)
    flat = da.reshape(B * T, 4 * H)
    dx = xp.matmul(flat, w_input).reshape(x.shape)
    dw_input = xp.matmul(flat.T, x.reshape(B * T, x.shape[2]))
    dw_hidden = xp.matmul(flat.T, states_before(h0, y))
    gradients = dx, dw_input, dw_hidden, flat.sum(axis=0), dh, dc
    return *gradients, *peephole_gradient(da, c0, cells, peepholes)


def peephole_gradient(da, c0, cells, peepholes):
    """(dpeepholes,) from the gradients by the gates before their activations; () where there are none."""
    if peepholes is None:
        return ()
    xp = array_module(da)
    B, T, H = cells.shape
    di, df, _, do = (da.reshape(B * T, 4, H)[:, n] for n in range(4))
    before = states_before(c0, cells)
    sums = [(d * c).sum(axis=0) for d, c in ((di, before), (df, before), (do, cells.reshape(B * T, H)))]
    return (xp.concatenate(sums),)


@lstm.check
def _(x, w_input, w_hidden, bias, h0, c0, lengths=None, peepholes=None):
    check_sequence("lstm", 4, x, w_input, w_hidden, lengths, h0=h0, c0=c0)
    check_shape("lstm", "bias", bias, w_hidden.shape[:1])
    _check_peepholes("lstm", peepholes, w_hidden)


@lstm_backward.check
def _(dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None, peepholes=None):
    check_sequence("lstm_backward", 4, x, w_input, w_hidden, lengths, h0=h0, c0=c0)
    _check_peepholes("lstm_backward", peepholes, w_hidden)
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    for name, array, shape in (
        ("dy", dy, (B, T, H)),
        ("dh", dh, (B, H)),
        ("dc", dc, (B, H)),
        ("y", y, (B, T, H)),
        ("gates", gates, (B, T, 4 * H)),
        ("cells", cells, (B, T, H)),
    ):
        check_shape("lstm_backward", name, array, shape)


def _check_peepholes(operation, peepholes, w_hidden):
    if peepholes is not None:
        check_shape(operation, "peepholes", peepholes, (3 * w_hidden.shape[1],))
