"""One table of kernels: what each computes, which implementations it has, and which one runs.

A kernel is defined by its NumPy reference, `@Kernel def softmax(x, *, out=None)`. Other implementations attach to
it with `@softmax.implement("numba", dtypes=("float32",))`; they may live in any module, also outside this
package. Arrays are positional, settings keyword-only. A call looks at the kinds of its arrays (class and dtype)
and runs the implementation that was registered last among those that take them; `use("numpy")` forces one.

The folder of a kernel is its registration: beside `reference.py`, the module `cpu.py` is imported at the first
call where Numba is installed, and `gpu.py` at the first call with arrays on a card, so that importing this package
loads NumPy alone.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import device_of

__all__ = ["Implementation", "Kernel", "all_kernels", "use"]

Function = Callable[..., Any]

# A module beside a kernel's reference, by the device of its arrays, and the package without which it is not imported:
# CuPy is there already where an array is CuPy's.
_SIBLINGS = {"cpu": "numba", "gpu": None}
_KERNELS: dict[str, Kernel] = {}
_forced: ContextVar[str | None] = ContextVar("forced implementation", default=None)


@dataclass(frozen=True)
class Implementation:
    """One way to compute a kernel.

    device: "cpu", "gpu", or None for both. dtypes: the names of the floating dtypes (or packed formats) it
    takes, None for all. when: a predicate over the call's arguments, for variants that pay only for some shapes;
    neither a call by name nor `use` asks it.
    """

    name: str
    function: Function
    device: str | None = "cpu"
    dtypes: tuple[str, ...] | None = None
    when: Function | None = None

    def takes(self, device: str | None, dtypes: set[str]) -> bool:
        """Whether arrays of these floating dtypes on this device are for this implementation."""
        return (self.device is None or device in (None, self.device)) and (
            self.dtypes is None or dtypes <= set(self.dtypes)
        )


class Kernel:
    """An operation on arrays, defined by the NumPy function it decorates.

    Calling it checks the arguments and runs the best implementation for them; `kernel["numba"](...)` runs one by
    name, after the same check. `kernel.implementations` maps the names to what is registered.
    """

    def __init__(self, reference: Function):
        self.name = reference.__name__
        if self.name in _KERNELS:
            raise ValueError(f"a kernel named {self.name!r} exists already, in {_KERNELS[self.name].__module__}")
        functools.update_wrapper(self, reference)
        self.reference = reference
        self._check: Function | None = None
        self._implementations = {"numpy": Implementation("numpy", reference, device=None)}
        self._choices: dict[tuple[Any, ...], tuple[Implementation, ...]] = {}
        self._loaded: set[str] = set()
        _KERNELS[self.name] = self

    def __repr__(self) -> str:
        return f"<kernel {self.name}: {', '.join(self._implementations)}>"

    @property
    def implementations(self) -> dict[str, Implementation]:
        """Every implementation by its name, the reference first."""
        self._load(*_SIBLINGS)
        return dict(self._implementations)

    def check(self, function: Function) -> Function:
        """Decorator: `function`, with the kernel's own signature, raises for arguments no implementation takes."""
        self._check = function
        return function

    def implement(
        self,
        name: str,
        *,
        device: str | None = "cpu",
        dtypes: tuple[str, ...] | None = None,
        when: Function | None = None,
    ) -> Callable[[Function], Function]:
        """Decorator: register a function with the reference's signature as the implementation `name`."""

        def register(function: Function) -> Function:
            if name in self._implementations:
                raise ValueError(f"kernel {self.name} already has an implementation named {name!r}")
            expected, received = inspect.signature(self.reference), inspect.signature(function)
            if _called_as(expected) != _called_as(received):
                raise ValueError(f"{self.name}[{name!r}] must be called as {expected}, not as {received}")
            self._implementations[name] = Implementation(name, function, device, dtypes, when)
            self._choices.clear()
            return function

        return register

    def __getitem__(self, name: str) -> Function:
        """The implementation `name`, behind the kernel's checks but for `when`."""
        implementation = self.implementations.get(name)
        if implementation is None:
            raise KeyError(f"kernel {self.name} has no implementation {name!r}; it has {list(self._implementations)}")

        def run(*arrays: Any, **settings: Any) -> Any:
            self._candidates(name, arrays)
            if self._check is not None:
                self._check(*arrays, **settings)
            return implementation.function(*arrays, **settings)

        return run

    def __call__(self, *arrays: Any, **settings: Any) -> Any:
        forced = _forced.get()
        try:  # what `_candidates` does, without a call: small models are bound by such microseconds
            choices = self._choices[(forced, *[(type(a), a.dtype) if a is not None else None for a in arrays])]
        except (AttributeError, KeyError):
            choices = self._candidates(forced, arrays)
        if self._check is not None:
            self._check(*arrays, **settings)
        for choice in choices:  # unless one is forced, the last is the reference, which has no `when`
            if choice.when is None or choice.name == forced or choice.when(*arrays, **settings):
                break
        return choice.function(*arrays, **settings)

    def _candidates(self, forced: str | None, arrays: tuple[Any, ...]) -> tuple[Implementation, ...]:
        """The implementations for these arrays, best first; a table look-up from the second such call on."""
        try:
            key = (forced, *[(type(a), a.dtype) if a is not None else None for a in arrays])
        except AttributeError:
            kinds = ", ".join(type(a).__name__ for a in arrays)
            raise TypeError(f"{self.name} expects arrays, received ({kinds})") from None
        return self._choices.get(key) or self._choose(key, arrays)

    def _choose(self, key: tuple[Any, ...], arrays: tuple[Any, ...]) -> tuple[Implementation, ...]:
        """The implementations for these kinds of arrays, best first; remembered under `key`."""
        devices = {device_of(a) for a in arrays if a is not None}
        self._load(*devices)
        dtypes = {str(a.dtype) for a in arrays if a is not None and _is_weighty(a.dtype)}
        if not dtypes:
            kinds = ", ".join(str(a.dtype) for a in arrays if a is not None)
            raise TypeError(f"{self.name} expects floating arrays, by position; received ({kinds})")
        if len(devices) > 1:
            raise TypeError(f"{self.name}: its arrays lie on different devices: {sorted(devices)}")
        if len(dtypes) > 1 and dtypes <= {"float16", "float32", "float64"}:
            raise TypeError(f"{self.name}: its arrays mix the dtypes {sorted(dtypes)}; convert them to one")
        device = next(iter(devices), None)
        candidates = list(reversed(self._implementations.values()))
        if (forced := key[0]) in self._implementations:
            candidates = [self._implementations[forced]]
        choices = tuple(c for c in candidates if c.takes(device, dtypes))
        if not choices:
            there = ", ".join(
                f"{c.name} ({c.device or 'any device'}, {'/'.join(c.dtypes) if c.dtypes else 'any dtype'})"
                for c in candidates
            )
            raise TypeError(f"{self.name}: no implementation for {sorted(dtypes)} on {device}; there is {there}")
        self._choices[key] = choices
        return choices

    def _load(self, *devices: str) -> None:
        """Import the modules beside a `reference.py` for these devices, where their packages are installed. Once."""
        for device in devices:
            if device not in self._loaded:
                self._import_sibling(device)
                self._loaded.add(device)  # only now: another thread that calls meanwhile waits in the import

    def _import_sibling(self, device: str) -> None:
        package, _, module = self.reference.__module__.rpartition(".")
        if module != "reference" or importlib.util.find_spec(f"{package}.{device}") is None:
            return
        needs = _SIBLINGS[device]
        if needs is None or importlib.util.find_spec(needs) is not None:
            importlib.import_module(f"{package}.{device}")
        else:
            _say_numba_is_missing()


