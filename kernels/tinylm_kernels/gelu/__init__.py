"""The Gaussian error linear unit, forward and backward."""

from .reference import gelu, gelu_backward

__all__ = ["gelu", "gelu_backward"]
