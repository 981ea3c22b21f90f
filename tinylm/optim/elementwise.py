"""What optimizers share whose update of a number needs that number alone, and NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from tinylm.autograd import Parameter

from .optimizer import Optimizer, ParameterGroup

__all__ = ["ElementwiseOptimizer", "blocks"]

# Numbers updated at a time: few enough that all temporaries stay in the cache, which halves the time of 10M
# parameters, and that they take no memory to speak of; enough to forget the cost of a call to NumPy. Measured.
BLOCK = 1 << 15


def blocks(size: int) -> Iterator[slice]:
    """The blocks of a flat buffer of this size."""
    return (slice(start, start + BLOCK) for start in range(0, size, BLOCK))


class ElementwiseOptimizer(Optimizer):
    """Runs `_update_block` over one block of the flat buffers after another. Subclasses define it.

    decoupled: weight decay shrinks the parameter itself, p <- p - lr weight_decay p, before its update, as in AdamW and
    in all optimizers of Keras; otherwise it joins the gradient, g <- g + weight_decay p, as in PyTorch.
    """

    def __init__(self, parameters: Iterable[ParameterGroup] | Iterable[Parameter], *, decoupled: bool = False):
        super().__init__(parameters)
        self.decoupled = decoupled

    def _update(
        self, group: ParameterGroup, buffers: dict[str, np.ndarray], learning_rate: float, scale: float
    ) -> None:
        for block in blocks(group.data.size):
            p, g = group.data[block], group.gradients[block] * scale
            if self.decoupled:
                p *= 1 - learning_rate * group.weight_decay
            elif group.weight_decay:
                g += group.weight_decay * p
            self._update_block(p, g, learning_rate, {name: buffer[block] for name, buffer in buffers.items()})

    def _update_block(
        self, p: np.ndarray, g: np.ndarray, learning_rate: float, buffers: Mapping[str, np.ndarray]
    ) -> None:
        """Update p and the buffers in place; g, with clipping and decay in it, may be overwritten."""
        raise TypeError(f"{type(self).__name__} defines no update")
