"""Adam with decoupled weight decay over flat buffers, and the norm that clipping needs."""

import math

from ..arrays import array_module, check_outs, check_same_shape
from ..registry import Kernel


@Kernel
def adamw(p, g, m, v, *, lr, beta1, beta2, eps, weight_decay, step, decoupled=True, scale=1.0, out=None):
    """One step of Adam for every element:

        g <- scale g                                 (scale is the factor of clipping by the global norm)
        p <- p - lr weight_decay p                   (decoupled: AdamW; otherwise g <- g + weight_decay p)
        m <- beta1 m + (1 - beta1) g                 v <- beta2 v + (1 - beta2) g^2
        p <- p - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)

    p, g, m, v: float arrays of one shape; step counts from 1. Returns (p, m, v). `out` is a triple that receives
    them and may be (p, m, v) themselves.
    Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1; Loshchilov and Hutter 2019, arXiv:1711.05101.
    """
    xp = array_module(p)
    p_out, m_out, v_out = out if out is not None else (xp.empty_like(p), xp.empty_like(m), xp.empty_like(v))
    g = g * p.dtype.type(scale)
    if not decoupled:
        g += weight_decay * p
    xp.multiply(m, beta1, out=m_out)
    m_out += (1 - beta1) * g
    xp.multiply(v, beta2, out=v_out)
    v_out += (1 - beta2) * (g * g)
    update = m_out * (lr / (1 - beta1**step))
    update /= xp.sqrt(v_out) * (1 / math.sqrt(1 - beta2**step)) + eps
    xp.multiply(p, 1 - lr * weight_decay if decoupled else 1, out=p_out)
    p_out -= update
    return p_out, m_out, v_out


@adamw.check
def _(p, g, m, v, *, lr, beta1, beta2, eps, weight_decay, step, decoupled=True, scale=1.0, out=None):
    check_same_shape("adamw", "g", g, "p", p)
    check_same_shape("adamw", "m", m, "p", p)
    check_same_shape("adamw", "v", v, "p", p)
    if step < 1:
        raise ValueError(f"adamw: step is {step}, expected a count from 1")
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        if not 0 <= beta < 1:
            raise ValueError(f"adamw: {name} is {beta}, expected 0 <= {name} < 1")
    check_outs("adamw", out, (p, m, v))


@Kernel
def squared_norm(x):
    """sum of x^2 as a Python float, accumulated in float64 whatever the dtype of x."""
    xp = array_module(x)
    flat = x.reshape(-1)
    chunk = 1 << 16  # bounds the float64 copy to half a megabyte
    return math.fsum(float(xp.square(flat[i : i + chunk], dtype=xp.float64).sum()) for i in range(0, len(flat), chunk))
