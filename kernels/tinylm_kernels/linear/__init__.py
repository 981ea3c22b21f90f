"""The linear layer, forward and backward."""

from .reference import linear, linear_backward_bias, linear_backward_input, linear_backward_weight

__all__ = ["linear", "linear_backward_bias", "linear_backward_input", "linear_backward_weight"]
