"""The matrix product of numbers rounded to bfloat16, with float32 sums: what training with precision=bfloat16 uses."""

import numpy as np

from ..arrays import array_module, check_out, check_shape
from ..registry import Kernel

SMALLEST = np.float32(2.0**-126)  # the smallest normal number, of bfloat16 as of float32


def round_to_bfloat16(x):
    """x rounded to bfloat16 (8 bits of exponent, 7 of fraction), in its own dtype.

    To the nearest, ties to even; subnormal numbers become 0, and NaN and infinity stay.
    """
    xp = array_module(x)
    x32 = xp.where(abs(x) < SMALLEST, 0, x).astype(np.float32)
    bits = x32.view(np.uint32)
    rounded = bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000
    return xp.where(xp.isfinite(x32), rounded.astype(np.uint32).view(np.float32), x32).astype(x.dtype)


@Kernel
def matmul_bfloat16(a, b, bias=None, residual=None, *, out=None):
    """y = bf16(a) bf16(b) + bias + residual, where bf16 rounds to bfloat16.

    a: (M, K) float; b: (K, N), both of any strides; bias: (N,) or None; residual: (M, N) or None. Returns (M, N) in
    their dtype, in which the sums are made. `out` may be the residual itself.
    Source: Kalamkar et al. 2019, arXiv:1905.12322 (bfloat16 operands and float32 sums for training).
    """
    product = round_to_bfloat16(a) @ round_to_bfloat16(b)
    if bias is not None:
        product += bias
    if residual is not None:
        product += residual
    if out is None:
        return product
    out[...] = product
    return out


@matmul_bfloat16.check
def _(a, b, bias=None, residual=None, *, out=None):
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(
            f"matmul_bfloat16: a has shape {a.shape} and b {b.shape}, expected (M, K) and (K, N) with the same K"
        )
    if bias is not None:
        check_shape("matmul_bfloat16", "bias", bias, (b.shape[1],))
    if residual is not None:
        check_shape("matmul_bfloat16", "residual", residual, (a.shape[0], b.shape[1]))
    check_out("matmul_bfloat16", out, (a.shape[0], b.shape[1]), a.dtype)
