"""SiLU, alone and as the gate of another array (SwiGLU), forward and backward."""

from .reference import silu, silu_backward, swiglu, swiglu_backward

__all__ = ["silu", "silu_backward", "swiglu", "swiglu_backward"]
