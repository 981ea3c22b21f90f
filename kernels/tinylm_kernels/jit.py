"""How the Numba kernels are compiled, cached and launched. Imported by the `cpu.py` modules only.

Every kernel is written once and compiled twice where it pays: `Twins` holds a serial version, for small arrays and
one thread, and a parallel one. Compiled code is kept in a cache of our own, in a folder named by a hash of all
kernel sources: Numba's own cache does not notice when a helper in another module changes, and does not tell the
serial from the parallel twin of one function.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.codegen import get_host_cpu_features

from .cache import cache_folder
from .pool import empty

__all__ = [
    "EXACT",
    "FAST",
    "LAUNCH",
    "STRICT",
    "Twins",
    "as_carray",
    "as_rows",
    "compiles_for",
    "deliver",
    "jit",
    "kernel_cache_folder",
    "room_for",
]

# Sums may be reordered and multiply-adds fused, but NaN and infinity keep their meaning: with all of fast-math,
# isnan() folds to False and masks of -inf break.
FAST = frozenset({"reassoc", "contract", "arcp", "nsz"})
EXACT = frozenset({"contract"})
STRICT: frozenset[str] = frozenset()  # every operation as it is written

# Below this many elements of work a launch of the thread pool (2 to 10 us) costs more than it saves.
PARALLEL_FROM = 50_000


@functools.cache
def kernel_cache_folder() -> Path | None:
    """The folder of the compiled kernels, made if need be.

    None, so that each process compiles, where it cannot be written, and in an app that was frozen without the sources
    of the kernels: nothing would tell those of one version of it from those of the next.
    """
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    if not sources:
        return None
    versions = f"{numba.__version__} {llvmlite.__version__} {np.__version__}"
    digest = hashlib.blake2b(versions.encode(), digest_size=8)
    for source in sources:
        digest.update(source.read_bytes())
    folder = cache_folder() / "kernels" / digest.hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{threading.get_native_id()}"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError:
        return None
    return folder


def compiles_for(feature: str) -> bool:
    """Whether kernels are compiled for a processor with this LLVM feature, such as "avx512f".

    As far as Numba's settings tell: NUMBA_CPU_NAME hides the features.
    """
    settings: Any = config  # which makes its names when it is imported
    features = settings.CPU_FEATURES
    if features is None:
        features = get_host_cpu_features() if settings.CPU_NAME is None else ""
    return f"+{feature}" in features.split(",")


class _Locator:
    """Tells Numba's cache where the code of one function lies, and which sources it stands for."""

    def __init__(self, folder: Path, line: int):
        self._folder, self._line = folder, line

    def get_cache_path(self) -> str:
        return str(self._folder)

    def ensure_cache_path(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def get_source_stamp(self) -> str:
        return self._folder.parent.parent.name

    def get_disambiguator(self) -> str:
        return str(self._line)


def _cache(function: Callable[..., Any], twin: str) -> FunctionCache | None:
    root = kernel_cache_folder()
    if root is None:
        return None
    folder = root / function.__module__ / twin

    class Locator(_Locator):
        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> _Locator:
            return cls(folder, py_func.__code__.co_firstlineno)

    class Impl(CompileResultCacheImpl):
        _locator_classes = [Locator]  # noqa: RUF012 - the base class declares it like this

    class Cache(FunctionCache):
        _impl_class = Impl

    return Cache(function)


def jit(
    function: Callable[..., Any] | None = None,
    *,
    parallel: bool = False,
    fastmath: frozenset[str] = FAST,
    inline: str = "never",
    forceinline: bool = False,
) -> Any:
    """Compile with Numba at the first call: no Python objects, IEEE division, the GIL released, cached on disk.

    forceinline is for what is called in an inner loop: LLVM does not vectorise a loop with a call in it, and by
    itself does not inline a long function.
    """
    if function is None:
        return functools.partial(jit, parallel=parallel, fastmath=fastmath, inline=inline, forceinline=forceinline)
    dispatcher: Any = numba.njit(  # type: ignore[call-overload] # its stubs know no frozenset of settings
        function,
        parallel=parallel,
        fastmath=set(fastmath),
        error_model="numpy",
        nogil=True,
        inline=inline,
        forceinline=forceinline,
    )
    cache = _cache(function, "parallel" if parallel else "serial")
    if cache is not None:
        dispatcher._cache = cache
    return dispatcher


class _Launch:
    """What it takes to run a kernel in several threads: `with LAUNCH:`, which one Python thread at a time has.

    Numba's workqueue layer aborts the process when two launch at once, and no layer gains from it. In a process that
    was forked from one with kernels nobody launches: the threads did not come along, and Numba's OpenMP layer ends a
    process that calls for them. There every kernel runs in the thread that calls it, and gives the same bits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forked = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forbid)

    def _forbid(self) -> None:
        self._lock, self._forked = threading.Lock(), True  # whoever had it may not be here

    def threads(self) -> int:
        """How many threads a kernel that is called now may use."""
        return 1 if self._forked else numba.get_num_threads()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


LAUNCH = _Launch()


class Twins:
    """One function with prange loops, compiled as a serial and as a parallel kernel.

    Call it with the amount of work (elements touched) first: below PARALLEL_FROM, or with one thread, the serial
    twin runs. Both give the same bits, provided that the loop's chunks do not depend on the number of threads.
    Where prange runs over elements instead of rows, the threads' ends decide which elements fall into the scalar
    rest of a vector loop; that rest may be reassociated differently, so such a function is compiled as EXACT.
    """

    def __init__(self, function: Callable[..., None], *, fastmath: frozenset[str] = FAST):
        self.serial = jit(function, fastmath=fastmath)
        self.parallel = jit(function, fastmath=fastmath, parallel=True)
        functools.update_wrapper(self, function)

    def __call__(self, work: int, *arguments: Any) -> None:
        if work < PARALLEL_FROM or LAUNCH.threads() == 1:
            self.serial(*arguments)
        else:
            with LAUNCH:
                self.parallel(*arguments)


def as_carray(x: np.ndarray) -> np.ndarray:
    """`x` itself where it is C-contiguous, aligned and writeable, else a copy that is.

    Numba compiles a function anew for every layout it meets, read-only arrays among them; like this there is one.
    """
    return x if x.flags.carray else np.array(x, order="C")


def as_rows(x: np.ndarray) -> np.ndarray:
    """`as_carray` of x, seen as (N, C)."""
    return as_carray(x).reshape(-1, x.shape[-1])


def room_for(out: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """A C-contiguous float32 array of this shape to write a result to: `out` where it is one, else a new one."""
    if out is not None and out.flags.carray and out.dtype == np.float32:
        return out
    return empty(shape)


def deliver(result: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """What a kernel returns once `result`, from `room_for`, is full: `out`, if there is one, with the result in it."""
    if out is None or out is result:
        return result
    out[...] = result
    return out
