"""Scaled dot-product attention, forward and backward."""

from ..arrays import array_module, check_out, check_outs, check_same_shape, check_shape
from ..registry import Kernel
from .scores import capped_scores, check_arguments, fold, masked_scores


@Kernel
def attention(
    q, k, v, key_mask=None, bias=None, offsets=None, *, causal, window=None, softcap=None, scale=None, out=None
):
    """y = softmax(scale q k^T + bias) v, for every batch row and head, over the keys that a query sees.

    q: (B, H, T, D); k: (B, G, S, D); v: (B, G, S, E); any strides, so that views into one fused projection need no
    copy. H is a multiple of G: each head of keys and values serves H / G heads of queries that follow one another.
    key_mask: (B, S) bool, False hides a key from all queries of a row.
    bias: (B, H, T, S), 1 in place of any of them: floats that are added to the scores (-inf hides), or bool, where
    False hides.
    Query t stands at the position offset + t of the keys. offsets: (B,) integers, or None for S - T: the queries are
    the last tokens, those before them lie in a cache. causal: a query sees the keys up to its position. window:
    (left, right), so many keys before and after its position, None for no bound; None for neither.
    softcap: scores become softcap tanh(score / softcap) before the bias. scale: 1 / sqrt(D) where None.
    Returns (y, log_sum_exp), (B, H, T, E) and (B, H, T): the second is what the backward needs. A query that sees no
    key gives zeros, and -inf as its log_sum_exp. `out` receives y.
    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; Dao et al. 2022, arXiv:2205.14135 (log_sum_exp); Ainslie et
    al. 2023, arXiv:2305.13245 (grouped heads); Beltagy et al. 2020, arXiv:2004.05150 (windows); Raffel et al. 2020,
    arXiv:1910.10683, section 2.1 (bias); Gemma Team 2024, arXiv:2408.00118 (softcap).
    """
    xp = array_module(q)
    scores = masked_scores(capped_scores(q, k, softcap, scale), key_mask, bias, offsets, causal, window)
    scores = scores.astype(q.dtype, copy=False)
    peak = scores.max(axis=-1, keepdims=True)
    peak = xp.where(peak == -xp.inf, 0, peak)
    p = xp.exp(scores - peak)
    total = p.sum(axis=-1, keepdims=True)
    with _quiet(xp):
        log_sum_exp = (xp.log(total) + peak)[..., 0]
    p /= xp.where(total == 0, 1, total)
    y = xp.matmul(fold(p, k.shape[1]), v).reshape(*q.shape[:3], v.shape[3])
    return _delivered(y, out), log_sum_exp


@Kernel
def attention_backward(
    dy, q, k, v, y, log_sum_exp, key_mask=None, bias=None, offsets=None,
    *, causal, window=None, softcap=None, scale=None, out=None,
):  # fmt: skip
    """Returns (dq, dk, dv), in the shapes of q, k, v; `out` may be a triple of arrays that receives them.

    With P recomputed from log_sum_exp:  dV = P^T dy,  dP = dy V^T,  dS = P (dP - sum(dy y)),  and through a soft cap
    dS <- dS (1 - (S / softcap)^2);  dQ = scale dS K,  dK = scale dS^T Q.  A head of keys receives the sum over the
    heads that it serves.   Source: Dao et al. 2022, arXiv:2205.14135, appendix B.2.
    """
    xp = array_module(q)
    groups = k.shape[1]
    scores = capped_scores(q, k, softcap, scale)
    p, ds = _weights_and_their_gradient(
        dy, v, y, log_sum_exp, masked_scores(scores, key_mask, bias, offsets, causal, window)
    )
    if softcap is not None:
        ds *= 1 - xp.square(scores / softcap)
    ds *= scale if scale is not None else q.shape[-1] ** -0.5
    p, ds, outs = fold(p, groups), fold(ds, groups), out or (None, None, None)
    dq = xp.matmul(ds, k).reshape(q.shape)
    dk = xp.matmul(ds.swapaxes(-1, -2), fold(q, groups))
    dv = xp.matmul(p.swapaxes(-1, -2), fold(dy, groups))
    return tuple(_delivered(gradient, o) for gradient, o in zip((dq, dk, dv), outs, strict=True))


