"""Scaled dot-product attention, forward and backward."""

from .reference import attention, attention_backward

__all__ = ["attention", "attention_backward"]
