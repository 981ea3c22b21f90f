"""SiLU (the sigmoid linear unit, also called swish), alone and as a gate."""

from ..arrays import array_module, check_out, check_outs, check_same_shape
from ..registry import Kernel


@Kernel
def silu(x, *, out=None):
    """y = x / (1 + e^-x), element by element. x: any shape, float. Returns the same shape and dtype.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2; Ramachandran et al. 2017, arXiv:1710.05941.
    """
    return array_module(x).multiply(x, _sigmoid(x)[0], out=out)


@silu.check
def _(x, *, out=None):
    check_out("silu", out, x.shape, x.dtype)


@Kernel
def silu_backward(dy, x, *, out=None):
    """dx = dy (s + x s (1 - s)),  with s = 1 / (1 + e^-x)."""
    s, slope = _sigmoid(x)
    return array_module(x).multiply(dy, s + x * slope, out=out)


@silu_backward.check
def _(dy, x, *, out=None):
    check_same_shape("silu_backward", "dy", dy, "x", x)
    check_out("silu_backward", out, x.shape, x.dtype)


@Kernel
def swiglu(gate, up, *, out=None):
    """y = silu(gate) up, element by element.

    gate, up: (..., F) float, such as the halves of one projection (..., 2F), which are used where they lie. Returns
    (..., F).
    Source: Shazeer 2020, arXiv:2002.05202, eq. 5.
    """
    y = array_module(gate).multiply(gate, _sigmoid(gate)[0], out=out)
    y *= up
    return y


@swiglu.check
def _(gate, up, *, out=None):
    _check_halves("swiglu", gate, up)
    check_out("swiglu", out, gate.shape, gate.dtype)


@Kernel
def swiglu_backward(dy, gate, up, *, out=None):
    """Returns (dgate, dup), both (..., F); `out` is a pair, and may be the halves of one array.

    With s = 1 / (1 + e^-gate):  dgate = dy up (s + gate s (1 - s)),  dup = dy gate s.
    """
    xp = array_module(gate)
    dgate, dup = out if out is not None else (None, None)
    s, slope = _sigmoid(gate)
    dgate = xp.multiply(dy, up * (s + gate * slope), out=dgate)
    return dgate, xp.multiply(dy, gate * s, out=dup)


@swiglu_backward.check
def _(dy, gate, up, *, out=None):
    _check_halves("swiglu_backward", gate, up)
    check_same_shape("swiglu_backward", "dy", dy, "gate", gate)
    check_outs("swiglu_backward", out, (gate, up))


def _check_halves(operation, gate, up):
    if gate.ndim == 0:
        raise ValueError(f"{operation}: gate has no axis, expected (..., F)")
    check_same_shape(operation, "gate", gate, "up", up)


def _sigmoid(x):
    """s = 1 / (1 + e^-x) and s (1 - s), through e^-|x|: nothing overflows, and 1 - s does not cancel."""
    xp = array_module(x)
    power = xp.exp(-xp.abs(x))
    larger = 1 / (1 + power)
    return xp.where(x < 0, power * larger, larger), power * larger * larger
