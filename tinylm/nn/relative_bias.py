"""Relative positions as a bias of the scores."""

from __future__ import annotations

import math

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .module import Module

__all__ = ["RelativeBias"]


class RelativeBias(Module):
    """A number for each head and bucket of distances between query and key: (1, H, T, S), to be added to the scores.

    Near distances have a bucket each, farther ones share them in steps that grow, up to max_distance. both_ways: keys
    after the query have buckets of their own; else they share that of distance 0. All layers share one bias.
    Source: Raffel et al. 2020, arXiv:1910.10683, section 2.1.
    """

    def __init__(
        self,
        heads: int,
        init: Initializer,
        *,
        buckets: int = 32,
        max_distance: int = 128,
        both_ways: bool,
        std: float = 0.02,
    ):
        self.weight = init.normal(buckets, heads, std=std)
        self.buckets, self.max_distance, self.both_ways = buckets, max_distance, both_ways

    def forward(self, queries: int, keys: int) -> Tensor:
        """The queries are the last ones of the keys."""
        distance = np.arange(keys) - np.arange(keys - queries, keys)[:, None]  # (T, S), below 0 for earlier keys
        bias = F.embedding(self.weight, self._bucket(distance))  # (T, S, H)
        return F.reshape(F.transpose(bias, axes=(2, 0, 1)), shape=(1, -1, queries, keys))

    def _bucket(self, distance: np.ndarray) -> np.ndarray:
        count, later = self.buckets, np.zeros_like(distance)
        if self.both_ways:
            count //= 2
            later = np.where(distance > 0, count, 0)
        away = np.abs(distance) if self.both_ways else np.maximum(-distance, 0)
        near = count // 2
        steps = np.log(np.maximum(away, near) / near) / math.log(self.max_distance / near)
        far = np.minimum(near + (steps * (count - near)).astype(np.int64), count - 1)
        return later + np.where(away < near, away, far)
