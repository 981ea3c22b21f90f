"""The long short-term memory layer over a whole sequence."""

from ..arrays import array_module, check_shape
from ..registry import Kernel


@Kernel
def lstm(x, w_input, w_hidden, bias, h0, c0, lengths=None):
    """One LSTM layer over T steps:

        i, f, g, o = x_t W_input^T + h W_hidden^T + bias      (sigmoid for i, f, o; tanh for g)
        c = f c + i g        h = o tanh(c)

    x: (B, T, I) float; w_input: (4H, I); w_hidden: (4H, H); bias: (4H,), gates in the order i, f, g, o; h0, c0:
    (B, H). lengths: (B,) integers or None: from step lengths[b] on, row b gives zeros and its state stays.
    Returns (y, h, c, gates, cells): y (B, T, H) all outputs, h and c (B, H) the last state, gates (B, T, 4H) after
    their activations and cells (B, T, H), which the backward needs.
    Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000 (forget gate); Graves 2013, arXiv:1308.0850.
    """
    xp = array_module(x)
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    gates = xp.matmul(x, w_input.T)
    gates += bias
    y, cells = xp.empty((B, T, H), x.dtype), xp.empty((B, T, H), x.dtype)
    h, c = h0, c0
    for t in range(T):
        a = gates[:, t]
        a += h @ w_hidden.T
        _activate(xp, a, H)
        i, f, g, o = (a[:, n * H : (n + 1) * H] for n in range(4))
        new_c = f * c + i * g
        new_h = o * xp.tanh(new_c)
        if lengths is None:
            h, c, y[:, t] = new_h, new_c, new_h
        else:
            live = (t < lengths)[:, None]
            h, c, y[:, t] = xp.where(live, new_h, h), xp.where(live, new_c, c), xp.where(live, new_h, 0)
        cells[:, t] = c
    return y, h.copy(), c.copy(), gates, cells


def _activate(xp, a, H):
    """Sigmoid on the gates i, f, o and tanh on g, in place; sigmoid(z) = (1 + tanh(z / 2)) / 2 cannot overflow."""
    for n in (0, 1, 3):
        gate = a[:, n * H : (n + 1) * H]
        gate *= 0.5
        xp.tanh(gate, out=gate)
        gate += 1
        gate *= 0.5
    g = a[:, 2 * H : 3 * H]
    xp.tanh(g, out=g)


@Kernel
def lstm_backward(dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None):
    """Returns (dx, dw_input, dw_hidden, dbias, dh0, dc0), by backpropagation through time.

    dy (B, T, H), dh and dc (B, H): the gradients by y and by the last state; the other arguments as given to and
    returned by `lstm`.
    """
    xp = array_module(x)
    T, H = x.shape[1], w_hidden.shape[1]
    da = xp.empty_like(gates)  # by the gates before their activations
    for t in range(T - 1, -1, -1):
        i, f, g, o = (gates[:, t, n * H : (n + 1) * H] for n in range(4))
        tanh_c = xp.tanh(cells[:, t])
        before = cells[:, t - 1] if t else c0
        live = None if lengths is None else (t < lengths)[:, None]
        dht = dh + dy[:, t]
        dct = dc + dht * o * (1 - tanh_c * tanh_c)
        d = da[:, t]
        d[:, :H] = dct * g * i * (1 - i)
        d[:, H : 2 * H] = dct * before * f * (1 - f)
        d[:, 2 * H : 3 * H] = dct * i * (1 - g * g)
        d[:, 3 * H :] = dht * tanh_c * o * (1 - o)
        if live is None:
            dh, dc = d @ w_hidden, dct * f
        else:
            d *= live
            dh, dc = xp.where(live, d @ w_hidden, dh), xp.where(live, dct * f, dc)
    flat = da.reshape(-1, 4 * H)
    # A row that has ended is not followed by a live one, so that its zeros in y never meet a gradient.
    hidden = xp.concatenate([h0[:, None], y[:, :-1]], axis=1) if T else y
    dx = xp.matmul(flat, w_input).reshape(x.shape)
    dw_input = xp.matmul(flat.T, x.reshape(-1, x.shape[-1]))
    dw_hidden = xp.matmul(flat.T, hidden.reshape(-1, H))
    return dx, dw_input, dw_hidden, flat.sum(axis=0), dh, dc


@lstm.check
def _(x, w_input, w_hidden, bias, h0, c0, lengths=None):
    _check_arguments("lstm", x, w_input, w_hidden, h0, c0, lengths)
    check_shape("lstm", "bias", bias, w_hidden.shape[:1])


@lstm_backward.check
def _(dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None):
    _check_arguments("lstm_backward", x, w_input, w_hidden, h0, c0, lengths)
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


def _check_arguments(operation, x, w_input, w_hidden, h0, c0, lengths):
    if x.ndim != 3:
        raise ValueError(f"{operation}: x has shape {x.shape}, expected (B, T, I)")
    if w_hidden.ndim != 2 or w_hidden.shape[1] == 0 or w_hidden.shape[0] != 4 * w_hidden.shape[1]:
        raise ValueError(f"{operation}: w_hidden has shape {w_hidden.shape}, expected (4H, H)")
    B, T, inputs = x.shape
    H = w_hidden.shape[1]
    check_shape(operation, "w_input", w_input, (4 * H, inputs))
    check_shape(operation, "h0", h0, (B, H))
    check_shape(operation, "c0", c0, (B, H))
    if lengths is None:
        return
    check_shape(operation, "lengths", lengths, (B,))
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{operation}: lengths has dtype {lengths.dtype}, expected integers")
    if lengths.size and (lengths.min() < 0 or lengths.max() > T):
        raise ValueError(f"{operation}: lengths must lie in 0..{T}, received {lengths.min()}..{lengths.max()}")
