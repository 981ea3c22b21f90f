"""Losses of classes: from logits, and from log-probabilities."""

from __future__ import annotations

import tinylm_kernels as K
from tinylm_kernels import array_module

from .tensor import differentiable, is_recorded

__all__ = ["binary_cross_entropy", "cross_entropy", "linear_cross_entropy", "nll_loss"]


@differentiable
def cross_entropy(
    logits,
    targets,
    weights=None,
    *,
    reduction="mean",
    ignore_index=K.IGNORE,
    label_smoothing=0.0,
    in_place=False,
):
    """The loss in nats over the targets that count: their mean, or for a reduction of "sum" or "none" what that says.

    logits: (..., V); targets: (...) integers, ignore_index where a position does not count; weights: (...), what each
    position weighs, or None for 1. The mean is sum(weight loss) / sum(weight), 0 where nothing weighs. PyTorch's and
    ONNX's weights of classes are `weights=class_weights[targets]` (with label smoothing PyTorch's differ: they weigh
    the classes that it spreads to as well). No gradient flows to the weights.
    The gradient is computed in the same pass; in_place lets it overwrite the logits, which nobody may look at
    afterwards.
    """
    xp = array_module(logits)
    flat = logits.reshape(-1, logits.shape[-1])
    wanted, weighed = targets.reshape(-1), None if weights is None else weights.reshape(-1)
    divisor = _divisor("cross_entropy", wanted, weighed, reduction, ignore_index)
    losses, dlogits = K.cross_entropy_with_gradient(
        flat,
        wanted,
        weighed,
        scale=1 / divisor,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        out=flat if in_place else None,
    )

    def pullback(dy):
        if reduction == "none":
            xp.multiply(dlogits, dy.reshape(-1, 1), out=dlogits)
        elif dy != 1:
            xp.multiply(dlogits, dy, out=dlogits)
        return dlogits.reshape(logits.shape), None, None

    return _reduced(losses, targets, reduction, divisor), pullback


@differentiable
def binary_cross_entropy(logits, targets):
    """The mean over all elements of -y ln p - (1 - y) ln(1 - p), p = 1 / (1 + e^-x), for logits x and targets y.

    targets: floats of the shape of the logits, from 0 to 1. No gradient flows to them.
    """
    xp = array_module(logits)
    power = xp.exp(-xp.abs(logits))  # of the smaller side, which cannot overflow
    losses = xp.maximum(logits, 0) - logits * targets + xp.log1p(power)
    p = xp.where(logits < 0, power, 1) / (1 + power)
    return xp.asarray(losses.mean()), lambda dy: ((p - targets) * (dy / logits.size), None)


def linear_cross_entropy(
    x, weight, targets, bias=None, weights=None, *, reduction="mean", ignore_index=K.IGNORE, label_smoothing=0.0
):
    """`cross_entropy` of `linear(x, weight, bias)`, a chunk of rows after the other: all logits never exist at once.

    x: (..., C); weight: (V, C); bias: (V,) or None; targets and weights: (...); the reduction is "mean" or "sum". The
    gradients are computed in the same pass, where they are wanted, and wait for `backward`: the weight's of (V, C) is
    what this costs in memory. Logits that an observer wants to see are the `linear` of the inputs it is shown.
    """
    if reduction == "none":
        raise ValueError("linear_cross_entropy: reduction is 'none', expected 'mean' or 'sum'; cross_entropy has it")
    return _linear_cross_entropy(
        x,
        weight,
        targets,
        bias,
        weights,
        with_gradients=is_recorded(x, weight, bias),
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


@differentiable
def _linear_cross_entropy(x, weight, targets, bias, weights, *, with_gradients, reduction, ignore_index, **settings):
    xp = array_module(x)
    wanted, weighed = targets.reshape(-1), None if weights is None else weights.reshape(-1)
    divisor = _divisor("linear_cross_entropy", wanted, weighed, reduction, ignore_index)
    arrays = x.reshape(-1, x.shape[-1]), weight, wanted, bias, weighed
    if with_gradients:
        losses, *gradients = K.linear_cross_entropy_with_gradients(
            *arrays, scale=1 / divisor, ignore_index=ignore_index, **settings
        )
    else:
        losses, gradients = K.linear_cross_entropy(*arrays, ignore_index=ignore_index, **settings), []

    def pullback(dy):
        if dy != 1:
            for gradient in gradients:
                xp.multiply(gradient, dy, out=gradient)
        dx, dweight, *dbias = gradients
        return dx.reshape(x.shape), dweight, None, dbias[0] if dbias else None, None

    return _reduced(losses, targets, reduction, divisor), pullback


@differentiable
def nll_loss(log_probabilities, targets, weights=None, *, reduction="mean", ignore_index=K.IGNORE):
    """`cross_entropy` of logits that are log-probabilities already: -weight log_probabilities[..., target].

    log_probabilities: (..., V), used as they are; the other arguments are those of `cross_entropy`.
    """
    xp = array_module(log_probabilities)
    wanted, weighed = targets.reshape(-1), None if weights is None else weights.reshape(-1)
    divisor = _divisor("nll_loss", wanted, weighed, reduction, ignore_index)
    rows = xp.nonzero(_counted(wanted, weighed, ignore_index))[0]
    hits = rows, wanted[rows]
    factor = -1 if weighed is None else -weighed[rows]
    losses = xp.zeros(wanted.shape, log_probabilities.dtype)
    losses[rows] = factor * log_probabilities.reshape(-1, log_probabilities.shape[-1])[hits]

    def pullback(dy):
        gradient = xp.zeros((len(wanted), log_probabilities.shape[-1]), log_probabilities.dtype)
        gradient[hits] = factor * (dy.reshape(-1)[rows] if reduction == "none" else dy / divisor)
        return gradient.reshape(log_probabilities.shape), None, None

    return _reduced(losses, targets, reduction, divisor), pullback


def _counted(targets, weights, ignore_index):
    counted = targets != ignore_index
    return counted if weights is None else counted & (weights != 0)


def _divisor(operation, targets, weights, reduction, ignore_index):
    """What the sum of the losses is divided by."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{operation}: reduction is {reduction!r}, expected 'mean', 'sum' or 'none'")
    if reduction != "mean":
        return 1
    counted = targets != ignore_index
    return (int(counted.sum()) if weights is None else float(weights[counted].sum())) or 1


def _reduced(losses, targets, reduction, divisor):
    if reduction == "none":
        return losses.reshape(targets.shape)
    xp = array_module(losses)
    return xp.asarray(losses.sum(dtype=xp.float64) / divisor).astype(losses.dtype)
