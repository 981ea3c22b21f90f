"""How far an implementation may be from its reference, without magic numbers.

The truth is the reference in a wider dtype. An implementation may be three times as far from it as the
reference in the dtype at hand is, plus four units in the last place of the largest number involved: for small
arrays the reference can be right by luck. NaN and infinities must stand exactly where the reference has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .calls import Case

WIDER = {
    np.dtype("float16"): np.dtype("float32"),
    np.dtype("float32"): np.dtype("float64"),
    np.dtype("float64"): np.dtype("longdouble"),
}
OWN_ERRORS = 3
LAST_PLACES = 4


class WrongResultError(AssertionError):
    """An implementation does not give what its reference gives."""


def outputs(result: Any) -> list[np.ndarray]:
    """What a kernel returned, as a list of arrays."""
    return [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,))]


def assert_matches(kernel: Any, case: Case, result: Any) -> None:
    """Raise WrongResultError unless `result` is what the reference gives for the case, within the tolerance."""
    assert_close(result, kernel.reference, case, kernel.name)


def assert_close(result: Any, reference: Callable[..., Any], case: Case, name: str = "result") -> None:
    """Like `assert_matches`, for any function of the case's arrays and settings."""
    Expected(reference, case).check(result, name)


class Expected:
    """What a reference gives for a case, in the dtype at hand and in a wider one; for any number of results."""

    def __init__(self, reference: Callable[..., Any], case: Case):
        self.results = outputs(reference(*case.arrays, **case.settings))
        wide = case.cast(WIDER[case.dtype])
        self.truth = outputs(reference(*wide.arrays, **wide.settings))
        numbers = [value for value in case.settings.values() if isinstance(value, float)]
        largest = largest_magnitude([*case.arrays, *self.results, *numbers])
        self.last_place = float(np.finfo(case.dtype).eps) * largest

    def check(self, result: Any, name: str) -> None:
        """Raise WrongResultError, which calls it `name`, unless `result` is that, within the tolerance."""
        received, count = outputs(result), len(self.results)
        if len(received) != count:
            raise WrongResultError(f"{name} returned {len(received)} arrays, expected {count}")
        for i, (r, e, t) in enumerate(zip(received, self.results, self.truth, strict=True)):
            compare(r, e, t, self.last_place, name if count == 1 else f"{name}[{i}]")


def compare(received: np.ndarray, expected: np.ndarray, truth: np.ndarray, last_place: float, name: str) -> None:
    """Raise WrongResultError unless `received` is as near to `truth` as `expected` and `last_place` allow."""
    for what in ("shape", "dtype"):
        if getattr(received, what) != getattr(expected, what):
            raise WrongResultError(f"{name} has {what} {getattr(received, what)}, expected {getattr(expected, what)}")
    finite = np.isfinite(expected)
    same = (received == expected) | (np.isnan(received) & np.isnan(expected))
    wrong = np.where(finite, ~np.isfinite(received), ~same)
    if wrong.any():
        where = first(wrong)
        raise WrongResultError(f"{name}{list(where)} is {received[where]}, expected {expected[where]}")
    plain = finite & np.isfinite(truth)
    if not plain.any():
        return
    error = np.where(plain, abs(np.where(plain, received, 0) - np.where(plain, truth, 0)), 0)
    own = abs(expected[plain] - truth[plain]).max()
    allowed = OWN_ERRORS * own + LAST_PLACES * last_place
    if error.max() > allowed:
        where = first(error == error.max())
        raise WrongResultError(
            f"{name}{list(where)} is {received[where]}, truly {truth[where]}: off by {error.max():.3g}, "
            f"allowed {allowed:.3g} (the reference's own error is {own:.3g}, a last place {last_place:.3g})"
        )


def largest_magnitude(arrays: Sequence[Any]) -> float:
    """The largest finite absolute value among the floating arrays; 0 where there is none."""
    floating = [np.asarray(a) for a in arrays if a is not None and np.asarray(a).dtype.kind == "f"]
    return max((float(abs(a[np.isfinite(a)]).max(initial=0)) for a in floating), default=0.0)


def first(where: np.ndarray) -> tuple[int, ...]:
    """The index of the first True."""
    return tuple(int(i) for i in np.argwhere(where)[0])
