"""Tensors and their gradients: floor 1, on the kernels."""

from . import functional
from .attention import attention_scores
from .checkpoint import checkpoint
from .gradcheck import check_gradients
from .observer import Observer, Operation, at_path, current_observer, current_path, observe
from .tensor import Parameter, Tensor, differentiable, no_grad

__all__ = [
    "Observer",
    "Operation",
    "Parameter",
    "Tensor",
    "at_path",
    "attention_scores",
    "check_gradients",
    "checkpoint",
    "current_observer",
    "current_path",
    "differentiable",
    "functional",
    "no_grad",
    "observe",
]
