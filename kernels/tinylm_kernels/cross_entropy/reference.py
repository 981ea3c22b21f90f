"""Softmax and cross-entropy in one, with the gradient in the same pass."""

from ..arrays import array_module, check_out, check_shape
from ..registry import Kernel

IGNORE = -100  # a target that does not count; the value that PyTorch and transformers use


@Kernel
def cross_entropy(logits, targets, weights=None, *, ignore_index=IGNORE, label_smoothing=0.0):
    """losses[n] = w ((1 - s) (L - logits[n, targets[n]]) + s (L - mean logits[n])),  L = log sum exp logits[n].

    logits: (N, V) float, a row may hold -inf where no smoothing asks for it; targets: (N,) integers below V, or
    ignore_index; s = label_smoothing in [0, 1). weights: (N,), the w of each row, or None for 1. Rows that are ignored
    or weigh 0 have loss 0, whatever their logits. Returns losses (N,) in nats.
    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7 (label smoothing).
    """
    xp = array_module(logits)
    counted = _counted(targets, weights, ignore_index)
    peak = logits.max(axis=-1)
    log_sum = xp.log(xp.exp(logits - peak[:, None]).sum(axis=-1)) + peak
    hit = xp.take_along_axis(logits, xp.where(counted, targets, 0)[:, None], axis=-1)[:, 0]
    losses = log_sum - hit
    if label_smoothing:
        losses = (1 - label_smoothing) * losses + label_smoothing * (log_sum - logits.mean(axis=-1))
    return _weighed(losses, counted, weights).astype(logits.dtype)


@Kernel
def cross_entropy_with_gradient(
    logits, targets, weights=None, *, scale=1.0, ignore_index=IGNORE, label_smoothing=0.0, out=None
):
    """(losses, dlogits): the losses of `cross_entropy`, and `scale` times the gradient of their sum.

    dlogits[n, j] = scale w (softmax(logits[n])[j] - (1 - s) [j = targets[n]] - s / V), zero for rows that do not count.
    `out` receives dlogits and may be `logits` itself: in place halves the memory of the largest array there is.
    """
    xp = array_module(logits)
    counted = _counted(targets, weights, ignore_index)
    rows = xp.arange(len(targets))
    scales = xp.where(counted, scale if weights is None else scale * weights, 0).astype(logits.dtype)
    peak = logits.max(axis=-1)
    hit = logits[rows, xp.where(counted, targets, 0)]
    mean = logits.mean(axis=-1) if label_smoothing else 0
    gradient = xp.subtract(logits, peak[:, None], out=out)
    xp.exp(gradient, out=gradient)
    total = gradient.sum(axis=-1)
    log_sum = xp.log(total) + peak
    losses = log_sum - hit
    if label_smoothing:
        losses = (1 - label_smoothing) * losses + label_smoothing * (log_sum - mean)
    gradient *= (scales / total)[:, None]
    if label_smoothing:
        gradient -= (scales * (label_smoothing / logits.shape[-1]))[:, None]
    gradient[rows[counted], targets[counted]] -= scales[counted] * (1 - label_smoothing)
    gradient[~counted] = 0  # also where the row holds NaN, which a product with 0 would keep
    return _weighed(losses, counted, weights).astype(logits.dtype), gradient


def _counted(targets, weights, ignore_index):
    counted = targets != ignore_index
    return counted if weights is None else counted & (weights != 0)


def _weighed(losses, counted, weights):
    losses = array_module(losses).where(counted, losses, 0)
    return losses if weights is None else losses * weights


@cross_entropy.check
def _(logits, targets, weights=None, *, ignore_index=IGNORE, label_smoothing=0.0):
    _check_arguments("cross_entropy", logits, targets, weights, ignore_index, label_smoothing)


@cross_entropy_with_gradient.check
def _(logits, targets, weights=None, *, scale=1.0, ignore_index=IGNORE, label_smoothing=0.0, out=None):
    _check_arguments("cross_entropy_with_gradient", logits, targets, weights, ignore_index, label_smoothing)
    check_out("cross_entropy_with_gradient", out, logits.shape, logits.dtype)


def _check_arguments(operation, logits, targets, weights, ignore_index, label_smoothing):
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(f"{operation}: logits has shape {logits.shape}, expected (N, V)")
    check_targets(operation, logits.shape, targets, weights, ignore_index, label_smoothing)


def check_targets(operation, shape, targets, weights, ignore_index, label_smoothing):
    """Raise for what cross-entropy cannot take with logits of this shape (N, V)."""
    N, V = shape
    check_shape(operation, "targets", targets, (N,))
    if weights is not None:
        check_shape(operation, "weights", weights, (N,))
    if targets.dtype.kind not in "iu":
        raise TypeError(f"{operation}: targets has dtype {targets.dtype}, expected integers")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"{operation}: label_smoothing is {label_smoothing}, expected 0 <= s < 1")
    wrong = ((targets < 0) | (targets >= V)) & (targets != ignore_index)
    if wrong.any():
        raise ValueError(
            f"{operation}: target {targets[wrong][0]} is outside 0..{V - 1} and is not ignore_index ({ignore_index})"
        )
