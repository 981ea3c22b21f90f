"""Packed arrays: what the blocks say is what comes out, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_kernels.packed import BF16, INT8, PACKED, Q4_0, Q4_1, Q5_0, Q8_0, Interleaved, Packed

WRITTEN = {name: kind for name, kind in PACKED.items() if "_pack" in vars(kind)}


def half(value: float) -> np.ndarray:
    return np.array([value], "<f2").view(np.uint8)


def test_a_block_of_four_bits_holds_value_i_and_value_i_plus_16_in_byte_i() -> None:
    low, high = np.arange(16, dtype=np.uint8), np.arange(16, dtype=np.uint8)[::-1]
    blocks = np.concatenate([half(0.5), low | high << 4])[None]
    np.testing.assert_array_equal(Q4_0(blocks).dequantize(), 0.5 * (np.concatenate([low, high]) - 8.0))
    blocks = np.concatenate([half(0.5), half(-3.0), low | high << 4])[None]
    np.testing.assert_array_equal(Q4_1(blocks).dequantize(), 0.5 * np.concatenate([low, high]) - 3)


def test_the_fifth_bits_are_a_little_endian_word() -> None:
    blocks = np.concatenate([half(1.0), np.array([1 << 31 | 1], "<u4").view(np.uint8), np.zeros(16, np.uint8)])[None]
    expected = np.full(32, -16.0)
    expected[[0, 31]] = 0
    np.testing.assert_array_equal(Q5_0(blocks).dequantize(), expected)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_packed_is_near_what_it_was(name: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, 5, max(64, WRITTEN[name].block_values))).astype(np.float32)
    x[0, 0] = 0
    packed = WRITTEN[name].quantize(x)
    y = packed.dequantize()
    assert y.shape == packed.shape == x.shape
    assert np.array_equal(y[0, 0], x[0, 0])
    block = np.abs(x).reshape(3, 5, -1, packed.block_values).max(-1)
    # Of q4_k: 15 steps between lowest and highest, which are at most twice the largest apart; a scale of 6 bits may be
    # off by 1/126, and the least squares leave out what lies far out.
    parts = {"q8_0": 254, "q5_0": 16, "q4_0": 8, "q4_k": 6, "bf16": 256}
    half_a_step = block / parts[name]
    error = np.abs(y - x).reshape(3, 5, -1, packed.block_values).max(-1)
    assert np.all(error <= half_a_step * 1.01)


@pytest.mark.parametrize("name", WRITTEN)
def test_packing_what_was_packed_changes_nothing(name: str) -> None:
    x = np.random.default_rng(1).standard_normal((4, 512)).astype(np.float32)
    once = WRITTEN[name].quantize(x).dequantize()
    if name not in ("q4_0", "q5_0", "q4_k"):  # whose largest value may stand at either end, or be left out by a fit
        np.testing.assert_array_equal(WRITTEN[name].quantize(once).dequantize(), once)


@given(st.integers(1, 7), st.integers(1, 5), st.randoms(use_true_random=False))
def test_rows_are_taken_packed_as_they_are(rows: int, blocks: int, random) -> None:
    raw = np.frombuffer(random.randbytes(rows * blocks * 34), np.uint8)
    packed = Q8_0.from_bytes(raw, (rows, 32 * blocks))
    index = np.array([random.randrange(rows) for _ in range(4)])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(packed.take_rows(index).dequantize(), packed.dequantize()[index])


def test_a_large_array_is_unpacked_in_parts_and_into_what_is_given() -> None:
    x = np.random.default_rng(2).standard_normal((40, 4096)).astype(np.float32)
    packed = Q8_0.quantize(x)
    out = np.empty_like(x)
    assert packed.dequantize(out) is out
    np.testing.assert_array_equal(out[17], Q8_0.quantize(x[17]).dequantize())
    with pytest.raises(ValueError, match="out must be contiguous"):
        packed.dequantize(out.T)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Q8_0.quantize(np.zeros((2, 33))), "does not divide"),
        (lambda: Q8_0.quantize(np.zeros(())), "does not divide"),
        (lambda: Q8_0.quantize(np.full(32, np.nan)), "NaN"),
        (lambda: Q4_0.quantize(np.full(32, np.inf)), "infinity"),
        (lambda: Q4_0.quantize(np.full(32, 1e30)), "too large"),
        (lambda: BF16.quantize(np.full(2, np.finfo(np.float32).max)), "too large"),
        (lambda: Q8_0(np.zeros((1, 33), np.uint8)), "blocks of 34"),
        (lambda: Q8_0(np.zeros((1, 34))), "float64"),
    ],
)
def test_what_does_not_fit_is_refused(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_a_format_that_is_only_read_says_so() -> None:
    with pytest.raises(TypeError, match="q4_1 is read and not written"):
        Q4_1.quantize(np.zeros(32))


def test_a_packed_array_names_itself_to_the_registry() -> None:
    packed: Packed = Q8_0.quantize(np.zeros((2, 64)))
    assert (packed.dtype, packed.ndim, packed.nbytes) == ("q8_0", 2, 2 * 2 * 34)
    assert repr(packed) == "Q8_0(shape=(2, 64), 136 bytes)"


def test_rows_of_bytes_are_off_by_half_their_step_at_most() -> None:
    array = np.random.default_rng(0).standard_normal((5, 70)).astype(np.float32) * np.float32(
        [[1], [0], [9], [0.1], [2]]
    )
    packed = INT8.quantize(array)
    step = np.abs(array).max(axis=1, keepdims=True) / 127
    assert (np.abs(packed.dequantize() - array) <= 0.5001 * step).all()
    np.testing.assert_array_equal(packed.take_rows([3, 1]).dequantize(), packed.dequantize()[[3, 1]])
    assert packed.nbytes == 5 * 70 + 5 * 4
    for wrong in (np.zeros(3), np.zeros((0, 3)), np.full((2, 2), np.inf)):
        with pytest.raises(ValueError, match="int8: "):
            INT8.quantize(wrong)
    with pytest.raises(ValueError, match="a float32 scale for each row"):
        INT8(packed.blocks, packed.scales[:3])


def test_interleaved_rows_lie_side_by_side_and_take_no_more_bytes() -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (32, 3, Q8_0.block_bytes), np.uint8)
    source = Q8_0(blocks)
    packed = Interleaved(source)
    assert packed.memory.nbytes == source.nbytes
    assert packed.memory.ctypes.data % 64 == 0
    block = packed.memory[1].reshape(3, -1)[2]  # rows 16 to 31, numbers 64 to 95
    np.testing.assert_array_equal(block[:32].reshape(16, 2), blocks[16:, 2, :2])
    codes = block[32:].reshape(8, 16, 4).swapaxes(0, 1).reshape(16, 32)
    np.testing.assert_array_equal(codes ^ 0x80, blocks[16:, 2, 2:])
    np.testing.assert_array_equal(packed.take_rows([5]).blocks, blocks[[5]])
