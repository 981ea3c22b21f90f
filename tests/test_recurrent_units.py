"""The LSTM over a few rows, whose units are shared by threads that meet in memory at each step."""

from __future__ import annotations

import numpy as np
import pytest
from test_kernels import assert_same_bits, threads

import tinylm_kernels as K
from tinylm.bench.calls import Case
from tinylm.bench.tolerance import assert_matches

pytest.importorskip("numba")

# (B, T, I, H): one part and several, whole ones and not; one step, whose input the kernel projects itself.
SHAPES = [(1, 9, 64, 200), (3, 5, 7, 130), (2, 6, 64, 64), (1, 1, 70, 129), (3, 1, 1, 192), (1, 1, 1, 1)]
shapes = pytest.mark.parametrize("shape", SHAPES)
options = pytest.mark.parametrize("options", [(), ("lengths",), ("lengths", "peepholes")], ids="-".join)


def forward(shape, options):
    """A call of the kernel `lstm`."""
    rng = np.random.default_rng(0)
    B, T, inputs, H = shape

    def normal(*size, scale=1.0):
        return rng.normal(0, scale, size).astype(np.float32)

    weights = normal(4 * H, inputs, scale=inputs**-0.5), normal(4 * H, H, scale=H**-0.5), normal(4 * H)
    lengths = rng.integers(0, T + 1, B) if "lengths" in options else None
    peepholes = normal(3 * H, scale=0.25) if "peepholes" in options else None
    return Case((normal(B, T, inputs), *weights, normal(B, H), normal(B, H), lengths, peepholes), {})


def backward(shape, options):
    """The call of `lstm_backward` that belongs to it."""
    x, w_input, w_hidden, _, h0, c0, *optional = forward(shape, options).arrays
    y, h, c, gates, cells = K.lstm["numpy"](*forward(shape, options).arrays)
    d = (np.random.default_rng(seed).standard_normal(a.shape, np.float32) for seed, a in enumerate((y, h, c)))
    return Case((*d, x, w_input, w_hidden, h0, c0, y, gates, cells, *optional), {})


@shapes
@options
def test_it_agrees_with_the_reference(shape, options):
    for kernel, case in ((K.lstm, forward(shape, options)), (K.lstm_backward, backward(shape, options))):
        assert_matches(kernel, case, kernel["numba_units"](*case.arrays))


@shapes
@options
def test_any_number_of_threads_gives_the_same_bits(shape, options):
    for kernel, case in ((K.lstm, forward(shape, options)), (K.lstm_backward, backward(shape, options))):
        with threads(1, parallel_from=0):
            alone = kernel["numba_units"](*case.arrays)
        with threads(2, parallel_from=0):
            for _ in range(20):  # in which threads take turns in many ways
                assert_same_bits(kernel["numba_units"](*case.arrays), alone)
