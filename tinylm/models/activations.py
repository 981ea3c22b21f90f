"""The activations of feed-forward layers, by Hugging Face's names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

__all__ = ["ACTIVATIONS"]

# Two names stand for the tanh form of GELU, and two for SiLU.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": partial(F.gelu, exact=True),
    "gelu_new": F.gelu,
    "gelu_pytorch_tanh": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": F.tanh,
}
