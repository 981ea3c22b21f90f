"""The dropout layer, and where its randomness comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .module import Module

__all__ = ["Dropout", "later_rows", "random_step"]

_step: ContextVar[dict[str, int] | None] = ContextVar("seed, step and first row", default=None)


@contextmanager
def random_step(*, seed: int, step: int, first_row: int = 0) -> Iterator[None]:
    """Within the block dropout draws the masks of this step.

    They are a pure function of (seed, step, layer, row of the global batch): running a step again, in another order
    or in slices that say at which row they begin, gives the same masks.
    """
    token = _step.set({"seed": seed, "step": step, "first_row": first_row})
    try:
        yield
    finally:
        _step.reset(token)


@contextmanager
def later_rows(count: int) -> Iterator[None]:
    """Within the block rows are counted `count` higher: a second call of the model in a step draws other masks."""
    where = _step.get()
    token = _step.set(where and {**where, "first_row": where["first_row"] + count})
    try:
        yield
    finally:
        _step.reset(token)


class Dropout(Module):
    """In training mode: x / (1 - rate) for a random 1 - rate of the elements of x (B, ...), 0 for the rest.

    site: a number that no other dropout layer of the model has, so that each draws masks of its own. variational: for
    x (B, T, C), all T steps of a row share one mask.
    Raises RuntimeError in training mode outside of `random_step`. Source: Srivastava et al. 2014, JMLR 15;
    variational: Gal and Ghahramani 2016, arXiv:1512.05287.
    """

    def __init__(self, rate: float, site: int, *, variational: bool = False):
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate is {rate}, expected 0 <= rate < 1")
        self.rate, self.site, self.variational = rate, site, variational

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        where = _step.get()
        if where is None:
            raise RuntimeError(
                "dropout in training mode needs its randomness: call the model in `with random_step(seed=0, step=n):`"
            )
        if not self.variational:
            return F.dropout(x, rate=self.rate, site=self.site, **where)
        ones = Tensor(np.ones((len(x.data), 1, x.shape[-1]), x.dtype))
        return x * F.dropout(ones, rate=self.rate, site=self.site, **where)
