"""bfloat16 against PyTorch: the rounding bit by bit, and the product."""

from __future__ import annotations

import numpy as np
import pytest

import tinylm_kernels as K
from tinylm_kernels.matmul_bfloat16.reference import round_to_bfloat16

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")


def test_rounding_is_that_of_torch_for_all_normal_numbers_infinity_and_nan():
    bits = np.arange(0x00800000, 0x7F800001, 1021, dtype=np.uint32)  # a stride that mixes exponents and fractions
    x = np.concatenate([bits, bits | 0x80000000, [0, 0x80000000, 0x7FC00000]]).astype(np.uint32).view(np.float32)
    np.testing.assert_array_equal(round_to_bfloat16(x), torch.from_numpy(x).bfloat16().float().numpy())


@pytest.mark.parametrize("name", K.matmul_bfloat16.implementations)
@pytest.mark.parametrize("shape", [(70, 384, 65), (33, 1536, 40)])
def test_the_product_is_nearer_to_that_of_the_unrounded_numbers_than_torchs(name, shape):
    M, k, N = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((M, k), np.float32), rng.standard_normal((k, N), np.float32)
    exact = a.astype(np.float64) @ b
    theirs = (torch.from_numpy(a).bfloat16() @ torch.from_numpy(b).bfloat16()).float().numpy()
    ours = K.matmul_bfloat16[name](a, b)
    assert np.linalg.norm(ours - exact) < np.linalg.norm(theirs - exact) < 4e-3 * np.linalg.norm(exact)
