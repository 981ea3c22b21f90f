"""Output projection and cross-entropy in chunks of rows: the kernels of the two, one chunk after another.

The logits of a chunk take the place of those of the one before, and their gradients take theirs. The weight's gradient
grows from chunk to chunk, in the matrix product itself, which adds as fast as it overwrites.

Chunks of classes instead of rows would need no logits of whole rows, and each part of the weight's gradient once; but
the sum of exp over all classes stands before any gradient, so the logits are computed twice: 4 products for 3, and
1.4 to 1.6 times the time.
"""

import numpy as np

from ..cross_entropy.cpu import cross_entropy_numba, cross_entropy_with_gradient_numba
from ..cross_entropy.reference import IGNORE
from ..linear.cpu import (
    linear_backward_bias_numba,
    linear_backward_input_numba,
    linear_backward_weight_numba,
    linear_numba,
)
from ..pool import empty
from .reference import linear_cross_entropy, linear_cross_entropy_with_gradients, rows_at_once


def _chunks(x, weight, targets, bias, weights, rows):
    """For each chunk its rows as a slice, then x, logits, targets and weights of them; the logits share memory."""
    N, V = len(x), len(weight)
    rows = max(min(rows or rows_at_once(V, x.shape[1]), N), 1)
    buffer = empty((rows, V))
    for start in range(0, max(N, 1), rows):  # without any row one chunk of none, which sets the gradients to zero
        chunk = slice(start, start + rows)
        logits = linear_numba(x[chunk], weight, bias, out=buffer[: min(rows, N - start)])
        yield chunk, x[chunk], logits, targets[chunk], None if weights is None else weights[chunk]


@linear_cross_entropy.implement("numba", dtypes=("float32",))
def linear_cross_entropy_numba(
    x, weight, targets, bias=None, weights=None, *, ignore_index=IGNORE, label_smoothing=0.0, rows=None
):
    losses = np.empty(len(x), np.float32)
    settings = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    for chunk, _, logits, wanted, weighed in _chunks(x, weight, targets, bias, weights, rows):
        losses[chunk] = cross_entropy_numba(logits, wanted, weighed, **settings)
    return losses


@linear_cross_entropy_with_gradients.implement("numba", dtypes=("float32",))
def linear_cross_entropy_with_gradients_numba(
    x, weight, targets, bias=None, weights=None, *, scale=1.0, ignore_index=IGNORE, label_smoothing=0.0, rows=None
):
    losses, dx, dweight = np.empty(len(x), np.float32), empty(x.shape), empty(weight.shape)
    dbias = None if bias is None else np.zeros(bias.shape, np.float32)
    settings = {"scale": scale, "ignore_index": ignore_index, "label_smoothing": label_smoothing}
    for chunk, inputs, logits, wanted, weighed in _chunks(x, weight, targets, bias, weights, rows):
        losses[chunk], dlogits = cross_entropy_with_gradient_numba(logits, wanted, weighed, **settings, out=logits)
        linear_backward_input_numba(dlogits, weight, out=dx[chunk])
        linear_backward_weight_numba(dlogits, inputs, out=dweight, accumulate=chunk.start > 0)
        if dbias is not None:
            linear_backward_bias_numba(dlogits, out=dbias, accumulate=True)
    return (losses, dx, dweight) if dbias is None else (losses, dx, dweight, dbias)