def _called_as(signature: inspect.Signature) -> list[tuple[Any, ...]]:
    """The names, kinds and defaults of the parameters; annotations and docstrings may differ."""
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def _is_weighty(dtype: Any) -> bool:
    """Whether a dtype takes part in the choice: floating numbers and packed formats, not ids, masks and lengths."""
    return not isinstance(dtype, np.dtype) or dtype.kind == "f"


@functools.cache
def _say_numba_is_missing() -> None:
    logging.getLogger("tinylm").warning(
        'tinylm: Numba is not installed, the NumPy references run; pip install "tinylm[fast]" gets the fast kernels'
    )


def all_kernels() -> dict[str, Kernel]:
    """Every registered kernel by its name, in alphabetical order."""
    return dict(sorted(_KERNELS.items()))


@contextmanager
def use(name: str) -> Iterator[None]:
    """Within the block, every kernel that has an implementation `name` runs that one.

    `use("numpy")` runs the references. Raises ValueError where no kernel has such an implementation; a kernel that
    has it raises TypeError for dtypes that it does not take. Holds for the current thread or task.
    """
    names = {n for kernel in _KERNELS.values() for n in kernel.implementations}
    if name not in names:
        raise ValueError(f"no kernel has an implementation {name!r}; there are {sorted(names)}")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)