@Kernel
def attention_backward_bias(
    dy, q, k, v, y, log_sum_exp, key_mask=None, bias=None, offsets=None,
    *, causal, window=None, softcap=None, scale=None,
):  # fmt: skip
    """The gradient by the bias, in its shape: dS of `attention_backward`, summed where the bias is repeated."""
    scores = masked_scores(capped_scores(q, k, softcap, scale), key_mask, bias, offsets, causal, window)
    _, ds = _weights_and_their_gradient(dy, v, y, log_sum_exp, scores)
    repeated = tuple(axis for axis, size in enumerate(bias.shape) if size != ds.shape[axis])
    return ds.sum(axis=repeated, keepdims=True) if repeated else ds


def _weights_and_their_gradient(dy, v, y, log_sum_exp, scores):
    """The weights P and the gradient by the masked scores, dS = P (dP - sum(dy y)), both (B, H, T, S)."""
    xp = array_module(dy)
    hidden = log_sum_exp == -xp.inf
    p = xp.exp(scores - xp.where(hidden, 0, log_sum_exp)[..., None]).astype(dy.dtype, copy=False)
    ds = xp.matmul(fold(dy, v.shape[1]), v.swapaxes(-1, -2)).reshape(p.shape)
    ds -= (dy * y).sum(axis=-1, keepdims=True)
    ds *= p
    return p, ds


def _delivered(result, out):
    """`out`, if there is one, with the result in it."""
    if out is None:
        return result
    out[...] = result
    return out


def _quiet(xp):
    """The log of an empty sum is -inf, as promised, and no reason for a warning."""
    return xp.errstate(divide="ignore")


@attention.check
def _(q, k, v, key_mask=None, bias=None, offsets=None, *, causal, window=None, softcap=None, scale=None, out=None):
    check_arguments("attention", q, k, key_mask, bias, offsets, causal, window, softcap)
    _check_values("attention", k, v)
    check_out("attention", out, (*q.shape[:3], v.shape[3]), q.dtype)


@attention_backward.check
def _(
    dy, q, k, v, y, log_sum_exp, key_mask=None, bias=None, offsets=None,
    *, causal, window=None, softcap=None, scale=None, out=None,
):  # fmt: skip
    check_arguments("attention_backward", q, k, key_mask, bias, offsets, causal, window, softcap)
    _check_results("attention_backward", dy, q, k, v, y, log_sum_exp)
    check_outs("attention_backward", out, (q, k, v))


@attention_backward_bias.check
def _(
    dy, q, k, v, y, log_sum_exp, key_mask=None, bias=None, offsets=None,
    *, causal, window=None, softcap=None, scale=None,
):  # fmt: skip
    check_arguments("attention_backward_bias", q, k, key_mask, bias, offsets, causal, window, softcap)
    _check_results("attention_backward_bias", dy, q, k, v, y, log_sum_exp)
    if bias is None or bias.dtype == bool:
        received = "none" if bias is None else "bool"
        raise TypeError(f"attention_backward_bias: received {received}, expected a bias of floats")


def _check_values(operation, k, v):
    if v.ndim != 4 or v.shape[:3] != k.shape[:3] or v.shape[3] == 0:
        expected = ", ".join(map(str, k.shape[:3]))
        raise ValueError(f"{operation}: v has shape {v.shape}, expected ({expected}, E), values of some width")


def _check_results(operation, dy, q, k, v, y, log_sum_exp):
    _check_values(operation, k, v)
    check_shape(operation, "y", y, (*q.shape[:3], v.shape[3]))
    check_same_shape(operation, "dy", dy, "y", y)
    check_shape(operation, "log_sum_exp", log_sum_exp, q.shape[:3])
