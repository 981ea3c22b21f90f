"""Softmax along the last axis, forward and backward."""

from .reference import softmax, softmax_backward

__all__ = ["softmax", "softmax_backward"]
