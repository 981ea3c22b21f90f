"""Parts of a data set: held out by label, with what belongs together on one side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import TinylmError

__all__ = ["split_numbers"]

_SITE = 0x5B17  # keeps these draws apart from others of the same seed


def split_numbers(groups: np.ndarray, strata: np.ndarray, shares: Sequence[float], seed: int) -> list[np.ndarray]:
    """The numbers of the records of the first part, which is the rest, and of one part for each share, in order.

    groups: (N,) int, records with one number stay together. strata: (N,) int, of each a part takes its share; a group
    belongs to the stratum of its first record, and a stratum keeps something in the rest. A function of the seed.
    """
    if not all(share > 0 for share in shares) or not sum(shares) < 1:
        raise TinylmError(f"shares to hold out must be above 0 and sum to less than 1, received {list(shares)}")
    if not 0 <= seed < 2**64:
        raise TinylmError(f"seed must be from 0 to 2^64 - 1, received {seed}")
    random = np.random.Generator(np.random.Philox(key=_SITE << 64 | seed))
    _, first, group_of, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    of_group = strata[first]
    part = np.zeros(len(first), int)
    for number, share in enumerate(shares, 1):
        wanted = _rounded(share * np.bincount(strata), round(share * len(groups)))
        for stratum, target in enumerate(wanted.tolist()):
            free = random.permutation(np.flatnonzero((of_group == stratum) & (part == 0)))
            part[_take(free, sizes, target)] = number
    return [np.flatnonzero(part[group_of] == number) for number in range(len(shares) + 1)]


def _rounded(quotas: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers near the quotas with this sum: the largest remainders are rounded up."""
    floors = np.floor(quotas).astype(int)
    up = np.argsort(floors - quotas, kind="stable")[: max(total - floors.sum(), 0)]
    floors[up] += 1
    return floors


def _take(groups: np.ndarray, sizes: np.ndarray, target: int) -> list[int]:
    """Groups whose sizes come near the target, the first that do; never all."""
    taken, chosen = 0, []
    for group in groups[:-1].tolist():
        if taken >= target:
            break
        if abs(taken + sizes[group] - target) < target - taken:
            chosen.append(group)
            taken += int(sizes[group])
    return chosen
