"""What the queries make of the keys: scaled products, a soft cap, a bias, and which keys a query sees."""

from ..arrays import array_module, check_shape
from ..registry import Kernel
from ..softmax import softmax

STAGES = ("products", "capped", "masked", "weights")


@Kernel
def attention_scores(
    q, k, key_mask=None, bias=None, offsets=None, *, causal, window=None, softcap=None, scale=None, stage="weights"
):
    """The scores (B, H, T, S) that `attention` makes and never holds as a whole, for those who want to see them.

    stage: "products" are scale q k^T; "capped" softcap tanh(products / softcap), where there is a softcap; "masked"
    those plus the bias, -inf where a query does not see a key; "weights" the softmax of these over the keys, zeros
    for a query that sees none. The other arguments are those of `attention`.
    """
    if stage == "products":
        return capped_scores(q, k, None, scale)
    scores = capped_scores(q, k, softcap, scale)
    if stage == "capped":
        return scores
    scores = masked_scores(scores, key_mask, bias, offsets, causal, window)
    return scores if stage == "masked" else softmax(scores)


@attention_scores.check
def _(q, k, key_mask=None, bias=None, offsets=None, *, causal, window=None, softcap=None, scale=None, stage="weights"):
    check_arguments("attention_scores", q, k, key_mask, bias, offsets, causal, window, softcap)
    if stage not in STAGES:
        raise ValueError(f"attention_scores: stage is {stage!r}, expected one of {', '.join(STAGES)}")


def capped_scores(q, k, softcap, scale):
    """scale q k^T, drawn into (-softcap, softcap) where there is one: (B, H, T, S)."""
    xp = array_module(q)
    scores = xp.matmul(fold(q, k.shape[1]), k.swapaxes(-1, -2)).reshape(*q.shape[:3], k.shape[2])
    scores *= scale if scale is not None else q.shape[-1] ** -0.5
    return scores if softcap is None else softcap * xp.tanh(scores / softcap)


def masked_scores(scores, key_mask, bias, offsets, causal, window):
    """The scores (B, H, T, S) plus the bias, -inf where a query does not see a key."""
    xp = array_module(scores)
    if bias is not None:
        scores = xp.where(bias, scores, -xp.inf) if bias.dtype == bool else scores + bias
    seen = _seen_by_position(xp, *scores.shape[2:], offsets, causal, window)
    if seen is not None:
        scores = xp.where(seen[:, None], scores, -xp.inf)
    if key_mask is not None:
        scores = xp.where(key_mask[:, None, None, :], scores, -xp.inf)
    return scores


def fold(x, groups):
    """(B, H, T, D) as (B, G, H / G T, D): the rows of all heads that share a head of keys, one below the other."""
    B, H, T, D = x.shape
    return x.reshape(B, groups, H // groups * T, D)


def reach(causal, window):
    """How many keys a query sees before and after its own position; None where there is no bound."""
    left, right = window or (None, None)
    return left, 0 if causal else right


def _seen_by_position(xp, T, S, offsets, causal, window):
    """Which keys lie within reach of a query, (B or 1, T, S) bool; None where all do."""
    left, right = reach(causal, window)
    if left is None and right is None:
        return None
    starts = xp.asarray([S - T]) if offsets is None else offsets
    ahead = xp.arange(S) - (starts[:, None] + xp.arange(T))[..., None]  # (B or 1, T, S)
    seen = xp.ones(ahead.shape, bool) if right is None else ahead <= right
    return seen if left is None else seen & (ahead >= -left)


def check_arguments(operation, q, k, key_mask, bias, offsets, causal, window, softcap):
    """Raise for queries, keys and masks that no implementation takes."""
    if q.ndim != 4:
        raise ValueError(f"{operation}: q has shape {q.shape}, expected (B, H, T, D)")
    B, H, T, D = q.shape
    if k.ndim != 4 or k.shape[0] != B or k.shape[3] != D:
        raise ValueError(f"{operation}: k has shape {k.shape}, expected ({B}, G, S, {D})")
    _, G, S, _ = k.shape
    if G == 0 or H % G:
        raise ValueError(f"{operation}: q has {H} heads and k {G}, expected a multiple")
    if window is not None and (len(window) != 2 or any(n is not None and n < 0 for n in window)):
        raise ValueError(f"{operation}: window is {window}, expected (left, right), each a count of keys or None")
    least = max(T, 1) if (causal or window) and offsets is None else 1
    if least > S or D == 0:
        raise ValueError(f"{operation}: k has shape {k.shape}, expected at least {least} keys of some width")
    if key_mask is not None:
        check_shape(operation, "key_mask", key_mask, (B, S))
        if key_mask.dtype != bool:
            raise TypeError(f"{operation}: key_mask has dtype {key_mask.dtype}, expected bool")
    if bias is not None:
        wanted = (B, H, T, S)
        if bias.ndim != 4 or any(n not in (1, size) for n, size in zip(bias.shape, wanted, strict=True)):
            raise ValueError(f"{operation}: bias has shape {bias.shape}, expected {wanted}, 1 in place of any number")
        if bias.dtype.kind not in "fb":
            raise TypeError(f"{operation}: bias has dtype {bias.dtype}, expected floats to add or bool")
    if offsets is not None:
        check_shape(operation, "offsets", offsets, (B,))
        if offsets.dtype.kind not in "iu":
            raise TypeError(f"{operation}: offsets has dtype {offsets.dtype}, expected integers")
    if softcap is not None and not softcap > 0:
        raise ValueError(f"{operation}: softcap is {softcap}, expected a number above 0 or None")
