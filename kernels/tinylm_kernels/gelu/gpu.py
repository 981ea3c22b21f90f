"""GELU on the card."""

from ..cuda import NUMBERS, Program, elements
from .reference import gelu, gelu_backward

PROGRAM = Program(__file__, "gelu.cu")


@gelu.implement("cuda", device="gpu", dtypes=NUMBERS)
def gelu_cuda(x, *, exact=False, out=None):
    return elements(PROGRAM, "gelu", (x,), out, exact)


@gelu_backward.implement("cuda", device="gpu", dtypes=NUMBERS)
def gelu_backward_cuda(dy, x, *, exact=False, out=None):
    return elements(PROGRAM, "gelu_backward", (dy, x), out, exact)
