"""The output projection and its cross-entropy in one, without all logits at once; alone and with the gradients."""

from .reference import linear_cross_entropy, linear_cross_entropy_with_gradients, rows_at_once

__all__ = ["linear_cross_entropy", "linear_cross_entropy_with_gradients", "rows_at_once"]
