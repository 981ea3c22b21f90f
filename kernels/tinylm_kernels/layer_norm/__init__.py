"""Layer normalisation over the last axis, forward and backward."""

from .reference import layer_norm, layer_norm_backward

__all__ = ["layer_norm", "layer_norm_backward"]
