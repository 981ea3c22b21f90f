"""LoRA for a whole model: which layers get thin matrices of their own, while all else stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinylm.errors import TinylmError, nearest
from tinylm.nn import FusedLinear, Initializer, Linear, LowRank, LowRankParts

from .base import Model
from .config import check_positive, check_rates
from .stored import Stored

__all__ = ["LowRankSettings", "add_low_rank", "low_rank_names", "low_rank_targets"]

SITE = 1 << 16  # of the first dropout of ours, above those of every family


@dataclass(frozen=True)
class LowRankSettings:
    """What is added. Source: Hu et al. 2021, arXiv:2106.09685.

    rank: of the matrices; alpha: the change is scaled by alpha / rank; dropout: of what they read. targets: the layers,
    by the names they have in a model folder or how those end ("q_proj", "mlp.down_proj"); where empty, every linear
    layer but the head.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_positive(self, "rank")
        check_rates(self, "dropout")
        if not 0 < self.alpha < float("inf"):
            raise TinylmError(f"LowRankSettings: alpha is {self.alpha}, expected a number above 0")

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def chooses(self, name: str) -> bool:
        """Whether a layer of this name is meant."""
        return not self.targets or any(f".{name}".endswith(f".{target}") for target in self.targets)


def add_low_rank(model: Model, settings: LowRankSettings, init: Initializer) -> None:
    """Freeze all parameters of the model, and give the chosen layers matrices that learn; nothing it computes changes.

    Raises TinylmError for a target that no layer has.
    """
    layers = list(_linear_layers(model))
    names = [name for _, stored in layers for name in _layer_names(stored)]
    for target in settings.targets:
        if not any(LowRankSettings(targets=(target,)).chooses(name) for name in names):
            known = dict.fromkeys(name.rpartition(".")[2] for name in names)
            raise TinylmError(f"LoRA: no layer is called {target!r}{nearest(target, known)}; there are {_list(known)}")
    for parameter in model.parameters():
        parameter.requires_grad = False
    site = SITE
    for layer, stored in layers:
        chosen = [settings.chooses(name) for name in _layer_names(stored)]
        widths = stored.rows or (layer.weight.shape[0],)
        parts = [
            LowRank(
                layer.weight.shape[1],
                width,
                settings.rank,
                init,
                scale=settings.scale,
                dropout=settings.dropout,
                site=site + number,
            )
            if is_chosen
            else None
            for number, (is_chosen, width) in enumerate(zip(chosen, widths, strict=True))
        ]
        if any(chosen):
            layer.low_rank = LowRankParts(parts, widths) if isinstance(layer, FusedLinear) and stored.rows else parts[0]
        site += len(parts)


def low_rank_names(model: Model) -> dict[str, Stored]:
    """For each parameter that `add_low_rank` made the name that PEFT gives it, without what comes before all names."""
    found = {}
    paths = {id(module): path for path, module in model.named_modules()}
    for layer, stored in _linear_layers(model):
        added = layer.low_rank
        if added is None:
            continue
        parts = added.parts if isinstance(added, LowRankParts) else [added]
        for part, name in zip(parts, _layer_names(stored), strict=True):
            if part is not None:
                found[f"{paths[id(part)]}.a"] = Stored((f"{name}.lora_A.weight",))
                found[f"{paths[id(part)]}.b"] = Stored((f"{name}.lora_B.weight",), heads=stored.heads)
    return found


def low_rank_targets(model: Model) -> tuple[list[str], bool]:
    """The layers that were given something, by their full names, and whether the folder stores them transposed."""
    changed = [(layer, stored) for layer, stored in _linear_layers(model) if layer.low_rank is not None]
    names = [name.removesuffix(".lora_A.weight") for stored in low_rank_names(model).values() for name in stored.names]
    return [name for name in names if not name.endswith(".lora_B.weight")], any(s.transposed for _, s in changed)


def _linear_layers(model: Model) -> Iterator[tuple[Linear, Stored]]:
    """Every linear layer but the head's, with where its weight lies in a model folder."""
    stored = model.folder_names()
    for path, module in model.named_modules():
        if isinstance(module, Linear) and path.partition(".")[0] != "head":
            yield module, stored[f"{path}.weight"]


def _layer_names(stored: Stored) -> list[str]:
    return [name.removesuffix(".weight") for name in stored.names]


def _list(names: dict[str, None]) -> str:
    return ", ".join(names) or "no linear layers"
