"""Kernels for language models: arrays in, arrays out. No autograd, no models.

Each kernel is a folder: `reference.py` defines it in NumPy, `cpu.py` implements it with Numba. The
names below are `Kernel` objects; call them like functions. See `registry` for how an implementation is chosen.
"""

from .adamw import adamw, squared_norm
from .arrays import array_module
from .attention import attention, attention_backward, attention_backward_bias, attention_scores
from .cross_entropy import IGNORE, cross_entropy, cross_entropy_with_gradient
from .dropout import dropout
from .embedding import embedding, embedding_backward
from .gelu import gelu, gelu_backward
from .gru import gru, gru_backward
from .layer_norm import layer_norm, layer_norm_backward
from .linear import linear, linear_backward_bias, linear_backward_input, linear_backward_weight
from .linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_with_gradients, rows_at_once
from .lstm import lstm, lstm_backward
from .matmul_bfloat16 import matmul_bfloat16
from .pool import Pool, empty, empty_like, release_memory, use_pool
from .precision import PRECISIONS, precision, why_not_bfloat16
from .registry import Implementation, Kernel, all_kernels, use
from .rms_norm import rms_norm, rms_norm_backward
from .rope import rope
from .softmax import softmax, softmax_backward
from .swiglu import silu, silu_backward, swiglu, swiglu_backward

__all__ = [
    "IGNORE",
    "PRECISIONS",
    "Implementation",
    "Kernel",
    "Pool",
    "adamw",
    "all_kernels",
    "array_module",
    "attention",
    "attention_backward",
    "attention_backward_bias",
    "attention_scores",
    "cross_entropy",
    "cross_entropy_with_gradient",
    "dropout",
    "embedding",
    "embedding_backward",
    "empty",
    "empty_like",
    "gelu",
    "gelu_backward",
    "gru",
    "gru_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward_bias",
    "linear_backward_input",
    "linear_backward_weight",
    "linear_cross_entropy",
    "linear_cross_entropy_with_gradients",
    "lstm",
    "lstm_backward",
    "matmul_bfloat16",
    "precision",
    "release_memory",
    "rms_norm",
    "rms_norm_backward",
    "rope",
    "rows_at_once",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "squared_norm",
    "swiglu",
    "swiglu_backward",
    "use",
    "use_pool",
    "why_not_bfloat16",
]
