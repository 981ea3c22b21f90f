"""The Gaussian error linear unit, in its tanh form (GPT-2's "gelu_new") and its exact form (BERT's "gelu")."""

import math

from ..arrays import array_module, check_out, check_same_shape
from ..registry import Kernel

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
DENSITY_AT_0 = 1 / math.sqrt(2 * math.pi)
CUBIC = 0.044715  # Hendrycks and Gimpel's fit of the tanh form to x Phi(x)

# e^(u^2/2) Phi(-u) for u >= 0 is smooth and bounded; in t = (u - 4) / (u + 4), which runs from -1 to 1, a short power
# series gives it. These are the terms of its Chebyshev expansion of degree 23, which is off by 1e-16 at most.
PHI_TAIL = (
    0.09441064130196893, -0.17039772154845542, 0.12437925533926537, -0.07170740733773803, 0.03086480410622515,
    -0.008492095482084967, 0.000507562076799988, 0.0006388138514064342, -0.00018718428669896724,
    -4.5554892640417344e-05, 2.8648442798579606e-05, 4.631555015543092e-06, -4.303904346491218e-06,
    -8.294129430235673e-07, 6.62297108753446e-07, 2.0602260013457762e-07, -9.534702277947434e-08,
    -5.2845602685133334e-08, 1.0479978903484804e-08, 1.192568322987461e-08, -4.583989356967971e-10,
    -2.0206904361824695e-09, -4.767851228809609e-11, 1.8544963358123816e-10,
)  # fmt: skip


FLAT = 40.0  # from here on Phi(-u) is 0 in float64


@Kernel
def gelu(x, *, exact=False, out=None):
    """y = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), element by element; exact: y = x Phi(x).

    Phi is the normal distribution function, (1 + erf(x / sqrt(2))) / 2; the two forms differ by less than 0.0005.
    x: any shape, float. Returns the same shape and dtype.
    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2.
    """
    xp = array_module(x)
    return xp.multiply(x, normal_distribution(x) if exact else 0.5 * (1 + _tanh_term(x)), out=out)


@gelu.check
def _(x, *, exact=False, out=None):
    check_out("gelu", out, x.shape, x.dtype)


@Kernel
def gelu_backward(dy, x, *, exact=False, out=None):
    """dx = dy ((1 + t) / 2 + x (1 - t^2) u' / 2),  with u = sqrt(2 / pi) (x + 0.044715 x^3) and t = tanh u.

    exact: dx = dy (Phi(x) + x e^(-x^2 / 2) / sqrt(2 pi)).
    """
    xp = array_module(x)
    if exact:
        return xp.multiply(dy, normal_distribution(x) + x * (DENSITY_AT_0 * xp.exp(-0.5 * x * x)), out=out)
    t = _tanh_term(x)
    slope = SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x)
    return xp.multiply(dy, 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope, out=out)


@gelu_backward.check
def _(dy, x, *, exact=False, out=None):
    check_same_shape("gelu_backward", "dy", dy, "x", x)
    check_out("gelu_backward", out, x.shape, x.dtype)


def normal_distribution(x):
    """Phi(x), the probability that a standard normal number is below x, to 2^-52 in float64."""
    xp = array_module(x)
    u = xp.minimum(xp.abs(x), FLAT)
    t = (u - 4) / (u + 4)
    series = xp.full_like(t, PHI_TAIL[-1])
    for coefficient in PHI_TAIL[-2::-1]:
        series *= t
        series += coefficient
    tail = series * xp.exp(-0.5 * u * u)
    return xp.where(x < 0, tail, 1 - tail)


def _tanh_term(x):
    return array_module(x).tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x))
