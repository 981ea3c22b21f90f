"""The decoder of an encoder-decoder as a plan: what one token of a target goes through, given the source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinylm.autograd import no_grad
from tinylm.nn import CrossBlock, Module

from .bart import OFFSET, BartStack
from .encoder_decoder import EncoderDecoder
from .plan import Attend, Matrix, Normalize, Plan, Planner, Product, Project, Step
from .t5 import T5, T5Stack

__all__ = ["plan_targets"]

# The most tokens of a target where the model sets no limit: what a cache reserves address space for.
LONGEST_TARGET = 4096


def plan_targets(model: EncoderDecoder, matrices: Callable[[str], Sequence[Matrix]]) -> Plan | None:
    """The plan of a decoder, as its parts and settings tell; None for one of another make.

    matrices: see `plan_decoding`.
    """
    stack, planner = model.decoder, Planner(model, matrices)
    (tokens,) = matrices("tokens.weight")
    context = model.context or LONGEST_TARGET
    if isinstance(stack, BartStack):
        return _plan_bart(planner, model, stack, tokens, context)
    if isinstance(stack, T5Stack) and isinstance(model, T5):
        return _plan_t5(planner, model, stack, tokens, context)
    return None


def _plan_bart(planner: Planner, model: EncoderDecoder, stack: BartStack, tokens: Matrix, context: int) -> Plan:
    positions = stack.sines
    if stack.positions is not None and stack.norm is not None:
        (table,) = planner.matrices("decoder.positions.weight")
        positions = np.asarray(table)[OFFSET:]
        planner.steps.append(Normalize(planner.norm("decoder.norm", stack.norm)))
    for layer, block in enumerate(stack.blocks):
        _plan_block(planner, layer, block, None)
    bias = planner.vector("final_logits_bias")
    head = Product(tokens, None if bias is None else bias.reshape(-1), "logits")
    return planner.finish(tokens, head, None, context, positions=positions, rotary=None, scale=stack.scale)


def _plan_t5(planner: Planner, model: T5, stack: T5Stack, tokens: Matrix, context: int) -> Plan:
    with no_grad():  # of one query after all keys that a target may have, the last key being its own
        biases = np.ascontiguousarray(stack.positions(1, context).data[0, :, 0], np.float32)
    for layer, block in enumerate(stack.blocks):
        _plan_block(planner, layer, block, biases)
    norm, head = planner.norm("decoder.norm", stack.norm), tokens
    if model.head is None:
        norm = replace(norm, weight=norm.weight * np.float32(model.config.d_model**-0.5))
    else:
        (head,) = planner.matrices("head.weight")
    return planner.finish(tokens, Product(head, None, "logits"), norm, context, positions=None, rotary=None)


def _plan_block(planner: Planner, layer: int, block: CrossBlock, biases: np.ndarray | None) -> None:
    path = f"decoder.blocks.{layer}"
    attention, cross = block.attention, block.cross_attention
    qkv = planner.products(f"{path}.attention.qkv", "inner")
    C = qkv[0].weight.shape[1]
    width, key_width = cross.projection.weight.shape[1], cross.query.weight.shape[0] // cross.heads
    seen = Attend(
        layer, cross.heads, cross.heads, key_width, width // cross.heads, None, cross.scale or key_width**-0.5, True
    )
    up, activation, down = planner.feed_forward(f"{path}.feed_forward", block.feed_forward)
    self_attention = [
        Project("x", C, None, qkv),
        planner.attend(layer, attention, biases),
        Project("mixed", attention.heads * attention.value_width, None,
                planner.products(f"{path}.attention.projection", "x", add=True)),
    ]  # fmt: skip
    to_source = [
        Project("x", C, None, planner.products(f"{path}.cross_attention.query", "inner")),
        seen,
        Project("mixed", width, None, planner.products(f"{path}.cross_attention.projection", "x", add=True)),
    ]
    widened = [Project("x", C, None, up), Project("inner", down[0].weight.shape[1], activation, down)]
    for name, steps in (("norm1", self_attention), ("cross_norm", to_source), ("norm2", widened)):
        planner.steps += _with_norm(planner, f"{path}.{name}", getattr(block, name), block.pre_norm, steps)


def _with_norm(planner: Planner, path: str, module: Module, before: bool, steps: list[Any]) -> list[Step]:
    """A part of a block with its norm: before its products, or of the stream after it."""
    norm = planner.norm(path, module)
    return [replace(steps[0], before=norm), *steps[1:]] if before else [*steps, Normalize(norm)]
