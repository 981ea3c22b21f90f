"""A decoder as a flat list of steps: what one token goes through, for an engine that runs it without the Module.

There are four buffers, a row for each token: "x", the stream of residuals (C), "inner", what a projection widens to,
"mixed", what attention gives, and "logits". A step reads one and writes another, or norms the stream where it lies, so
that it can be run anywhere: by kernels one after the other, by one compiled program, and later elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.nn import (
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    Module,
    MultiHeadAttention,
    ParallelBlock,
    RMSNorm,
    Rotary,
)
from tinylm_kernels.packed import Packed

from .activations import ACTIVATIONS
from .causal_transformer import CausalTransformer

__all__ = [
    "Activation", "Attend", "Matrix", "Norm", "Normalize", "Plan", "Planner", "Product", "Project", "Step",
    "plan_decoding",
]  # fmt: skip

# A matrix (O, I) with contiguous rows: float32, or packed as a file holds it.
Matrix = np.ndarray | Packed

# What the activations compute, by the names that configs have for them.
_COMPUTED = {"gelu": "gelu_exact", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "swish": "silu"}


@dataclass(frozen=True)
class Norm:
    """RMS norm, or layer norm where there is a bias."""

    weight: np.ndarray
    bias: np.ndarray | None
    eps: float


@dataclass(frozen=True)
class Activation:
    """A function of each number; gated: of the first half of a row, times the second half."""

    name: str
    gated: bool = False


@dataclass(frozen=True)
class Product:
    """W input + bias, to the columns of a buffer from `offset` on; add: to what they hold."""

    weight: Matrix
    bias: np.ndarray | None
    target: str
    offset: int = 0
    add: bool = False


@dataclass(frozen=True)
class Project:
    """Products of one input: the first columns of a buffer, after a norm or an activation."""

    source: str
    width: int
    before: Norm | Activation | None
    products: tuple[Product, ...]


@dataclass(frozen=True)
class Normalize:
    """ "x" becomes what the norm makes of it."""

    norm: Norm


@dataclass(frozen=True)
class Attend:
    """Causal attention of a layer: queries, keys and values beside each other in "inner", to "mixed".

    memory: queries alone are there, which see the tokens of a source. groups: heads of keys and values; window: how
    many tokens a token sees, itself among them, None for all before it. biases: what is added to the scores, (H,
    context), the last of them for the token itself, those before it for the tokens before.
    """

    layer: int
    heads: int
    groups: int
    key_width: int
    value_width: int
    window: int | None
    scale: float
    memory: bool = False
    biases: np.ndarray | None = None


Step = Project | Attend | Normalize


@dataclass(frozen=True)
class Plan:
    """All steps from a token's embedding to its logits.

    tokens: the embedding (V, C); scale: multiplies it; positions: added to it, or None; rotary: what turns queries and
    keys, or None; widths: of the buffers; context: how many tokens.
    """

    tokens: Matrix
    positions: np.ndarray | None
    steps: tuple[Step, ...]
    rotary: Rotary | None
    widths: dict[str, int]
    context: int
    scale: float = 1.0

    @property
    def attentions(self) -> list[Attend]:
        """The attention of each layer."""
        return [step for step in self.steps if isinstance(step, Attend) and not step.memory]

    @property
    def sources(self) -> list[Attend]:
        """The attention of each layer to a source, where there is one."""
        return [step for step in self.steps if isinstance(step, Attend) and step.memory]

    @property
    def nbytes(self) -> int:
        """What the matrices take that a token reads."""
        return sum(p.weight.nbytes for step in self.steps if isinstance(step, Project) for p in step.products)


class Planner:
    """Reads the parts of a model, and takes their weights from `matrices`: name of a parameter to what makes it up."""

    def __init__(self, model: Module, matrices: Callable[[str], Sequence[Matrix]]):
        self.matrices = matrices
        self.names = {name for name, _ in model.named_parameters()}
        self.steps: list[Step] = []

    def vector(self, name: str) -> np.ndarray | None:
        """A parameter of one axis, or None where the model has none; the parameter's own numbers where they are one."""
        if name not in self.names:
            return None
        parts = [part.dequantize() if isinstance(part, Packed) else part for part in self.matrices(name)]
        return np.asarray(parts[0] if len(parts) == 1 else np.concatenate(parts), np.float32)

    def norm(self, path: str, module: Module) -> Norm:
        assert isinstance(module, (LayerNorm, RMSNorm)), f"{path} is no norm that is known here"
        weight = self.vector(f"{path}.weight")
        assert weight is not None
        return Norm(weight, self.vector(f"{path}.bias"), module.eps)

    def products(self, path: str, target: str, *, add: bool = False) -> tuple[Product, ...]:
        """The products that make one linear layer, side by side."""
        bias, products, offset = self.vector(f"{path}.bias"), [], 0
        for weight in self.matrices(f"{path}.weight"):
            rows = slice(offset, offset + weight.shape[0])
            products.append(Product(weight, None if bias is None else bias[rows], target, offset, add))
            offset = rows.stop
        return tuple(products)

    def attend(self, layer: int, attention: MultiHeadAttention, biases: np.ndarray | None = None) -> Attend:
        window = attention.sight["window"]
        before = None if window is None or window[0] is None else window[0] + 1
        scale = attention.sight["scale"] or attention.head_width**-0.5
        widths = attention.head_width, attention.value_width
        return Attend(layer, attention.heads, attention.kv_heads, *widths, before, scale, biases=biases)

    def feed_forward(self, path: str, module: Module) -> tuple[tuple[Product, ...], Activation, tuple[Product, ...]]:
        """The products before the activation, it, and those after it."""
        assert isinstance(module, (FeedForward, GatedFeedForward))
        gated = isinstance(module, GatedFeedForward)
        up = self.products(f"{path}.gate_up" if gated else f"{path}.up", "inner")
        name = next(name for name, function in ACTIVATIONS.items() if function is module.activation)
        activation = Activation(_COMPUTED.get(name, name), gated)
        return up, activation, self.products(f"{path}.down", "x", add=True)

    def finish(self, tokens: Matrix, head: Product, norm: Norm | None, context: int, **more: Any) -> Plan:
        """The plan, with the head at its end. more: of the fields of `Plan`."""
        self.steps.append(Project("x", tokens.shape[1], norm, (head,)))
        attentions = [step for step in self.steps if isinstance(step, Attend)]
        products = [p for step in self.steps if isinstance(step, Project) for p in step.products]
        widths = {
            "x": tokens.shape[1],
            "inner": max(p.offset + p.weight.shape[0] for p in products if p.target == "inner"),
            "mixed": max(each.heads * each.value_width for each in attentions),
            "logits": head.weight.shape[0],
        }
        return Plan(tokens, steps=tuple(self.steps), widths=widths, context=context, **more)


