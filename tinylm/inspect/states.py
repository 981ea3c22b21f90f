"""What a model holds inside: the hidden state before each block, and the attention maps of each layer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tinylm.autograd import Observer, Operation, attention_scores, no_grad, observe
from tinylm.nn import Module

__all__ = ["InnerStates", "inner_states"]

ATTENTIONS = ("attention", "cross_attention", "self_attention")


class InnerStates(Observer):
    """What `inner_states` returns.

    output: of the model, an array. hidden: for each block, by its path ("blocks.0"), the stream (B, T, C) that enters.
    attentions: for each attention layer, by its path ("blocks.0.attention"), the weights (B, H, T, S): rows sum to 1,
    or to 0 for a query that sees no key. The fused kernel never holds them; they are computed again.
    """

    def __init__(self) -> None:
        self.output: Any = None
        self.hidden: dict[str, np.ndarray] = {}
        self.attentions: dict[str, np.ndarray] = {}

    def forward(self, operation: Operation) -> None:
        block = re.match(r"(.*\.)?blocks\.\d+(?=\.)", operation.path)
        if block and block[0] not in self.hidden:
            self.hidden[block[0]] = operation.inputs[0]  # whatever a block computes first, it computes from its input
        if operation.name in ATTENTIONS:
            self.attentions[operation.path] = attention_scores(operation)


def inner_states(model: Module, *inputs: Any, method: str = "forward", **settings: Any) -> InnerStates:
    """Call a model, or another method of it such as "hidden", and keep what passes through its blocks."""
    states = InnerStates()
    with no_grad(), observe(states), model.observed():
        states.output = getattr(model, method)(*inputs, **settings).data
    return states
