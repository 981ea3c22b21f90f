"""First weights as Keras draws them: the distributions are Keras', the random numbers our own.

Source: Glorot and Bengio 2010; He et al. 2015, arXiv:1502.01852; Saxe et al. 2013, arXiv:1312.6120 (orthogonal).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinylm.errors import TinylmError

__all__ = ["INITIALIZERS", "FirstWeights", "check_initializer"]

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def _fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Keras' count of inputs and outputs: the last two axes, times the product of those before them."""
    if len(shape) < 2:
        return float(shape[0]), float(shape[0])
    field = math.prod(shape[:-2])
    return float(shape[-2] * field), float(shape[-1] * field)


def _uniform(bound: Callable[[float, float], float]) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        limit = bound(*_fans(shape))
        return rng.uniform(-limit, limit, shape)

    return draw


def _normal(std: Callable[[float, float], float]) -> Draw:
    """Normal numbers, drawn again where they lie more than two deviations out; `std` is that of what is left."""
    of_the_whole = 0.87962566103423978  # the standard deviation of a normal distribution cut at 2

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        values = rng.standard_normal(shape)
        while (far := np.abs(values) > 2).any():
            values[far] = rng.standard_normal(int(far.sum()))
        return values * (std(*_fans(shape)) / of_the_whole)

    return draw


def _orthogonal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # uniform over the orthogonal matrices
    return (q if rows >= columns else q.T).reshape(shape)


def _forget_bias(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros, and ones for the forget gate: the second quarter. Source: Jozefowicz et al. 2015."""
    bias = np.zeros(shape)
    bias[shape[0] // 4 : shape[0] // 2] = 1
    return bias


INITIALIZERS: dict[str, Draw] = {
    "glorot_uniform": _uniform(lambda i, o: math.sqrt(6 / (i + o))),
    "glorot_normal": _normal(lambda i, o: math.sqrt(2 / (i + o))),
    "he_uniform": _uniform(lambda i, o: math.sqrt(6 / i)),
    "he_normal": _normal(lambda i, o: math.sqrt(2 / i)),
    "lecun_uniform": _uniform(lambda i, o: math.sqrt(3 / i)),
    "lecun_normal": _normal(lambda i, o: math.sqrt(1 / i)),
    "uniform": _uniform(lambda i, o: 0.05),
    "random_uniform": _uniform(lambda i, o: 0.05),
    "normal": lambda rng, shape: rng.normal(0, 0.05, shape),
    "random_normal": lambda rng, shape: rng.normal(0, 0.05, shape),
    "orthogonal": _orthogonal,
    "zeros": lambda rng, shape: np.zeros(shape),
    "ones": lambda rng, shape: np.ones(shape),
    "unit_forget_bias": _forget_bias,
}


def check_initializer(layer: str, argument: str, name: str) -> None:
    """Raise TinylmError unless the initializer exists."""
    if name not in INITIALIZERS:
        raise TinylmError(f"{layer}: {argument} is {name!r}; the choices are {', '.join(INITIALIZERS)}")


class FirstWeights:
    """What `build` draws from: one stream of random numbers, and numbers that tell dropout layers apart."""

    def __init__(self, seed: int = 0):
        self._rng = np.random.default_rng(seed)
        self._sites = 0

    def draw(self, initializer: str, shape: tuple[int, ...]) -> np.ndarray:
        """float64 numbers of this shape, by the name of an initializer."""
        return INITIALIZERS[initializer](self._rng, shape)

    def next_site(self) -> int:
        """A number that no other dropout layer of the model has."""
        self._sites += 1
        return self._sites - 1
