"""A decoder as a flat list of steps: what one token goes through, for an engine that runs it without the Module.

There are four buffers, a row for each token: "x", the stream of residuals (C), "inner", what a projection widens to,
"mixed", what attention gives, and "logits". A step reads one and writes another, so that it can be run anywhere: by
kernels one after the other, by one compiled program, and later elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinylm.nn import FeedForward, LayerNorm, Module, MultiHeadAttention, ParallelBlock, RMSNorm, Rotary, SwiGLU
from tinylm_kernels.packed import Packed

from .activations import ACTIVATIONS
from .causal_transformer import CausalTransformer

__all__ = ["Attend", "Matrix", "Norm", "Plan", "Product", "Project", "plan_decoding"]

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
class Product:
    """W input + bias, to the columns of a buffer from `offset` on; add: to what they hold."""

    weight: Matrix
    bias: np.ndarray | None
    target: str
    offset: int = 0
    add: bool = False


@dataclass(frozen=True)
class Project:
    """Products of one input: the first columns of a buffer, after a norm or an activation ("swiglu" halves them)."""

    source: str
    width: int
    before: Norm | str | None
    products: tuple[Product, ...]


@dataclass(frozen=True)
class Attend:
    """Causal attention of a layer: queries, keys and values beside each other in "inner", to "mixed".

    groups: heads of keys and values; window: how many tokens a token sees, itself among them, None for all before it.
    """

    layer: int
    heads: int
    groups: int
    key_width: int
    value_width: int
    window: int | None
    scale: float


@dataclass(frozen=True)
class Plan:
    """All steps from a token's embedding to its logits.

    tokens: the embedding (V, C); positions: added to it, or None; rotary: what turns queries and keys, or None; widths:
    of the buffers; context: how many tokens.
    """

    tokens: Matrix
    positions: np.ndarray | None
    steps: tuple[Project | Attend, ...]
    rotary: Rotary | None
    widths: dict[str, int]
    context: int

    @property
    def attentions(self) -> list[Attend]:
        """The attention of each layer."""
        return [step for step in self.steps if isinstance(step, Attend)]

    @property
    def nbytes(self) -> int:
        """What the matrices take that a token reads."""
        return sum(p.weight.nbytes for step in self.steps if isinstance(step, Project) for p in step.products)


class _Planner:
    """Reads the parts of a model, and takes their weights from `matrices`: name of a parameter to what makes it up."""

    def __init__(self, model: CausalTransformer, matrices: Callable[[str], Sequence[Matrix]]):
        self.model, self.matrices = model, matrices
        self.names = {name for name, _ in model.named_parameters()}
        self.steps: list[Project | Attend] = []

    def vector(self, name: str) -> np.ndarray | None:
        """A parameter of one axis, or None where the model has none."""
        if name not in self.names:
            return None
        parts = [part.dequantize() if isinstance(part, Packed) else part for part in self.matrices(name)]
        return np.concatenate(parts).astype(np.float32)

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

    def attend(self, path: str, layer: int, attention: MultiHeadAttention) -> None:
        window = attention.sight["window"]
        before = None if window is None or window[0] is None else window[0] + 1
        scale = attention.sight["scale"] or attention.head_width**-0.5
        widths = attention.head_width, attention.value_width
        self.steps.append(Attend(layer, attention.heads, attention.kv_heads, *widths, before, scale))

    def block(self, layer: int) -> None:
        path, block, C = f"blocks.{layer}", self.model.blocks[layer], self.model.tokens.weight.shape[1]
        attention, feed_forward = block.attention, block.feed_forward
        mixed = attention.heads * attention.value_width
        norms = self.norm(f"{path}.norm1", block.norm1), self.norm(f"{path}.norm2", block.norm2)
        qkv = self.products(f"{path}.attention.qkv", "inner")
        projection = self.products(f"{path}.attention.projection", "x", add=True)
        down = self.products(f"{path}.feed_forward.down", "x", add=True)
        if isinstance(feed_forward, SwiGLU):
            up, activation = self.products(f"{path}.feed_forward.gate_up", "inner"), "swiglu"
        else:
            assert isinstance(feed_forward, FeedForward)
            up = self.products(f"{path}.feed_forward.up", "inner")
            name = next(name for name, function in ACTIVATIONS.items() if function is feed_forward.activation)
            activation = _COMPUTED.get(name, name)
        self.steps.append(Project("x", C, norms[0], qkv))
        self.attend(path, layer, attention)
        attended, widened = Project("mixed", mixed, None, projection), Project("x", C, norms[1], up)
        # Side by side, both see x as it was; else the second sees what the first has added.
        self.steps += [widened, attended] if isinstance(block, ParallelBlock) else [attended, widened]
        self.steps.append(Project("inner", down[0].weight.shape[1], activation, down))


def plan_decoding(model: CausalTransformer, matrices: Callable[[str], Sequence[Matrix]]) -> Plan:
    """The plan of a model of pre-norm blocks, as its parts and settings tell; its parameters are not looked at.

    matrices: by the name of a parameter, the matrices or vectors that make it one above the other.
    """
    planner = _Planner(model, matrices)
    for layer in range(len(model.blocks)):
        planner.block(layer)
    (tokens,) = matrices("tokens.weight")
    (head,) = matrices("head.weight") if model.head is not None else (tokens,)
    C, V = model.tokens.weight.shape[1], model.tokens.weight.shape[0]
    norm = planner.norm("norm", model.norm)
    planner.steps.append(Project("x", C, norm, (Product(head, None, "logits"),)))
    attentions = [step for step in planner.steps if isinstance(step, Attend)]
    products = [p for step in planner.steps if isinstance(step, Project) for p in step.products]
    widths = {
        "x": C,
        "inner": max(p.offset + p.weight.shape[0] for p in products if p.target == "inner"),
        "mixed": max(each.heads * each.value_width for each in attentions),
        "logits": V,
    }
    positions = None
    if "positions.weight" in planner.names:
        (table,) = matrices("positions.weight")
        positions = table.dequantize() if isinstance(table, Packed) else table
    rotary = model.blocks[0].attention.rotary
    return Plan(tokens, positions, tuple(planner.steps), rotary, widths, model.context)
