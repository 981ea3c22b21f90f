"""transformers in float64: some of its layers round to float32 whatever they are given, which hides small mistakes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

__all__ = ["in_float64"]


class _Wide:
    """torch, but for a float32 that is float64."""

    float = float32 = torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@contextmanager
def in_float64(*families: str) -> Iterator[None]:
    """Within the block, transformers' modules of these families, and what they share, compute in float64."""
    names = [f"transformers.models.{family}.modeling_{family}" for family in families]
    names += ["transformers.modeling_rope_utils", "transformers.loss.loss_utils"]
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(importlib.import_module(name), "torch", _Wide()))
        stack.enter_context(mock.patch.object(torch.Tensor, "float", torch.Tensor.double))
        yield
