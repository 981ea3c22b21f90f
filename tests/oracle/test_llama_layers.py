"""The layers of a Llama block against transformers' own: outputs and gradients, from the same weights."""

from __future__ import annotations

import numpy as np
import pytest

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F
from tinylm.nn import Initializer, RMSNorm, SwiGLU

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


def test_swiglu_with_a_residual():
    gate, up, down, x, dy = (
        normal(*shape, seed=i) for i, shape in enumerate([(32, 24), (32, 24), (24, 32), (2, 5, 24), (2, 5, 24)])
    )
    ours = SwiGLU(24, 32, Initializer(0, dtype=np.float64))
    ours.gate_up.weight.data, ours.down.weight.data = np.concatenate([gate, up]), down
    theirs = llama.LlamaMLP(llama.LlamaConfig(hidden_size=24, intermediate_size=32, num_attention_heads=3)).double()
    theirs.load_state_dict(
        {f"{name}_proj.weight": torch.tensor(w) for name, w in (("gate", gate), ("up", up), ("down", down))}
    )
    assert_equal_with_gradients(lambda x: ours(x, x), lambda x: x + theirs(x), [x], dy)


def test_rope_from_positions_behind_a_cache():
    x, dy = normal(2, 3, 5, 16), normal(2, 3, 5, 16, seed=1)
    positions = np.array([[7, 8, 9, 10, 11], [0, 1, 2, 3, 4]])
    config = llama.LlamaConfig(hidden_size=48, num_attention_heads=3)
    angles = np.arange(12)[:, None] * 10000.0 ** (-np.arange(0, 16, 2) / 16)
    cos, sin = np.cos(angles), np.sin(angles)
    wanted = llama.LlamaRotaryEmbedding(config)(torch.tensor(x), torch.tensor(positions))
    # Theirs are the cosine and sine of a float32 angle.
    for ours, theirs in zip((cos, sin), wanted, strict=True):
        np.testing.assert_allclose(np.tile(ours[positions], 2), theirs.numpy(), atol=2e-6)

    def theirs(x):
        doubled = (torch.tensor(np.tile(table[positions], 2)) for table in (cos, sin))
        return llama.apply_rotary_pos_emb(x, x, *doubled)[0]

    assert_equal_with_gradients(lambda x: F.rope(x, cos, sin, positions), theirs, [x], dy)
