"""Layers: floor 2, on autograd. One layer a file; `Module` is what they share."""

from .attention import AttentionCache, MultiHeadAttention
from .cross_attention import CrossAttention
from .dropout import Dropout, random_step
from .embedding import Embedding
from .gru import GRU
from .initializer import Initializer
from .layer_norm import LayerNorm
from .linear import Linear
from .lstm import LSTM
from .module import Module
from .recurrent import Recurrent, RecurrentState
from .rms_norm import RMSNorm
from .swiglu import SwiGLU
from .transformer import FeedForward, TransformerBlock

__all__ = [
    "GRU",
    "LSTM",
    "AttentionCache",
    "CrossAttention",
    "Dropout",
    "Embedding",
    "FeedForward",
    "Initializer",
    "LayerNorm",
    "Linear",
    "Module",
    "MultiHeadAttention",
    "RMSNorm",
    "Recurrent",
    "RecurrentState",
    "SwiGLU",
    "TransformerBlock",
    "random_step",
]
