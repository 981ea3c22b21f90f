"""Curves as SVG that stands in a page: matplotlib draws, the page's style gives the colours."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..extras import import_extra
from .html import Markup

__all__ = ["COLOURS", "Curve", "draw"]

COLOURS = 8  # --series-0 to --series-7 of the page

# A curve is drawn with so many points at most, whatever the length of the run: twice as many as a figure has dots.
POINTS = 1000

# Colours that matplotlib writes into the SVG, and what the page puts in their place.
INK, GRID = "#000001", "#000002"
SERIES = [f"#0001{i:02x}" for i in range(COLOURS)]
STYLES = {INK: "var(--faint)", GRID: "var(--line)", **{c: f"var(--series-{i})" for i, c in enumerate(SERIES)}}


@dataclass(frozen=True)
class Curve:
    """Numbers over steps, in the colour of a number. smooth: draw a moving average, and the numbers themselves faintly.

    Numbers that are not finite leave a gap.
    """

    steps: np.ndarray
    values: np.ndarray
    colour: int
    smooth: bool = False


def draw(curves: Sequence[Curve], *, name: str, log: bool = False) -> Markup:
    """The curves in one figure. name: no two figures of a page share it. Raises TinylmError without matplotlib."""
    matplotlib = import_extra("matplotlib", "the report")
    figures = import_extra("matplotlib.figure", "the report")
    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9, "axes.linewidth": 0.7}
    with matplotlib.rc_context(settings):
        figure = figures.Figure(figsize=(5.2, 2.9), layout="constrained")
        axes = figure.add_subplot(facecolor="none")
        for curve in curves:
            _draw_curve(axes, curve)
        if log:
            axes.set_yscale("log")
        axes.set_xlabel("step", color=INK)
        axes.tick_params(colors=INK, which="both", width=0.7)
        axes.grid(color=GRID, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GRID)
        axes.margins(x=0.01)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(file.getvalue(), name)


def _draw_curve(axes, curve: Curve) -> None:
    colour = SERIES[curve.colour % COLOURS]
    if not curve.smooth:
        marker = "o" if len(curve.steps) <= 60 else None
        axes.plot(*_thinned(curve.steps, curve.values), color=colour, linewidth=1.4, marker=marker, markersize=3)
        return
    axes.plot(*_thinned(curve.steps, curve.values), color=colour, linewidth=0.6, alpha=0.35)
    axes.plot(*_thinned(curve.steps, _moving_average(curve.values)), color=colour, linewidth=1.6)


def _thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most POINTS of the points: of each stretch its smallest and its largest, so that no spike is lost."""
    if len(steps) <= POINTS:
        return steps, values
    chosen: list[int] = []
    for stretch in np.array_split(np.arange(len(steps)), POINTS // 2):
        finite = stretch[np.isfinite(values[stretch])]
        ends = {finite[values[finite].argmin()], finite[values[finite].argmax()]} if len(finite) else {stretch[0]}
        chosen += sorted(ends)
    return steps[chosen], values[chosen]


def _moving_average(values: np.ndarray) -> np.ndarray:
    """An exponential one over a fiftieth of the curve, unbiased at its beginning."""
    keep = 1 - 1 / max(len(values) / 50, 2)
    total, weight, result = 0.0, 0.0, np.empty(len(values))
    for i, value in enumerate(values):
        if np.isfinite(value):
            total, weight = keep * total + value, keep * weight + 1
        result[i] = total / weight if weight else np.nan
    return result


def _for_page(svg: str, name: str) -> Markup:
    """The element alone, as wide as there is room, in the page's colours and with names of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'^<svg\b[^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="presentation">', svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg).replace("xlink:href", "href")
    for written, shown in STYLES.items():
        svg = svg.replace(written, shown)
    return Markup(svg)
