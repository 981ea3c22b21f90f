"""Scaled dot-product attention."""

from ..arrays import array_module, check_out, check_outs, check_same_shape, check_shape
from ..registry import Kernel


@Kernel
def attention(q, k, v, key_mask=None, *, causal, scale=None, out=None):
    """y = softmax(scale q k^T + mask) v, for every batch row and head.

    q: (B, H, T, D); k, v: (B, H, S, D); any strides, so that views into one fused projection need no copy.
    key_mask: (B, S) bool, False hides a key, or None. causal: query t sees the keys up to t + S - T, which with a
    cache of earlier keys (S > T) are those that precede it. scale: 1 / sqrt(D) where None.
    Returns (y, log_sum_exp), (B, H, T, D) and (B, H, T): the second is what the backward needs. A query that sees no
    key gives zeros, and -inf as its log_sum_exp. `out` receives y.
    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; Dao et al. 2022, arXiv:2205.14135 (log_sum_exp).
    """
    xp = array_module(q)
    scores = _scores(q, k, key_mask, causal, scale)
    peak = scores.max(axis=-1, keepdims=True)
    peak = xp.where(peak == -xp.inf, 0, peak)
    p = xp.exp(scores - peak)
    total = p.sum(axis=-1, keepdims=True)
    with _quiet(xp):
        log_sum_exp = (xp.log(total) + peak)[..., 0]
    p /= xp.where(total == 0, 1, total)
    return xp.matmul(p, v, out=out), log_sum_exp


@Kernel
def attention_backward(dy, q, k, v, y, log_sum_exp, key_mask=None, *, causal, scale=None, out=None):
    """Returns (dq, dk, dv), in the shapes of q, k, v; `out` may be a triple of arrays that receives them.

    With P recomputed from log_sum_exp:  dV = P^T dy,  dP = dy V^T,  dS = P (dP - sum(dy y)),  dQ = scale dS K,
    dK = scale dS^T Q.   Source: Dao et al. 2022, arXiv:2205.14135, appendix B.2.
    """
    xp = array_module(q)
    scale = scale if scale is not None else q.shape[-1] ** -0.5
    dq, dk, dv = out if out is not None else (None, None, None)
    hidden = log_sum_exp == -xp.inf
    p = xp.exp(_scores(q, k, key_mask, causal, scale) - xp.where(hidden, 0, log_sum_exp)[..., None])
    dv = xp.matmul(p.swapaxes(-1, -2), dy, out=dv)
    ds = xp.matmul(dy, v.swapaxes(-1, -2))
    ds -= (dy * y).sum(axis=-1, keepdims=True)
    ds *= p
    ds *= scale
    return xp.matmul(ds, k, out=dq), xp.matmul(ds.swapaxes(-1, -2), q, out=dk), dv


def _scores(q, k, key_mask, causal, scale):
    """scale q k^T with -inf where a query does not see a key, (B, H, T, S)."""
    xp = array_module(q)
    scale = scale if scale is not None else q.shape[-1] ** -0.5
    scores = xp.matmul(q, k.swapaxes(-1, -2))
    scores *= scale
    T, S = scores.shape[-2:]
    if causal:
        scores[..., ~xp.tri(T, S, S - T, dtype=bool)] = -xp.inf
    if key_mask is not None:
        scores = xp.where(key_mask[:, None, None, :], scores, -xp.inf)
    return scores.astype(q.dtype, copy=False)


def _quiet(xp):
    """The log of an empty sum is -inf, as promised, and no reason for a warning."""
    return xp.errstate(divide="ignore")


@attention.check
def _(q, k, v, key_mask=None, *, causal, scale=None, out=None):
    _check_arguments("attention", q, k, v, key_mask, causal)
    check_out("attention", out, q.shape, q.dtype)


@attention_backward.check
def _(dy, q, k, v, y, log_sum_exp, key_mask=None, *, causal, scale=None, out=None):
    _check_arguments("attention_backward", q, k, v, key_mask, causal)
    check_same_shape("attention_backward", "dy", dy, "q", q)
    check_same_shape("attention_backward", "y", y, "q", q)
    check_shape("attention_backward", "log_sum_exp", log_sum_exp, q.shape[:3])
    check_outs("attention_backward", out, (q, k, v))


def _check_arguments(operation, q, k, v, key_mask, causal):
    if q.ndim != 4:
        raise ValueError(f"{operation}: q has shape {q.shape}, expected (B, H, T, D)")
    B, H, T, D = q.shape
    check_shape(operation, "k", k, (B, H, None, D))
    check_same_shape(operation, "k", k, "v", v)
    S = k.shape[2]
    if S == 0 or D == 0 or (causal and T > S):
        expected = f"at least {T if causal else 1} keys, each of at least one number"
        raise ValueError(f"{operation}: k has shape {k.shape}, expected {expected}")
    if key_mask is not None:
        check_shape(operation, "key_mask", key_mask, (B, S))
        if key_mask.dtype != bool:
            raise TypeError(f"{operation}: key_mask has dtype {key_mask.dtype}, expected bool")
