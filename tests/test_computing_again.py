"""Values that are cheap to compute do not wait for the backward pass in memory."""

import gc
import weakref

import numpy as np
import pytest

from tinylm.autograd import Tensor, tensor
from tinylm.autograd import functional as F

ROWS, WIDTH = 6, 8
SCALE, SHIFT = np.linspace(0.5, 1.5, WIDTH), np.linspace(-1, 1, WIDTH)
CHEAP = {
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swiglu": lambda x: F.swiglu(x, x + 1.0),
    "fused_swiglu": lambda x: F.fused_swiglu(F.concatenate([x, x + 1.0], axis=-1)),
    "layer_norm": lambda x: F.layer_norm(x, SCALE, SHIFT),
    "rms_norm": lambda x: F.rms_norm(x, SCALE),
}


def gradients(function, smallest, monkeypatch):
    """(the gradients by x and the weight of a product behind the function, whether its value outlived the forward)."""
    monkeypatch.setattr(tensor, "WORTH_COMPUTING_AGAIN", smallest)
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((ROWS, WIDTH)), requires_grad=True)
    y = function(x)
    weight = Tensor(rng.standard_normal((3, y.shape[-1])), requires_grad=True)
    z = F.linear(y, weight)
    value = weakref.ref(y.data)
    del y
    gc.collect()
    kept = value() is not None
    z.backward(rng.standard_normal(z.shape))
    return x.grad, weight.grad, kept


@pytest.mark.parametrize("name", CHEAP)
def test_a_large_cheap_value_is_freed_and_its_gradients_keep_their_bits(name, monkeypatch) -> None:
    kept = gradients(CHEAP[name], ROWS * WIDTH * 1000, monkeypatch)
    again = gradients(CHEAP[name], 0, monkeypatch)
    assert kept[2]
    assert not again[2]
    for ours, expected in zip(again[:2], kept[:2], strict=True):
        assert np.array_equal(ours, expected)


def test_a_value_that_only_a_product_could_make_is_kept(monkeypatch) -> None:
    *_, kept = gradients(lambda x: F.matmul(x, np.eye(WIDTH)), 0, monkeypatch)
    assert kept
