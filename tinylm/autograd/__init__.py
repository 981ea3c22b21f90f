"""Tensors and their gradients: floor 1, on the kernels."""

from . import functional
from .checkpoint import checkpoint
from .gradcheck import check_gradients
from .observer import Observer, Operation, enter_module, observe
from .tensor import Parameter, Tensor, differentiable, no_grad

__all__ = [
    "Observer",
    "Operation",
    "Parameter",
    "Tensor",
    "check_gradients",
    "checkpoint",
    "differentiable",
    "enter_module",
    "functional",
    "no_grad",
    "observe",
]
