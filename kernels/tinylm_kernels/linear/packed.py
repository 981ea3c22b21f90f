"""The linear layer with packed weights, which are used as they lie."""

import numpy as np

from ..few_rows import FEW
from ..jit import as_carray, deliver, room_for
from ..packed import BF16, F16, Packed
from ..packed.codes import INTEGER_FORMATS
from ..packed.interleaved import LAYOUTS
from ..packed.products import multiply_packed
from ..packed.widening import multiply_widened
from .reference import linear

HALVES = F16.format, BF16.format
INTEGERS = *(each.packed.format for each in INTEGER_FORMATS), *(each.name for each in LAYOUTS.values())


def _is_packed(x, weight, bias=None, residual=None, *, out=None):
    return isinstance(weight, Packed)


@linear.implement("numba_packed", dtypes=("float32", *HALVES, *INTEGERS), when=_is_packed)
def linear_packed(x, weight, bias=None, residual=None, *, out=None):
    """With the formats of integer codes x is rounded, each 32 numbers to multiples of their largest / 127."""
    y = room_for(out, (*x.shape[:-1], weight.shape[0]))
    if residual is not None and residual is not y:
        y[...] = residual
    weight = weight if isinstance(weight, Packed) else np.ascontiguousarray(weight)
    bias = None if bias is None else as_carray(bias)
    x, rows = x.reshape(-1, x.shape[-1]), y.reshape(-1, weight.shape[0])
    multiply = multiply_widened if len(x) > FEW and str(weight.dtype) in HALVES else multiply_packed
    multiply(x, weight, bias, rows, add=residual is not None)
    return deliver(y, out)
