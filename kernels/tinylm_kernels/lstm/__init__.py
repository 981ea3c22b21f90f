"""The long short-term memory layer over a whole sequence, forward and backward."""

from .reference import lstm, lstm_backward

__all__ = ["lstm", "lstm_backward"]
