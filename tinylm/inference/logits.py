"""What sampling does to logits before it draws: pure functions from logits (V,) to logits (V,).

-inf marks what may not be drawn. Sampling applies them in the order in which they stand here, which is transformers'.

Where logits are equal at a limit, the first tokens stay, so that a limit of k keeps k of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = [
    "add_bias",
    "keep_min_p",
    "keep_top_k",
    "keep_top_p",
    "keep_typical",
    "log_softmax",
    "penalize_presence",
    "penalize_repetition",
    "probabilities",
]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """softmax in float64, along the last axis: exact enough that the choice does not depend on rounding."""
    shifted = np.asarray(logits, np.float64)
    weights = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """ln of `probabilities`, without the loss of small ones."""
    wide = np.asarray(logits, np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def add_bias(logits: np.ndarray, bias: Mapping[int, float]) -> np.ndarray:
    """The logit of each token in `bias`, and its number more; -inf forbids a token."""
    changed = logits.copy()
    changed[list(bias)] += list(bias.values())
    return changed


def penalize_repetition(logits: np.ndarray, ids: Sequence[int], penalty: float) -> np.ndarray:
    """Each token of ids made less likely: its logit divided by the penalty if positive, else multiplied.

    Source: Keskar et al. 2019, arXiv:1909.05858, section 4.1, as transformers has it for logits below 0.
    """
    changed, seen = logits.copy(), np.unique(np.asarray(ids, np.intp))
    changed[seen] = np.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
    return changed


def penalize_presence(logits: np.ndarray, ids: Sequence[int], presence: float, frequency: float) -> np.ndarray:
    """The logit of each token of ids, less `presence`, and less `frequency` for each time it is there.

    Source: the presence_penalty and frequency_penalty of OpenAI's API.
    """
    changed = logits.copy()
    seen, counts = np.unique(np.asarray(ids, np.intp), return_counts=True)
    changed[seen] -= presence + frequency * counts
    return changed


def keep_top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """The k likeliest tokens. Source: Fan et al. 2018, arXiv:1805.04833, section 5.3."""
    return logits if k >= len(logits) else _only(logits, _likeliest(logits, k))


def keep_top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """The fewest likeliest tokens whose probabilities reach p. Source: Holtzman et al. 2020, arXiv:1904.09751."""
    if p >= 1:
        return logits
    found, count = probabilities(logits), 64
    while True:  # a few tokens mostly do: sorting all of a large vocabulary would take longer than a small model
        order = _likeliest(found, count)
        reached = int(np.searchsorted(np.cumsum(found[order]), p))
        if reached < len(order) or len(order) == len(found):
            return _only(logits, order[: reached + 1])
        count *= 8


def keep_min_p(logits: np.ndarray, p: float) -> np.ndarray:
    """The tokens at least p times as likely as the likeliest. Source: Nguyen et al. 2024, arXiv:2407.01082."""
    found = probabilities(logits)
    return np.where(found >= p * found.max(), logits, -np.inf)


def keep_typical(logits: np.ndarray, mass: float) -> np.ndarray:
    """The fewest tokens that reach `mass`, those first whose information is nearest to the entropy.

    Source: Meister et al. 2022, arXiv:2202.00666, section 3.
    """
    log_p = log_softmax(logits)
    p = np.exp(log_p)
    entropy = -np.sum(p * np.where(p > 0, log_p, 0))
    order = np.argsort(np.abs(-log_p - entropy), kind="stable")
    reached = int(np.searchsorted(np.cumsum(p[order]), mass))
    return _only(logits, order[: reached + 1])


def _likeliest(values: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` largest are, the largest first; of equal ones the first."""
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    least = np.partition(values, len(values) - count)[len(values) - count]
    among = np.flatnonzero(values >= least)
    return among[np.argsort(-values[among], kind="stable")[:count]]


def _only(logits: np.ndarray, kept: np.ndarray) -> np.ndarray:
    limited = np.full_like(logits, -np.inf)
    limited[kept] = logits[kept]
    return limited
