"""Layers: floor 2, on autograd. One layer a file; `Module` is what they share."""

from .attention import AttentionCache, MultiHeadAttention
from .dropout import Dropout, random_step
from .embedding import Embedding
from .initializer import Initializer
from .layer_norm import LayerNorm
from .linear import Linear
from .lstm import LSTM, LSTMState
from .module import Module
from .transformer import FeedForward, TransformerBlock

__all__ = [
    "LSTM",
    "AttentionCache",
    "Dropout",
    "Embedding",
    "FeedForward",
    "Initializer",
    "LSTMState",
    "LayerNorm",
    "Linear",
    "Module",
    "MultiHeadAttention",
    "TransformerBlock",
    "random_step",
]
