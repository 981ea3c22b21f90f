"""The table that `Sequential.summary` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .layered import Layered

__all__ = ["summary_table"]


def summary_table(model: Layered) -> str:
    """Layer, output shape and number of weights, and their sums; "?" for what only a built model knows."""
    if not model.built and model.input is not None:
        model.build()
    rows = [("Layer (type)", "Output Shape", "Param #")]
    trainable = frozen = 0
    shapes = model.output_shapes()
    for number, (name, layer) in enumerate(zip(model.layer_names(), model.layers, strict=True)):
        count = "0 (unbuilt)"
        if model.built:
            weights = model.stack.layers[number].keras_weights()
            size = sum(weight.size for weight in weights)
            trainable, frozen = (trainable + size, frozen) if layer.trainable else (trainable, frozen + size)
            count = f"{size:,}"
        rows.append((f"{name} ({type(layer).__name__})", str((None, *shapes[number])) if shapes else "?", count))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    rule = "-" * len(lines[0])
    return "\n".join(
        [
            f'Model: "{model.name}"',
            rule,
            lines[0],
            rule,
            *lines[1:],
            rule,
            f"Total params: {trainable + frozen:,} ({_size(trainable + frozen)})",
            f"Trainable params: {trainable:,} ({_size(trainable)})",
            f"Non-trainable params: {frozen:,} ({_size(frozen)})",
        ]
    )


def _size(numbers: int) -> str:
    size = 4.0 * numbers
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"
