"""Views into larger arrays, as the kernels take them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tinylm_kernels.strided import flat_and_steps, room_in_rows, rows_of

FUSED = np.arange(2 * 5 * 24, dtype=np.float32).reshape(2, 5, 24)
HEADS = FUSED.reshape(2, 5, 6, 4).swapaxes(1, 2)
READ_ONLY = FUSED.copy()
READ_ONLY.flags.writeable = False

IN_PLACE = {"whole": FUSED, "half": FUSED[..., 12:], "heads": HEADS[:, 2:4], "one token": HEADS[:1, :, 3:4]}
COPIED = {
    "every other column": FUSED[..., ::2],
    "transposed": FUSED.T,
    "backwards": FUSED[:, ::-1],
    "read-only": READ_ONLY,
    "repeated": np.broadcast_to(FUSED[:1], FUSED.shape),
}


@pytest.mark.parametrize("name", [*IN_PLACE, *COPIED])
def test_flat_memory_and_steps_lead_to_every_number_without_a_copy_where_rows_are_whole(name):
    x = (IN_PLACE | COPIED)[name]
    flat, steps = flat_and_steps(x)
    assert flat.ndim == 1
    assert flat.flags.carray
    assert np.shares_memory(flat, x) == (name in IN_PLACE)
    for index in itertools.product(*map(range, x.shape)):
        assert flat[np.dot(index, steps)] == x[index]


def test_nothing_lies_in_an_empty_array():
    assert flat_and_steps(FUSED[:, :0, 12:])[0].size == 0


def test_the_halves_of_a_batch_are_rows_and_a_result_goes_where_rows_lie():
    half, transposed = FUSED[..., :12], FUSED.T
    assert rows_of(half).shape == (10, 12)
    assert np.shares_memory(rows_of(half), half)
    assert room_in_rows(half, half.shape) is half
    assert not np.shares_memory(room_in_rows(transposed, transposed.shape), transposed)
    assert room_in_rows(None, (3, 4)).shape == (3, 4)
