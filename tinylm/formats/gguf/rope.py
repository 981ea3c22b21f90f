"""How GGUF says which columns of a head are turned, and how far the frequencies are stretched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinylm.errors import TinylmError
from tinylm.nn import Rotary

__all__ = ["ROPE_FACTORS", "rope_factors", "rope_metadata", "rope_settings"]

# The tensor with what each frequency is divided by: how llama.cpp keeps the scaling of Llama 3.
ROPE_FACTORS = "rope_freqs.weight"

# What Llama 3.1 and 3.2 have; the file holds what follows from them.
_LLAMA3 = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def rope_settings(
    given: Mapping[str, Any], factors: np.ndarray | None, width: int, base: float, partial: str | None
) -> dict[str, Any]:
    """The settings of Hugging Face's that follow.

    given: GGUF's settings by name; factors: the tensor, where there is one; width: of a head; partial: what the family
    calls the part of a head that is turned, None where it is all of it. Raises TinylmError for what cannot be said.
    """
    settings: dict[str, Any] = {}
    turned = given.get("rope.dimension_count", width)
    if partial is not None:
        settings[partial] = turned / width
    elif turned != width:
        raise TinylmError(
            f"rope.dimension_count {turned} of a head of {width} columns is not supported, only all of it"
        )
    kind, factor = given.get("rope.scaling.type", "none"), given.get("rope.scaling.factor", 1.0)
    if kind not in ("none", "linear"):
        raise TinylmError(f"rope.scaling.type {kind!r} is not supported, only none and linear")
    if kind == "linear" and factor != 1:
        settings["rope_scaling"] = {"rope_type": "linear", "factor": factor}
    if factors is not None:
        scaling = {**_LLAMA3, "factor": float(factors.max())}
        if not np.allclose(rope_factors(width, base, scaling), factors, rtol=1e-4):
            raise TinylmError(f"{ROPE_FACTORS} scales the frequencies in a way that is not Llama 3's: not supported")
        settings["rope_scaling"] = scaling
    return settings


def rope_factors(width: int, base: float, scaling: Mapping[str, Any]) -> np.ndarray:
    """What each frequency is divided by, (width / 2,) float32."""
    plain, scaled = Rotary(width, base=base).frequencies, Rotary(width, base=base, scaling=scaling).frequencies
    return (plain / scaled).astype(np.float32)


def rope_metadata(scaling: Mapping[str, Any] | None, turned: int) -> dict[str, Any]:
    """GGUF's settings for so many turned columns and a scaling; that of Llama 3 needs the tensor besides."""
    metadata: dict[str, Any] = {"rope.dimension_count": turned}
    if scaling and scaling.get("rope_type", scaling.get("type")) == "linear":
        metadata |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(scaling["factor"])}
    return metadata
