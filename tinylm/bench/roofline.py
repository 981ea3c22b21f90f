"""The roofline picture: how many operations a second the kernels reach, over how many they do for each byte.

Source: Williams, Waterman, Patterson 2009, "Roofline: an insightful visual performance model", CACM 52(4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from typing import Any

from ..extras import import_extra
from .ladder import RUNGS
from .machine import Roofs
from .timing import Comparison

__all__ = ["save_roofline"]

# Markers and colours; a rung of a ladder is its number. Whatever else there is gets a triangle.
STYLES: dict[str, tuple[str, str]] = {
    "numpy": ("s", "0.6"),
    "torch": ("x", "tab:red"),
    "torch compiled": ("+", "tab:red"),
    "numba": ("o", "tab:blue"),
    **{rung: (f"${number}$", "tab:green") for number, rung in enumerate(RUNGS)},
}
OTHERS = ("tab:orange", "tab:purple", "tab:brown", "tab:olive", "tab:cyan")
LABEL = 0.22  # inches from one name to the next


def save_roofline(path: str | PathLike[str], comparisons: Sequence[Comparison], roofs: Roofs) -> None:
    """Draw the medians below the roofs; kernels that only move data are left out.

    path: ends in .png, .svg or .pdf. Raises TinylmError without matplotlib (extra "plot").
    """
    shown = sorted((c for c in comparisons if c.flops and c.measured), key=_intensity)
    width = max(10, LABEL * len(shown) + 3)
    figure = import_extra("matplotlib.figure", "a plot").Figure(figsize=(width, 7), layout="constrained")
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlabel="floating operations for each byte", ylabel="GFLOP/s")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    low, high = (f([*map(_intensity, shown), roofs.ridge]) for f in (min, max))
    axes.set_xlim(low / 1.6, high * 1.6)
    _draw_roofs(axes, roofs)
    _draw_points(axes, shown)
    _write_names(axes, shown)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=120)


def _intensity(comparison: Comparison) -> float:
    return comparison.flops / comparison.moved


def _draw_roofs(axes: Any, roofs: Roofs) -> None:
    left, right = axes.get_xlim()
    ridge, top = roofs.ridge, roofs.product / 1e9
    left, right = min(left, ridge / 2), max(right, ridge * 2)
    axes.set_xlim(left, right)
    axes.plot([left, ridge, right], [left * roofs.bandwidth / 1e9, top, top], color="0.2")
    x, slope = math.sqrt(left * ridge), roofs.bandwidth / 1e9
    axes.text(
        x, 1.1 * x * slope, f"memory: {slope:.1f} GB/s copied", ha="center",
        rotation=math.degrees(math.atan(slope)), rotation_mode="anchor", transform_rotates_text=True,
    )  # fmt: skip
    axes.text(1.1 * ridge, 1.08 * top, f"arithmetic: {top:.0f} GFLOP/s in a matrix product")


def _draw_points(axes: Any, shown: Sequence[Comparison]) -> None:
    colours = iter(OTHERS * len(shown))
    for candidate in dict.fromkeys(m.candidate for c in shown for m in c.measured):
        points = [
            (_intensity(c), c.flops / m.median / 1e9) for c in shown for m in c.measured if m.candidate == candidate
        ]
        marker, colour = STYLES.get(candidate) or ("^", next(colours))
        axes.plot(*zip(*points, strict=True), marker=marker, color=colour, label=candidate, linestyle="", markersize=7)


def _write_names(axes: Any, shown: Sequence[Comparison]) -> None:
    """Each call's name above the axes, as near to its place as the others allow, and a line to its points."""
    left, right = map(math.log, axes.get_xlim())
    wished = [(math.log(_intensity(c)) - left) / (right - left) for c in shown]
    for c, place in zip(shown, spread(wished, LABEL / axes.figure.get_size_inches()[0]), strict=True):
        rates = [c.flops / m.median / 1e9 for m in c.measured]
        axes.vlines(_intensity(c), min(rates), max(rates), color="0.85", zorder=0)
        axes.annotate(
            str(c.benchmark), (_intensity(c), max(rates)), (place, 1.02), textcoords="axes fraction", fontsize=8,
            rotation=40, rotation_mode="anchor", arrowprops={"arrowstyle": "-", "color": "0.85", "relpos": (0, 0)},
        )  # fmt: skip


def spread(wished: Sequence[float], step: float) -> list[float]:
    """Increasing places, at least a step apart and none beyond 1, near to increasing wishes."""
    places: list[float] = []
    for wish in wished:
        places.append(max([wish, *(p + step for p in places[-1:])]))
    for i in reversed(range(len(places))):
        places[i] = min([places[i], 1.0, *(p - step for p in places[i + 1 : i + 2])])
    return places
