"""What the layers that read a sequence step by step share: the LSTM and the GRU."""

from .arrays import check_shape
from .pool import empty_like

__all__ = ["check_sequence", "sigmoid_in_place", "states_before"]


def check_sequence(operation, gates, x, w_input, w_hidden, lengths, **states):
    """Raise unless the arguments of a recurrent layer with so many gates fit together; see `lstm` and `gru`."""
    if x.ndim != 3:
        raise ValueError(f"{operation}: x has shape {x.shape}, expected (B, T, I)")
    if w_hidden.ndim != 2 or w_hidden.shape[1] == 0 or w_hidden.shape[0] != gates * w_hidden.shape[1]:
        raise ValueError(f"{operation}: w_hidden has shape {w_hidden.shape}, expected ({gates}H, H)")
    B, T, inputs = x.shape
    H = w_hidden.shape[1]
    check_shape(operation, "w_input", w_input, (gates * H, inputs))
    for name, state in states.items():
        check_shape(operation, name, state, (B, H))
    if lengths is None:
        return
    check_shape(operation, "lengths", lengths, (B,))
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{operation}: lengths has dtype {lengths.dtype}, expected integers")
    if lengths.size and (lengths.min() < 0 or lengths.max() > T):
        raise ValueError(f"{operation}: lengths must lie in 0..{T}, received {lengths.min()}..{lengths.max()}")


def sigmoid_in_place(xp, a):
    """1 / (1 + exp(-a)), as (1 + tanh(a / 2)) / 2, which cannot overflow."""
    a *= 0.5
    xp.tanh(a, out=a)
    a += 1
    a *= 0.5


def states_before(h0, y):
    """The state that each step begins with, (B T, H), from the first and the outputs y (B, T, H).

    A row that has ended is not followed by a live one, so that its zeros in y never meet a gradient.
    """
    B, T, H = y.shape
    states = empty_like(y)
    states[:, :1], states[:, 1:] = h0[:, None], y[:, :-1]
    return states.reshape(B * T, H)