def plan_decoding(model: CausalTransformer, matrices: Callable[[str], Sequence[Matrix]]) -> Plan:
    """The plan of a model of pre-norm blocks, as its parts and settings tell; its parameters are not looked at.

    matrices: by the name of a parameter, the matrices or vectors that make it one above the other.
    """
    planner = Planner(model, matrices)
    for layer in range(len(model.blocks)):
        _plan_block(planner, model, layer)
    (tokens,) = matrices("tokens.weight")
    (head,) = matrices("head.weight") if model.head is not None else (tokens,)
    positions = None
    if "positions.weight" in planner.names:
        (table,) = matrices("positions.weight")
        positions = table.dequantize() if isinstance(table, Packed) else table
    rotary, norm = model.blocks[0].attention.rotary, planner.norm("norm", model.norm)
    return planner.finish(
        tokens, Product(head, None, "logits"), norm, model.context, positions=positions, rotary=rotary
    )


def _plan_block(planner: Planner, model: CausalTransformer, layer: int) -> None:
    path, block, C = f"blocks.{layer}", model.blocks[layer], model.tokens.weight.shape[1]
    attention = block.attention
    norms = planner.norm(f"{path}.norm1", block.norm1), planner.norm(f"{path}.norm2", block.norm2)
    qkv = planner.products(f"{path}.attention.qkv", "inner")
    projection = planner.products(f"{path}.attention.projection", "x", add=True)
    up, activation, down = planner.feed_forward(f"{path}.feed_forward", block.feed_forward)
    planner.steps += [Project("x", C, norms[0], qkv), planner.attend(layer, attention)]
    attended = Project("mixed", attention.heads * attention.value_width, None, projection)
    widened = Project("x", C, norms[1], up)
    # Side by side, both see x as it was; else the second sees what the first has added.
    planner.steps += [widened, attended] if isinstance(block, ParallelBlock) else [attended, widened]
    planner.steps.append(Project("inner", down[0].weight.shape[1], activation, down))
