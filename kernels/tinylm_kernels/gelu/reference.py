"""The Gaussian error linear unit, in its tanh form (GPT-2's "gelu_new")."""

import math

from ..arrays import array_module, check_out, check_same_shape
from ..registry import Kernel

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715  # Hendrycks and Gimpel's fit of the tanh form to x Phi(x)


@Kernel
def gelu(x, *, out=None):
    """y = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), element by element.

    x: any shape, float. Returns the same shape and dtype.
    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2.
    """
    xp = array_module(x)
    return xp.multiply(x, 0.5 * (1 + xp.tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x))), out=out)


@gelu.check
def _(x, *, out=None):
    check_out("gelu", out, x.shape, x.dtype)


@Kernel
def gelu_backward(dy, x, *, out=None):
    """dx = dy (1 + t) / 2 + dy x (1 - t^2) u' / 2,  with u = sqrt(2 / pi) (x + 0.044715 x^3) and t = tanh u."""
    xp = array_module(x)
    t = xp.tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x))
    slope = SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x)
    return xp.multiply(dy, 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope, out=out)


@gelu_backward.check
def _(dy, x, *, out=None):
    check_same_shape("gelu_backward", "dy", dy, "x", x)
    check_out("gelu_backward", out, x.shape, x.dtype)
