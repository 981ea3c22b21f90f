"""The output projection and softmax cross-entropy in one: what an implementation may do in chunks of rows.

Logits of N rows and V classes are the largest array of a language model, and only their gradients are wanted, which
need one row at a time. They are computed in the forward pass already: the loss is a number, whose own gradient is a
factor.
"""

from ..arrays import check_shape
from ..cross_entropy.reference import IGNORE, check_targets, cross_entropy, cross_entropy_with_gradient
from ..linear.reference import linear, linear_backward_bias, linear_backward_input, linear_backward_weight
from ..registry import Kernel

# A chunk reads the weight twice, and its gradient once and writes it. Where these do not stay in the cache (a weight
# above 4 MB), 128 rows cost a sixth of the time, 256 an eighth, and 512 a twentieth; where they do, 128 rows cost a
# tenth to a quarter and 416, what SMALLEST makes of 10,000 classes, up to a seventh (docs/reach.md).
IN_CACHE, FEW, MANY = 1 << 20, 128, 512
# A chunk has at least so many logits (16 MB): with fewer, the threads meet more often, and where other programs hold
# the cores each meeting waits. Measured on a busy machine only: steps took up to half as long again.
SMALLEST = 1 << 22


def rows_at_once(vocabulary: int, width: int) -> int:
    """For how many rows an implementation may hold the logits: as few as cost no time. Measured."""
    few = FEW if vocabulary * width <= IN_CACHE else MANY
    return max(few, SMALLEST // vocabulary)


@Kernel
def linear_cross_entropy(
    x, weight, targets, bias=None, weights=None, *, ignore_index=IGNORE, label_smoothing=0.0, rows=None
):
    """The losses (N,) of `cross_entropy` for the logits x W^T + b, in nats.

    x: (N, C) float; weight: (V, C); bias: (V,) or None; targets: (N,) integers; weights: (N,), what each row weighs, or
    None; the settings are those of `cross_entropy`. rows: hold the logits of at most so many at once; None for
    `rows_at_once`. The reference, which is the definition, holds all.
    """
    settings = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    return cross_entropy.reference(linear.reference(x, weight, bias), targets, weights, **settings)


@Kernel
def linear_cross_entropy_with_gradients(
    x, weight, targets, bias=None, weights=None, *, scale=1.0, ignore_index=IGNORE, label_smoothing=0.0, rows=None
):
    """(losses, dx, dweight, dbias): those of `linear_cross_entropy`, and `scale` times the gradients of their sum.

    dlogits as in `cross_entropy_with_gradient`; dx = dlogits W, dweight = dlogits^T x, dbias = the sum of its rows; no
    dbias where there is no bias.
    Source: Hsu et al. 2024, "Liger Kernel", arXiv:2410.10989, section 3.2 (gradients in the forward pass, in chunks).
    """
    settings = {"scale": scale, "ignore_index": ignore_index, "label_smoothing": label_smoothing}
    logits = linear.reference(x, weight, bias)
    losses, dlogits = cross_entropy_with_gradient.reference(logits, targets, weights, **settings)
    dx, dweight = linear_backward_input.reference(dlogits, weight), linear_backward_weight.reference(dlogits, x)
    if bias is None:
        return losses, dx, dweight
    return losses, dx, dweight, linear_backward_bias.reference(dlogits)


@linear_cross_entropy.check
def _(x, weight, targets, bias=None, weights=None, *, ignore_index=IGNORE, label_smoothing=0.0, rows=None):
    _check_arguments("linear_cross_entropy", x, weight, targets, bias, weights, ignore_index, label_smoothing, rows)


@linear_cross_entropy_with_gradients.check
def _(x, weight, targets, bias=None, weights=None, *, scale=1.0, ignore_index=IGNORE, label_smoothing=0.0, rows=None):
    operation = "linear_cross_entropy_with_gradients"
    _check_arguments(operation, x, weight, targets, bias, weights, ignore_index, label_smoothing, rows)


def _check_arguments(operation, x, weight, targets, bias, weights, ignore_index, label_smoothing, rows):
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1] or len(weight) == 0:
        raise ValueError(
            f"{operation}: x has shape {x.shape} and weight {weight.shape}, expected (N, C) and (V, C) with the same C"
        )
    if bias is not None:
        check_shape(operation, "bias", bias, (len(weight),))
    if rows is not None and rows < 1:
        raise ValueError(f"{operation}: rows is {rows}, expected at least 1")
    check_targets(operation, (len(x), len(weight)), targets, weights, ignore_index, label_smoothing)
