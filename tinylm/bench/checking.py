"""Whether an implementation is right: checked before it is timed, and told in words where it is not.

The cases are those of the benchmark with fewer rows: as they are, in memory that is not contiguous, at odd sizes, with
an outlier; each with and without `out=`. That finds what implementations mostly get wrong; the repository's tests draw
many more.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

import tinylm_kernels as K

from .calls import RECEIVED_BY_OUT, Case
from .cases import Benchmark, size
from .tolerance import Expected, WrongResultError, first, outputs

__all__ = ["Checks", "assert_roughly_equal", "blame", "out_for", "trusted"]

# At full size results are compared with those of another implementation, whose rounding is its own.
RELATIVE, ABSOLUTE = 1e-3, 1e-4


def trusted() -> AbstractContextManager[None]:
    """Our own implementations run within: a case is never made by one that is yet to be checked."""
    return K.use("numba" if find_spec("numba") else "numpy")


class Checks:
    """The checks of a benchmark's kernel, whose expectations are computed once for all of its implementations."""

    def __init__(self, benchmark: Benchmark):
        self.kernel, self._benchmark = K.all_kernels()[benchmark.name], benchmark
        with trusted():
            cases = list(_small_cases(benchmark))
        with K.use("numpy"):  # also for what references call
            self._cases = [(words, case, Expected(self.kernel.reference, case)) for words, case in cases]

    def complaint(self, name: str) -> str | None:
        """What is wrong with the implementation `name`, in which of the small cases; None where it is right."""
        function = self.kernel.implementations[name].function
        if function is self.kernel.reference:
            return None
        for words, case, expected in self._cases:
            try:
                self._check(self.kernel[name], case, expected)
            except Exception as error:
                return f"{self.kernel.name} {words}: {blame(error, function)}"
        return None

    def complaint_at_full_size(self, name: str, case: Case, expected: list[np.ndarray]) -> str | None:
        """The same for the case that is timed, against the results of our own implementation."""
        try:
            assert_roughly_equal(self.kernel[name](*case.arrays, **case.settings), expected)
        except Exception as error:
            return f"{self._benchmark}: {blame(error, self.kernel.implementations[name].function)}"
        return None

    def _check(self, run: Callable[..., Any], case: Case, expected: Expected) -> None:
        given = case.copy()
        expected.check(run(*case.arrays, **case.settings), "its result")
        for name, a, b in zip(
            inspect.signature(self.kernel.reference).parameters, case.arrays, given.arrays, strict=False
        ):
            if a is not None and not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                raise WrongResultError(f"it wrote to its argument {name}")
        out = out_for(self.kernel, expected.results)
        if out is None:
            return
        result = run(*case.arrays, **case.settings, out=out)
        expected.check(result, "with out=, its result")
        received, buffers = RECEIVED_BY_OUT.get(self.kernel.name, (0,)), out if isinstance(out, tuple) else (out,)
        for i, buffer in zip(received, buffers, strict=True):
            if (result[i] if isinstance(result, tuple) else result) is not buffer:
                raise WrongResultError("it did not return the array that it was given as out=")


def _small_cases(benchmark: Benchmark) -> Iterator[tuple[str, Case]]:
    small, odd = benchmark.build(*benchmark.small), benchmark.build(*benchmark.odd)
    yield size(benchmark.small), small
    yield f"{size(benchmark.small)}, not contiguous", small.map(_in_wider_rows)
    yield size(benchmark.odd), odd
    if benchmark.outlier is not None:
        x = odd.arrays[0].copy()
        x.flat[0] = benchmark.outlier
        yield f"{size(benchmark.odd)}, an outlier of {benchmark.outlier:g}", replace(odd, arrays=(x, *odd.arrays[1:]))


def _in_wider_rows(a: np.ndarray) -> np.ndarray:
    """The same numbers as a part of the rows of a larger array."""
    if a.ndim == 0:
        return a
    wide = np.zeros((*a.shape[:-1], a.shape[-1] + 3), a.dtype)
    wide[..., 2:-1] = a
    return wide[..., 2:-1]


def out_for(kernel: K.Kernel, results: list[np.ndarray]) -> Any:
    """What the kernel takes as `out=` for such results, full of NaN; None where it takes nothing."""
    if "out" not in inspect.signature(kernel.reference).parameters:
        return None
    received = tuple(np.full_like(results[i], np.nan) for i in RECEIVED_BY_OUT.get(kernel.name, (0,)))
    return received if len(received) > 1 else received[0]


def assert_roughly_equal(result: Any, expected: list[np.ndarray]) -> None:
    """Raise WrongResultError unless the results agree as far as two ways of rounding do; the first ones, if fewer."""
    for i, (r, e) in enumerate(zip(outputs(result), expected, strict=False)):
        name = "its result" if len(expected) == 1 else f"its result[{i}]"
        if r.shape != e.shape:
            raise WrongResultError(f"{name} has shape {r.shape}, expected {e.shape}")
        off = ~(abs(r - e) <= RELATIVE * abs(e) + ABSOLUTE * abs(e).max())  # also where r is NaN
        if off.any():
            where = first(off)
            raise WrongResultError(f"{name}{list(where)} is {r[where]}, expected about {e[where]}")


def blame(error: Exception, function: Callable[..., Any]) -> str:
    """An error in words: a wrong result, or what was raised, and on which line of the function's file."""
    if isinstance(error, WrongResultError):
        return str(error)
    file = inspect.getsourcefile(inspect.unwrap(function))
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    place = f"{file}:{lines[-1]}: " if lines else ""
    return f"{place}{type(error).__name__}: {error}"
