"""How good probabilities are: whether they are as sure as they are right."""

from __future__ import annotations

import numpy as np

from ..errors import TinylmError

__all__ = ["area_under_curve", "average_ranks", "brier_score", "calibration_error", "log_loss"]

_SUM_ERROR = 1e-3  # by which the probabilities of an example may miss 1: those of float16 do by less


def log_loss(probabilities: np.ndarray, wanted: np.ndarray) -> float:
    """-mean ln p of the right label, in nats; p is at least the smallest step of float64.

    probabilities: (N, C); wanted: (N,), the number of the right label each.
    """
    _check(probabilities, wanted)
    eps = np.finfo(np.float64).eps
    return float(-np.log(np.clip(_of_the_right(probabilities, wanted), eps, 1 - eps)).mean())


def brier_score(probabilities: np.ndarray, wanted: np.ndarray) -> float:
    """mean sum_c (p_c - y_c)^2, from 0 to 2; of two labels half of it, the squared error of either, from 0 to 1.

    Source: Brier 1950, "Verification of forecasts expressed in terms of probability".
    """
    _check(probabilities, wanted)
    errors = probabilities - np.eye(probabilities.shape[1])[wanted]
    return float(np.square(errors).sum(axis=1).mean()) / (2 if probabilities.shape[1] == 2 else 1)


def calibration_error(probabilities: np.ndarray, wanted: np.ndarray, *, bins: int = 15) -> float:
    """sum_b n_b / N |accuracy_b - mean confidence_b|, over bins of equal width of the highest probability.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    _check(probabilities, wanted)
    confidence = probabilities.max(axis=1)
    # A confidence on a bin's edge belongs to the bin below, as in the paper: (m - 1) / M < p <= m / M.
    place = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), confidence) - 1, 0, bins - 1)
    right = probabilities.argmax(axis=1) == wanted
    return float(np.abs(np.bincount(place, right - confidence, bins)).sum() / len(wanted))


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """The area under the ROC curve: how likely a positive example scores higher than a negative one; ties count half.

    scores: (N,); positive: (N,) bool. nan where only one kind is there. Source: Hanley and McNeil 1982.
    """
    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return float("nan")
    return float((average_ranks(scores)[positive].sum() - count * (count + 1) / 2) / (count * others))


def average_ranks(values: np.ndarray) -> np.ndarray:
    """(N,): 1 for the smallest; equal ones share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((2 * last - counts + 1) / 2)[inverse]


def _of_the_right(probabilities: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.take_along_axis(probabilities, wanted[:, None], axis=1)[:, 0]


def _check(probabilities: np.ndarray, wanted: np.ndarray) -> None:
    if probabilities.ndim != 2 or len(probabilities) != len(wanted):
        raise TinylmError(f"expected probabilities (N, C) for {len(wanted)} examples, received {probabilities.shape}")
    sums = probabilities.sum(axis=1)
    if (probabilities < 0).any() or not (np.abs(sums - 1) <= _SUM_ERROR).all():
        worst = int(np.abs(np.nan_to_num(sums, nan=np.inf) - 1).argmax())
        raise TinylmError(f"expected probabilities that sum to 1; those of example {worst} sum to {sums[worst]:.6g}")
