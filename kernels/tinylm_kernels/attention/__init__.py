"""Scaled dot-product attention, forward and backward, and the scores that it does not keep."""

from .reference import attention, attention_backward, attention_backward_bias
from .scores import attention_scores

__all__ = ["attention", "attention_backward", "attention_backward_bias", "attention_scores"]
