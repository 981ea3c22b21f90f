"""Softmax and cross-entropy in one, alone and together with its gradient."""

from .reference import IGNORE, cross_entropy, cross_entropy_with_gradient

__all__ = ["IGNORE", "cross_entropy", "cross_entropy_with_gradient"]
