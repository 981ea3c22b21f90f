"""Rotary positions: the tables of cosines and sines that turn queries and keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinylm.errors import TinylmError

__all__ = ["Rotary"]


class Rotary:
    """Angles position * frequency for the first `width` columns of a head, as tables that grow when they are asked for.

    base: frequency i of width / 2 is base ** (-2 i / width). scaling: how the frequencies were stretched to a longer
    context, under Hugging Face's names, {} for not at all: {"rope_type": "linear", "factor": 4.0}, or "llama3", which
    stretches the slow ones alone. All attention layers of a model share one. Raises TinylmError for other scalings.
    Source: Su et al. 2021, arXiv:2104.09864; Chen et al. 2023, arXiv:2306.15595 (linear); Llama Team 2024,
    arXiv:2407.21783, section 3.4 (llama3).
    """

    def __init__(self, width: int, *, base: float = 10000.0, scaling: Mapping[str, Any] | None = None):
        if width < 2 or width % 2:
            raise TinylmError(f"rotary positions turn pairs of columns, received a width of {width}")
        scaling = scaling or {}
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind not in SCALINGS:
            raise TinylmError(f"rope_type={kind!r} is not supported, only {', '.join(SCALINGS)}")
        frequencies = base ** (-np.arange(0, width, 2) / width)
        try:
            self.frequencies = SCALINGS[kind](frequencies, scaling)
        except (KeyError, TypeError, ZeroDivisionError) as error:
            raise TinylmError(f"rope_type={kind!r} needs its settings as numbers, received {dict(scaling)}") from error
        self._tables: dict[Any, tuple[np.ndarray, np.ndarray]] = {}

    def tables(self, length: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        """The cosines and sines of positions 0 ... length - 1, (length, width / 2) each; views."""
        found = self._tables.get(dtype)
        if found is None or len(found[0]) < length:
            rows = max(64, 1 << (length - 1).bit_length())  # twice as many each time that they do not do
            angles = np.arange(rows)[:, None] * self.frequencies
            found = self._tables[dtype] = np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)
        return found[0][:length], found[1][:length]


def _unscaled(frequencies: np.ndarray, scaling: Mapping[str, Any]) -> np.ndarray:
    return frequencies


def _linear(frequencies: np.ndarray, scaling: Mapping[str, Any]) -> np.ndarray:
    return frequencies / scaling["factor"]


def _llama3(frequencies: np.ndarray, scaling: Mapping[str, Any]) -> np.ndarray:
    """Waves that fit high_freq_factor times into the old context stay, those that fit low_freq_factor times or less are
    divided by the factor, in between a mixture."""
    fits = scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = np.clip((fits - low) / (high - low), 0, 1)
    return kept * frequencies + (1 - kept) * frequencies / scaling["factor"]


# By Hugging Face's rope_type.
SCALINGS = {"default": _unscaled, "linear": _linear, "llama3": _llama3}
