"""The gated recurrent unit layer over a whole sequence."""

from ..arrays import array_module, check_shape
from ..recurrence import check_sequence, sigmoid_in_place, states_before
from ..registry import Kernel


@Kernel
def gru(x, w_input, w_hidden, b_input, b_hidden, h0, lengths=None, *, reset_after=True):
    """One GRU layer over T steps:

        r, z = sigmoid(x_t W^T + b + h R^T + d)
        n    = tanh(x_t W^T + b + r (h R^T + d))     with reset_after: PyTorch, cuDNN, Keras' default
        n    = tanh(x_t W^T + b + (r h) R^T + d)     without: the original, ONNX's default
        h    = (1 - z) n + z h

    where W, b, R, d are the rows of each gate in w_input, b_input, w_hidden, b_hidden.
    x: (B, T, I) float; w_input: (3H, I); w_hidden: (3H, H); b_input, b_hidden: (3H,), gates in the order r, z, n;
    h0: (B, H). lengths: (B,) integers or None: from step lengths[b] on, row b gives zeros and its state stays.
    Returns (y, h, gates, inner): y (B, T, H) all outputs, h (B, H) the last state, and for the backward gates
    (B, T, 3H) after their activations and inner (B, T, H): h R^T + d of n with reset_after, r h without.
    Source: Cho et al. 2014, arXiv:1406.1078; reset_after: Keras 2.1, after cuDNN.
    """
    xp = array_module(x)
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    gates = xp.matmul(x, w_input.T)
    gates += b_input
    y, inner = xp.empty((B, T, H), x.dtype), xp.empty((B, T, H), x.dtype)
    h = h0
    for t in range(T):
        r, z, n = (gates[:, t, k * H : (k + 1) * H] for k in range(3))
        gates[:, t, : 2 * H] += h @ w_hidden[: 2 * H].T + b_hidden[: 2 * H]
        sigmoid_in_place(xp, gates[:, t, : 2 * H])
        if reset_after:
            inner[:, t] = h @ w_hidden[2 * H :].T + b_hidden[2 * H :]
            n += r * inner[:, t]
        else:
            inner[:, t] = r * h
            n += inner[:, t] @ w_hidden[2 * H :].T + b_hidden[2 * H :]
        xp.tanh(n, out=n)
        new_h = n + z * (h - n)
        if lengths is None:
            h, y[:, t] = new_h, new_h
        else:
            live = (t < lengths)[:, None]
            h, y[:, t] = xp.where(live, new_h, h), xp.where(live, new_h, 0)
    return y, h.copy(), gates, inner


@Kernel
def gru_backward(dy, dh, x, w_input, w_hidden, h0, y, gates, inner, lengths=None, *, reset_after=True):
    """Returns (dx, dw_input, dw_hidden, db_input, db_hidden, dh0), by backpropagation through time.

    dy (B, T, H), dh (B, H): the gradients by y and by the last state; the other arguments as given to and returned
    by `gru`.
    """
    xp = array_module(x)
    B, T, H = y.shape
    da = xp.empty_like(gates)  # by the gates before their activations
    dinner = xp.empty_like(inner)  # by h R^T + d of n
    for t in range(T - 1, -1, -1):
        r, z, n = (gates[:, t, k * H : (k + 1) * H] for k in range(3))
        before = y[:, t - 1] if t else h0
        live = None if lengths is None else (t < lengths)[:, None]
        d = da[:, t]
        dht = dh + dy[:, t]
        dn = dht * (1 - z) * (1 - n * n)
        if reset_after:
            dr, dinner[:, t], through_n = dn * inner[:, t], dn * r, 0
        else:
            dreset = dn @ w_hidden[2 * H :]  # by r h
            dr, dinner[:, t], through_n = dreset * before, dn, dreset * r
        d[:, :H] = dr * r * (1 - r)
        d[:, H : 2 * H] = dht * (before - n) * z * (1 - z)
        d[:, 2 * H :] = dn
        if live is not None:
            d *= live
            dinner[:, t] *= live
        back = dht * z + through_n + d[:, : 2 * H] @ w_hidden[: 2 * H]
        if reset_after:
            back += dinner[:, t] @ w_hidden[2 * H :]
        dh = back if live is None else xp.where(live, back, dh)
    flat, flat_inner = da.reshape(B * T, 3 * H), dinner.reshape(B * T, H)
    hidden = states_before(h0, y)
    multiplied = hidden if reset_after else inner.reshape(B * T, H)
    dx = xp.matmul(flat, w_input).reshape(x.shape)
    dw_input = xp.matmul(flat.T, x.reshape(B * T, x.shape[2]))
    dw_hidden = xp.concatenate([flat[:, : 2 * H].T @ hidden, flat_inner.T @ multiplied])
    db_input = flat.sum(axis=0)
    db_hidden = xp.concatenate([db_input[: 2 * H], flat_inner.sum(axis=0)])
    return dx, dw_input, dw_hidden, db_input, db_hidden, dh


@gru.check
def _(x, w_input, w_hidden, b_input, b_hidden, h0, lengths=None, *, reset_after=True):
    check_sequence("gru", 3, x, w_input, w_hidden, lengths, h0=h0)
    check_shape("gru", "b_input", b_input, w_hidden.shape[:1])
    check_shape("gru", "b_hidden", b_hidden, w_hidden.shape[:1])


@gru_backward.check
def _(dy, dh, x, w_input, w_hidden, h0, y, gates, inner, lengths=None, *, reset_after=True):
    check_sequence("gru_backward", 3, x, w_input, w_hidden, lengths, h0=h0)
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    for name, array, shape in (
        ("dy", dy, (B, T, H)),
        ("dh", dh, (B, H)),
        ("y", y, (B, T, H)),
        ("gates", gates, (B, T, 3 * H)),
        ("inner", inner, (B, T, H)),
    ):
        check_shape("gru_backward", name, array, shape)
