"""A curve in characters."""

from __future__ import annotations

import numpy as np

__all__ = ["plot_lines"]


def plot_lines(x: np.ndarray, y: np.ndarray, *, width: int = 64, height: int = 12) -> list[str]:
    """The curve of y over x on a logarithmic axis, with the ends of both written at the axes; one text a line.

    x: rising, above zero. Each column shows the mean of the y that fall into it.
    """
    columns = np.minimum((np.log(x / x[0]) / np.log(x[-1] / x[0]) * width).astype(int), width - 1)
    low, high = y.min(), y.max()
    canvas = np.full((height, width), " ")
    for column in np.unique(columns):
        share = (y[columns == column].mean() - low) / (high - low or 1)
        canvas[round((1 - share) * (height - 1)), column] = "*"
    labels = {0: f"{high:.2f}", height - 1: f"{low:.2f}"}
    margin = max(map(len, labels.values()))
    lines = [f"{labels.get(row, ''):>{margin}} |{''.join(cells).rstrip()}" for row, cells in enumerate(canvas)]
    left, right = f"{x[0]:.1e}", f"{x[-1]:.1e}"
    return [*lines, " " * margin + " +" + "-" * width, " " * (margin + 2) + left + f"{right:>{width - len(left)}}"]
