"""The layers of a Llama block against transformers' own: outputs and gradients, from the same weights."""

from __future__ import annotations

import numpy as np
import pytest

from tinylm.autograd import Tensor
from tinylm.nn import Initializer, RMSNorm

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")
llama = pytest.importorskip("transformers.models.llama.modeling_llama")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def assert_equal_with_gradients(ours, theirs, inputs, dy, tolerance=1e-12):
    """Compare two functions of the same inputs, and the gradients by each of them."""
    leaves = [Tensor(x, requires_grad=True) for x in inputs]
    y = ours(*leaves)
    y.backward(dy)
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    expected = theirs(*tensors)
    gradients = torch.autograd.grad(expected, tensors, torch.tensor(dy))
    np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=10 * tolerance, atol=tolerance)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        np.testing.assert_allclose(leaf.grad, gradient.numpy(), rtol=10 * tolerance, atol=tolerance)


def test_rms_norm():
    x, weight, dy = (
        normal(*shape, seed=i).astype(np.float32) for i, shape in enumerate([(2, 5, 24), (24,), (2, 5, 24)])
    )
    ours, theirs = RMSNorm(24, Initializer(0), eps=1e-6), llama.LlamaRMSNorm(24, eps=1e-6)
    ours.weight.data = weight
    theirs.load_state_dict({"weight": torch.tensor(weight)})
    # float32, for theirs computes in it whatever it is given.
    assert_equal_with_gradients(ours, theirs, [x], dy, tolerance=1e-6)
