"""A stand-in for CuPy on a machine without a card: its interface around NumPy's arrays, kernels on the emulator.

It refuses what CuPy refuses: a NumPy array where one of the card's is needed, a conversion to the host that nobody
asked for, a name that CuPy has not or that the engine may not use (`arrays.SHARED_NAMES`). It counts what makes the
host wait for the card, so that a test can say that a training step does not.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arrays import SHARED_NAMES
from ..cuda.source import parse_source
from .run import Emulated, Launch

__all__ = ["Settings", "emulated_gpu"]


class Settings:
    """How the stand-in runs kernels, and what it has counted.

    checks: watch every access of memory. order: that of threads and blocks. edit: what is done to the text of a .cu
    file before it is compiled, so that one can put a mistake into it. trace: the block and thread whose steps each
    launch keeps. launches: the kernels that ran, in order, and how. waits: how often the host has waited for the card.
    """

    def __init__(self, checks: bool, order: int, edit: Callable[[str], str], trace: tuple[int, int] | None):
        self.checks, self.order, self.edit, self.trace = checks, order, edit, trace
        self.waits = 0
        self.launches: list[tuple[str, Launch]] = []


class ndarray:
    """An array on the card. Nothing of NumPy's reaches what is in it but by `get`."""

    __module__ = "cupy"
    __array_priority__ = 100
    __slots__ = ("_host", "_settings")

    def __init__(self, host: np.ndarray, settings: Settings):
        self._host, self._settings = host, settings

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def get(self) -> np.ndarray:
        """The numbers, as a NumPy array; the host waits for them."""
        self._settings.waits += 1
        return self._host.copy()

    def item(self, *where: Any) -> Any:
        """One number; the host waits for it."""
        self._settings.waits += 1
        return self._host.item(*where)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        return len(self._host)

    def __repr__(self) -> str:
        return repr(self.get())

    def __getitem__(self, where: Any) -> Any:
        return self._wrap(self._host[self._bare(where)])

    def __setitem__(self, where: Any, value: Any) -> None:
        self._host[self._bare(where)] = self._bare(value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what NumPy would look for to get at the numbers
            raise AttributeError(f"cupy.ndarray has no attribute {name}")
        value = getattr(self._host, name)
        if isinstance(value, np.ndarray):
            return self._wrap(value)
        if not callable(value):
            return value

        def method(*arguments: Any, **settings: Any) -> Any:
            return self._wrap(value(*map(self._bare, arguments), **{k: self._bare(v) for k, v in settings.items()}))

        return method

    def _wrap(self, value: Any) -> Any:
        return _wrap(value, self._settings)

    def _bare(self, value: Any) -> Any:
        return _bare(value)

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        if method != "__call__":
            raise TypeError(f"CuPy has no {function.__name__}.{method}")
        return _call(function, self._settings, inputs, settings)


def _operator(name: str) -> Callable[..., Any]:
    def operate(self: ndarray, *others: Any) -> Any:
        if any(isinstance(o, np.ndarray) for o in others):
            raise TypeError(f"Unsupported type <class 'numpy.ndarray'> in {name}")
        result = getattr(self._host, name)(*map(_bare, others))
        return self if result is self._host else self._wrap(result)

    return operate


_OPERATORS = """
add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv floordiv mod pow rpow ipow matmul neg abs
lt le gt ge eq ne and or xor invert lshift rshift iand ior
"""
for _name in _OPERATORS.split():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _wrap(value: Any, settings: Settings) -> Any:
    """What is an array or a number of NumPy's, on the card: a sum is an array without axes there."""
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value), settings)
    if isinstance(value, (tuple, list)):
        return type(value)(_wrap(v, settings) for v in value)
    return value


def _bare(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (tuple, list)):
        return type(value)(map(_bare, value))
    return value


def _call(function: Callable[..., Any], settings: Settings, inputs: Any, options: dict[str, Any]) -> Any:
    out = options.get("out")
    result = function(*map(_bare, inputs), **{k: _bare(v) for k, v in options.items()})
    if out is not None:
        return out[0] if isinstance(out, tuple) and len(out) == 1 else out
    return _wrap(result, settings)


class _Function:
    """A kernel that CuPy's RawModule has compiled."""

    def __init__(self, program: Emulated, name: str, settings: Settings):
        self._program, self._name, self._settings = program, name, settings
        self.max_dynamic_shared_size_bytes = 48 * 1024

    def __call__(self, grid: Any, block: Any, arguments: tuple[Any, ...], *, shared_mem: int = 0) -> None:
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise _CUDADriverError(f"CUDA_ERROR_INVALID_VALUE: {shared_mem} bytes of shared memory were not asked for")
        launch = Launch(grid, block, shared_mem, self._settings.order, self._settings.trace)
        self._settings.launches.append((self._name, launch))
        bare = tuple(None if isinstance(a, np.uintp) and a == 0 else _bare(a) for a in arguments)
        self._program.run(self._name, launch, bare)


class _CUDADriverError(RuntimeError):
    """CuPy's name for what the driver refuses."""


def _module(settings: Settings) -> types.ModuleType:
    """The stand-in as a module: the functions that the engine may use, and what loads kernels."""
    cupy = types.ModuleType("cupy")
    cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    for name in SHARED_NAMES:
        value = getattr(np, name)
        setattr(cupy, name, _function(value, settings) if callable(value) and not isinstance(value, type) else value)

    class RawModule:
        """CUDA C, compiled for the emulator."""

        def __init__(self, *, code: str, options: tuple[str, ...] = ()):
            defines = dict(o[2:].split("=", 1) for o in options if o.startswith("-D"))
            self._program = Emulated(parse_source("cupy", settings.edit(code)), defines, checks=settings.checks)

        def get_function(self, name: str) -> _Function:
            """A kernel by its name."""
            return _Function(self._program, name, settings)

    def asarray(values: Any, dtype: Any = None) -> ndarray:
        return values if isinstance(values, ndarray) and dtype is None else array(values, dtype)

    def array(values: Any, dtype: Any = None) -> ndarray:
        return ndarray(np.array(values._host if isinstance(values, ndarray) else values, dtype), settings)

    def asnumpy(values: Any) -> np.ndarray:
        return values.get() if isinstance(values, ndarray) else np.asarray(values)

    cupy.__dict__.update(ndarray=ndarray, RawModule=RawModule, asarray=asarray, array=array, asnumpy=asnumpy)
    device = types.SimpleNamespace(id=0)
    cupy.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        Device=lambda number=0: device, driver=types.SimpleNamespace(CUDADriverError=_CUDADriverError)
    )
    return cupy


def _function(value: Any, settings: Settings) -> Callable[..., Any]:
    def function(*inputs: Any, **options: Any) -> Any:
        result = _call(value, settings, inputs, options)
        # New memory on the card holds what was there before; here NaN, so that a kernel that leaves some out is seen.
        if value in (np.empty, np.empty_like) and result.dtype.kind == "f":
            result._host.fill(np.nan)
        return result

    return function


@contextmanager
def emulated_gpu(
    *,
    checks: bool = True,
    order: int = 0,
    edit: Callable[[str], str] = str,
    trace: tuple[int, int] | None = None,
) -> Iterator[Settings]:
    """Within the block `import cupy` gives the stand-in; see Settings. Raises RuntimeError where CuPy is imported."""
    if "cupy" in sys.modules:
        raise RuntimeError("CuPy is imported already: the stand-in would be taken for it")
    settings = Settings(checks, order, edit, trace)
    sys.modules["cupy"] = _module(settings)
    try:
        yield settings
    finally:
        del sys.modules["cupy"]
