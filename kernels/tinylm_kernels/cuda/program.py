"""Starts the kernels of a .cu file through CuPy, with every argument checked: CuPy itself hands on what it gets.

It would take a Python float for a double where a kernel expects a float, and an array for its first number whatever its
strides: the kernel would read nonsense. Here that is a TypeError that names the kernel and the argument.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import array_module, device_of
from .source import Parameter, Source, read_source

__all__ = ["NUMBER_TYPES", "OPTIONS", "LaunchError", "Program"]

OPTIONS = ("-std=c++17",)
# What T may be, by the dtype of the arrays.
NUMBER_TYPES = {"float32": "float", "float16": "float16", "bfloat16": "bfloat16"}
_DTYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "int": "int32",
    "unsigned": "uint32",
    "long long": "int64",
    "unsigned long long": "uint64",
    "signed char": "int8",
    "unsigned char": "uint8",
    "bool": "bool",
}
# The limits of every card from compute capability 7.0 on. Source: CUDA C++ programming guide, technical specifications.
MOST_THREADS = 1024
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
SHARED_WITHOUT_ASKING = 48 * 1024


class LaunchError(RuntimeError):
    """A card did not start a kernel."""


class Program:
    """The kernels of the .cu file `name` that lies beside the module `beside` (its __file__).

    variants: the macros with which a launch may compile it, beside the number type.
    """

    def __init__(self, beside: str, name: str, variants: Sequence[dict[str, Any]] = ({},)):
        self.path, self.variants = Path(beside).with_name(name), tuple(variants)
        self._modules: dict[tuple[Any, ...], Any] = {}

    @property
    def source(self) -> Source:
        """Its text and the signatures of its kernels."""
        return read_source(self.path)

    def launch(
        self,
        kernel: str,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        *arguments: Any,
        shared: int = 0,
        defines: dict[str, Any] | None = None,
    ) -> None:
        """Start a kernel: `grid` blocks of `block` threads, `shared` bytes of dynamic shared memory.

        arguments: CuPy's arrays, None for a null pointer, numbers; as the kernel's signature says. The number type T
        is the dtype of the arrays that are declared with it; defines: one of the variants.
        Raises TypeError or ValueError for arguments that do not fit, LaunchError with what was asked where the card
        refuses.
        """
        signature = self.source.kernels[kernel]
        number = _number_type(kernel, signature.parameters, arguments)
        checked = tuple(
            _check(kernel, parameter, argument, number)
            for parameter, argument in zip(signature.parameters, arguments, strict=True)
        )
        grid, block = _triple(grid), _triple(block)
        _check_launch(kernel, grid, block)
        if 0 in grid:
            return  # nothing to do, which a card takes for a mistake
        xp = array_module(next(a for a in arguments if device_of(a) == "gpu"))
        function = self._module(xp, {"NUMBER": NUMBER_TYPES[number], **(defines or {})}).get_function(kernel)
        if shared > SHARED_WITHOUT_ASKING:
            function.max_dynamic_shared_size_bytes = shared
        try:
            function(grid, block, checked, shared_mem=shared)
        except xp.cuda.driver.CUDADriverError as error:
            raise LaunchError(
                f"{kernel} did not start: {error}; grid {grid}, block {block}, {shared} bytes of shared memory, "
                f"arguments ({', '.join(map(_describe, arguments))})"
            ) from error

    def _module(self, xp: Any, defines: dict[str, Any]) -> Any:
        key = (xp, xp.cuda.Device().id, *sorted(defines.items()))
        if key not in self._modules:
            macros = (f"-D{name}={value}" for name, value in defines.items())
            self._modules[key] = xp.RawModule(code=self.source.text, options=(*OPTIONS, *macros))
        return self._modules[key]


def _number_type(kernel: str, parameters: Sequence[Parameter], arguments: Sequence[Any]) -> str:
    dtypes = {str(a.dtype) for p, a in zip(parameters, arguments, strict=True) if p.type == "T" and a is not None}
    if len(dtypes) > 1 or not dtypes <= set(NUMBER_TYPES):
        raise TypeError(f"{kernel} takes arrays of one of {list(NUMBER_TYPES)}, received {sorted(dtypes)}")
    return dtypes.pop() if dtypes else "float32"


def _check(kernel: str, parameter: Parameter, argument: Any, number: str) -> Any:
    """The argument in the form that CuPy hands on unchanged."""
    expected = number if parameter.type == "T" else _DTYPES[parameter.type]
    what = f"{kernel}: {parameter.name}"
    if not parameter.pointer:
        return _scalar(what, argument, np.dtype(expected))
    if argument is None:
        return np.uintp(0)
    if device_of(argument) != "gpu":
        raise TypeError(f"{what} is a {type(argument).__name__}, expected an array on the card")
    if str(argument.dtype) != expected:
        raise TypeError(f"{what} holds {argument.dtype}, expected {expected}")
    if not argument.flags.c_contiguous:
        raise ValueError(f"{what} has strides {argument.strides} for the shape {argument.shape}, expected C-contiguous")
    return argument


def _scalar(what: str, value: Any, dtype: np.dtype) -> Any:
    if device_of(value) == "gpu":
        raise TypeError(f"{what} is an array on the card, expected a number")
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    if limits is not None and (value != int(value) or not limits.min <= value <= limits.max):
        raise ValueError(f"{what} is {value}, which a {dtype} does not hold")
    return dtype.type(value)


def _check_launch(kernel: str, grid: tuple[int, ...], block: tuple[int, ...]) -> None:
    threads = math.prod(block)
    if not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"{kernel}: a block of {block} has {threads} threads, expected 1 to {MOST_THREADS}")
    if any(n > most for n, most in zip(grid, MOST_BLOCKS, strict=True)):
        raise ValueError(f"{kernel}: the grid {grid} has more blocks than {MOST_BLOCKS}")


def _triple(numbers: int | Sequence[int]) -> tuple[int, int, int]:
    x, y, z, *_ = (*((numbers,) if isinstance(numbers, int) else numbers), 1, 1)
    return x, y, z


def _describe(argument: Any) -> str:
    return f"{argument.dtype}{argument.shape}" if hasattr(argument, "shape") and argument.shape else str(argument)
