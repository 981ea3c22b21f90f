"""Layers: floor 2, on autograd. One layer a file; `Module` is what they share."""

from .attention import AttentionCache, MultiHeadAttention, RaggedCache
from .cross_attention import CrossAttention
from .dropout import Dropout, later_rows, random_step
from .embedding import Embedding
from .feed_forward import FeedForward, GatedFeedForward, SwiGLU
from .gru import GRU
from .initializer import Initializer
from .layer_norm import LayerNorm
from .linear import FusedLinear, Linear
from .low_rank import LowRank, LowRankParts
from .lstm import LSTM
from .module import Module
from .recurrent import Recurrent, RecurrentState
from .relative_bias import RelativeBias
from .rms_norm import RMSNorm
from .rotary import Rotary
from .transformer import CrossBlock, ParallelBlock, TransformerBlock

__all__ = [
    "GRU",
    "LSTM",
    "AttentionCache",
    "CrossAttention",
    "CrossBlock",
    "Dropout",
    "Embedding",
    "FeedForward",
    "FusedLinear",
    "GatedFeedForward",
    "Initializer",
    "LayerNorm",
    "Linear",
    "LowRank",
    "LowRankParts",
    "Module",
    "MultiHeadAttention",
    "ParallelBlock",
    "RMSNorm",
    "RaggedCache",
    "Recurrent",
    "RecurrentState",
    "RelativeBias",
    "Rotary",
    "SwiGLU",
    "TransformerBlock",
    "later_rows",
    "random_step",
]
