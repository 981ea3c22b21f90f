"""Root mean square normalisation over the last axis, forward and backward."""

from .reference import rms_norm, rms_norm_backward

__all__ = ["rms_norm", "rms_norm_backward"]
