"""The roofline picture: how many operations a second the kernels reach, over how many they do for each byte.

Source: Williams, Waterman, Patterson 2009, "Roofline: an insightful visual performance model", CACM 52(4).
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

from ..extras import import_extra
from .machine import Roofs
from .timing import Comparison

__all__ = ["save_roofline"]

MARKERS = {"numpy": "s", "numba": "o", "torch": "x"}


def save_roofline(path: str | PathLike[str], comparisons: Sequence[Comparison], roofs: Roofs) -> None:
    """Draw the medians below the roofs; kernels that only move data are left out.

    path: ends in .png, .svg or .pdf. Raises TinylmError without matplotlib (extra "plot").
    """
    shown = [c for c in comparisons if c.flops and c.measured]
    figure = import_extra("matplotlib.figure", "a plot").Figure(figsize=(10, 6.5), layout="constrained")
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlabel="floating operations a byte", ylabel="GFLOP/s")
    _draw_roofs(axes, [c.flops / c.moved for c in shown], roofs)
    for candidate in dict.fromkeys(m.candidate for c in shown for m in c.measured):
        points = [(c.flops / c.moved, c.flops / m.median / 1e9) for c in shown for m in c.measured
                  if m.candidate == candidate]  # fmt: skip
        axes.plot(*zip(*points, strict=True), MARKERS.get(candidate, "^"), label=candidate, markersize=5, alpha=0.8)
    for c in shown:
        best = c.flops / min(m.median for m in c.measured) / 1e9
        offset = {"xytext": (3, 4), "textcoords": "offset points"}
        axes.annotate(str(c.benchmark), (c.flops / c.moved, best), fontsize=6, rotation=35, **offset)
    axes.legend(loc="upper left")
    axes.grid(color="0.9", which="major")
    figure.savefig(path)


def _draw_roofs(axes: Any, intensities: Sequence[float], roofs: Roofs) -> None:
    low, high = min([*intensities, roofs.ridge]) / 2, max([*intensities, roofs.ridge]) * 2
    heights = [low * roofs.bandwidth / 1e9, roofs.product / 1e9, roofs.product / 1e9]
    label = f"roofs: {roofs.bandwidth / 1e9:.1f} GB/s copied, {roofs.product / 1e9:.0f} GFLOP/s in a matrix product"
    axes.plot([low, roofs.ridge, high], heights, color="0.2", label=label)
