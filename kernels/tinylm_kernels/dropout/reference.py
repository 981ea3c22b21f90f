"""Dropout whose mask is a pure function of where the element stands."""

import math

from ..arrays import array_module, check_out
from ..registry import Kernel

# Philox4x32-10's constants. Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", table 2.
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(xp, counter, key):
    """Philox4x32-10: four words of counter (arrays that broadcast) and two of key give four random uint32 words."""
    c = [xp.asarray(word, xp.uint64) for word in counter]
    k0, k1 = key
    low = xp.uint64(0xFFFFFFFF)
    for _ in range(ROUNDS):
        p0, p1 = c[0] * xp.uint64(MULTIPLIERS[0]), c[2] * xp.uint64(MULTIPLIERS[1])
        c = [
            (p1 >> xp.uint64(32)) ^ c[1] ^ xp.uint64(k0),
            p1 & low,
            (p0 >> xp.uint64(32)) ^ c[3] ^ xp.uint64(k1),
            p0 & low,
        ]
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return [word.astype(xp.uint32) for word in c]


def threshold(rate):
    """The 32-bit random words at or above this number keep their element."""
    return min(round(rate * 2**32), 2**32 - 1)


@Kernel
def dropout(x, *, rate, seed, step, site, first_row=0, out=None):
    """y = x / (1 - rate) where the element's random word is at least rate 2^32, else 0.

    x: (R, ...) float. The word of element j of row r is word j mod 4 of Philox4x32-10 with the counter
    (j div 4, first_row + r, site, step) and the key (seed mod 2^32, seed div 2^32): masks depend on the row of the
    global batch and not on how it was cut, so that ranks and micro-batches draw what one batch draws.
    The backward is the same kernel on dy. rate in [0, 1); seed below 2^64; the rest below 2^32.
    """
    xp = array_module(x)
    columns = math.prod(x.shape[1:])
    blocks = xp.arange((columns + 3) // 4)[None, :]
    numbers = xp.arange(first_row, first_row + x.shape[0])[:, None]
    words = philox(xp, (blocks, numbers, site, step), (seed & 0xFFFFFFFF, seed >> 32))
    words = xp.stack(xp.broadcast_arrays(*words), axis=-1).reshape(x.shape[0], 4 * blocks.size)[:, :columns]
    keep = (words >= threshold(rate)).reshape(x.shape)
    return xp.multiply(x, keep * x.dtype.type(1 / (1 - rate)), out=out)


@dropout.check
def _(x, *, rate, seed, step, site, first_row=0, out=None):
    if x.ndim == 0:
        raise ValueError("dropout: x has no axis, expected (R, ...)")
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate is {rate}, expected 0 <= rate < 1")
    for name, value, bits in (("seed", seed, 64), ("step", step, 32), ("site", site, 32), ("first_row", first_row, 32)):
        if not 0 <= value < 2**bits:
            raise ValueError(f"dropout: {name} is {value}, expected 0 <= {name} < 2^{bits}")
    if first_row + x.shape[0] > 2**32:
        raise ValueError(f"dropout: the last row is {first_row + x.shape[0] - 1}, expected rows below 2^32")
    check_out("dropout", out, x.shape, x.dtype)
