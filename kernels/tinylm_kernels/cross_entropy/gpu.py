"""Softmax with cross-entropy on the card."""

from ..arrays import array_module
from ..cuda import NUMBERS, Program, contiguous, deliver, integers, room_for, threads_for
from .reference import IGNORE, cross_entropy, cross_entropy_with_gradient

PROGRAM = Program(__file__, "cross_entropy.cu")


@cross_entropy.implement("cuda", device="gpu", dtypes=NUMBERS)
def cross_entropy_cuda(logits, targets, weights=None, *, ignore_index=IGNORE, label_smoothing=0.0):
    return _launch(contiguous(logits), targets, weights, None, ignore_index, label_smoothing, 1.0)


@cross_entropy_with_gradient.implement("cuda", device="gpu", dtypes=NUMBERS)
def cross_entropy_with_gradient_cuda(
    logits, targets, weights=None, *, scale=1.0, ignore_index=IGNORE, label_smoothing=0.0, out=None
):
    logits, gradient = contiguous(logits), room_for(out, logits)
    losses = _launch(logits, targets, weights, gradient, ignore_index, label_smoothing, scale)
    return losses, deliver(gradient, out)


def _launch(logits, targets, weights, gradient, ignore_index, label_smoothing, scale):
    N, V = logits.shape
    losses = array_module(logits).empty(N, logits.dtype)
    weights = None if weights is None else contiguous(weights)
    settings = (V, ignore_index, label_smoothing, scale)
    PROGRAM.launch("cross_entropy", N, threads_for(V), logits, integers(targets), weights, losses, gradient, *settings)
    return losses
