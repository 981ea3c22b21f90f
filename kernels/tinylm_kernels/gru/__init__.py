"""The gated recurrent unit over a whole sequence, forward and backward."""

from .reference import gru, gru_backward

__all__ = ["gru", "gru_backward"]
