"""safetensors: what is written is read back, and a malformed file is a clear error in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bounded import run_bounded
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import safetensors
from tinylm.formats.safetensors import read_metadata, read_safetensors, write_safetensors

DTYPES = ["?", "u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8", "<c8", ">f4", ">i8"]


def spell(fields: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    """The bytes of a safetensors file with this header, right or wrong."""
    head = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return (len(head) if length is None else length).to_bytes(8, "little") + head + data


def one(**changes) -> dict:
    """A header of one tensor "a" of four bytes, with changes."""
    return {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.safetensors"


arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
turned = arrays.flatmap(lambda a: st.sampled_from([a, a.T, a[::-1] if a.ndim else a, a[..., ::2] if a.ndim else a]))
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name != "__metadata__")


@settings(max_examples=60)
@given(tensors=st.dictionaries(names, turned, max_size=5), metadata=st.dictionaries(names, names, max_size=3))
def test_what_is_written_is_read_back_whatever_the_stride_and_byte_order(tmp_path_factory, tensors, metadata):
    path = tmp_path_factory.getbasetemp() / "round.safetensors"
    write_safetensors(path, tensors, metadata)
    read = read_safetensors(path)
    assert set(read) == set(tensors)
    for name, array in tensors.items():
        assert read[name].dtype == array.dtype.newbyteorder("<")
        assert read[name].shape == array.shape
        assert read[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
        assert read[name].flags.aligned
    assert read_metadata(path) == metadata


def test_a_transposed_array_keeps_its_values(path):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_safetensors(path, {"x": x.T})
    np.testing.assert_array_equal(read_safetensors(path)["x"], x.T)


def test_arrays_are_read_only_views_of_the_file(path):
    write_safetensors(path, {"x": np.zeros((4, 5), np.float32), "y": np.zeros(3, np.int64)})
    for array in read_safetensors(path).values():
        assert not array.flags.writeable
        assert not array.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_header_is_padded_to_8_bytes_and_equal_contents_give_equal_files(path):
    write_safetensors(path, {"b": np.ones(3, np.uint8), "a": np.ones(2, np.float32)}, {"k": "v"})
    first = path.read_bytes()
    assert int.from_bytes(first[:8], "little") % 8 == 0
    write_safetensors(path, {"a": np.ones(2, np.float32), "b": np.ones(3, np.uint8)}, {"k": "v"})
    assert path.read_bytes() == first


def test_bfloat16_widens_exactly_to_float32(path):
    values = np.array([1.0, -2.5, np.inf, 2.0**-133, 0.0], np.float32)  # all exact in bfloat16, one subnormal
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    path.write_bytes(spell({"a": {"dtype": "BF16", "shape": [5], "data_offsets": [0, 10]}}, upper.tobytes()))
    array = read_safetensors(path)["a"]
    assert array.dtype == np.float32
    assert not array.flags.writeable
    np.testing.assert_array_equal(array, values)


def test_a_tensor_that_the_file_does_not_align_is_copied_into_place(path):
    fields = {
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [3, 11]},
    }
    path.write_bytes(spell(fields, b"abc" + np.array([1, 2], "<f4").tobytes()))
    b = read_safetensors(path)["b"]
    assert b.flags.aligned
    assert not b.flags.writeable
    np.testing.assert_array_equal(b, [1, 2])


def test_a_file_can_be_rewritten_from_its_own_map(path):
    write_safetensors(path, {"x": np.arange(1000.0)})
    if os.name != "nt":  # Windows does not replace a mapped file
        write_safetensors(path, read_safetensors(path))
    np.testing.assert_array_equal(read_safetensors(path)["x"], np.arange(1000.0))


def test_an_empty_set_of_tensors_is_a_file(path):
    write_safetensors(path, {})
    assert read_safetensors(path) == {}
    assert read_metadata(path) == {}


big = 2**62
bad_files = {
    "cut in the length": (b"\x10\0\0", "not a safetensors file"),
    "no header": (spell(b""), "not a safetensors file"),
    "not json": (spell(b"{nope"), "malformed JSON"),
    "not an object": (spell([1]), "not a safetensors file"),
    "leading space": (spell(b" {}"), "not a safetensors file"),
    "length past the end": (spell({}, length=3), "cut short: a header of 3"),
    "length over the cap": (spell({}, length=10**8 + 1), "over the cap"),
    "length near 2**64": (spell({}, length=2**64 - 1), "over the cap"),
    "NUL padding": (spell(b"{}\0\0"), "Extra data"),
    "duplicate tensor": (spell(b'{"a":{},"a":{}}'), "twice"),
    "duplicate metadata": (spell(b'{"__metadata__":{"a":"","a":""}}'), "twice"),
    "NaN": (spell(b'{"a":NaN}'), "NaN"),
    "deep": (spell(b'{"a":' + b"[" * 100_000), "deeply"),
    "deep and closed": (spell(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "deeply"),
    "bad UTF-8": (spell(b'{"\xff":1}'), "UTF-8"),
    "surrogate": (spell(b'{"\\ud800":1}'), "surrogate"),
    "metadata null": (spell({"__metadata__": None}), "__metadata__"),
    "metadata number": (spell({"__metadata__": {"a": 1}}), "__metadata__"),
    "tensor as a list": (spell({"a": ["F32", [1], [0, 4]]}, bytes(4)), "exactly dtype"),
    "missing field": (spell({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)), "exactly dtype"),
    "extra field": (spell(one(x=1), bytes(4)), "exactly dtype"),
    "dtype unknown": (spell(one(dtype="F128"), bytes(4)), "F128"),
    "dtype without a NumPy type": (spell(one(dtype="F8_E4M3"), bytes(4)), "F8_E4M3"),
    "dtype number": (spell(one(dtype=4), bytes(4)), "dtype 4"),
    "dtype list": (spell(one(dtype=["F32"]), bytes(4)), "dtype"),
    "shape float": (spell(one(shape=[1.0]), bytes(4)), "whole numbers"),
    "shape bool": (spell(one(shape=[True]), bytes(4)), "whole numbers"),
    "shape negative": (spell(one(shape=[-1, -1]), bytes(4)), "whole numbers"),
    "shape minus zero": (spell(b'{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'), "whole numbers"),
    "shape string": (spell(one(shape="1"), bytes(4)), "whole numbers"),
    "shape null": (spell(one(shape=None), bytes(4)), "whole numbers"),
    "shape of 65 dimensions": (spell(one(shape=[1] * 65), bytes(4)), "at most 64"),
    "shape that overflows to 1": (spell(one(shape=[big, big, 16]), bytes(4)), "too large"),
    "shape that overflows to 0": (spell(one(shape=[0, big, big], data_offsets=[0, 0])), "too large"),
    "shape huge": (spell(one(shape=[10**4000]), bytes(4)), "too large"),
    "shape and offsets differ": (spell(one(shape=[2]), bytes(4)), "does not fill"),
    "offsets of three": (spell(one(data_offsets=[0, 4, 4]), bytes(4)), "two whole numbers"),
    "offsets float": (spell(one(data_offsets=[0, 4.0]), bytes(4)), "two whole numbers"),
    "offsets backwards": (spell(one(data_offsets=[4, 0]), bytes(4)), "does not fill"),
    "a hole at the start": (spell(one(data_offsets=[4, 8]), bytes(8)), "hole"),
    "data cut": (spell(one(), bytes(3)), "cut short"),
    "data too long": (spell(one(), bytes(5)), "longer"),
    "overlap": (
        spell({**one(), "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}}, bytes(6)),
        "overlaps",
    ),
    "the same bytes twice": (spell({**one(), "b": one()["a"]}, bytes(4)), "overlaps"),
    "a hole": (
        spell({**one(), "b": {"dtype": "U8", "shape": [1], "data_offsets": [5, 6]}}, bytes(6)),
        "hole",
    ),
    "a BOOL of 2": (spell(one(dtype="BOOL", shape=[4]), b"\0\1\2\0"), "neither 0 nor 1"),
    "too many tensors": (spell({str(i): 0 for i in range(100_001)}), "100,001 tensors"),
    "too many values": (spell(b"{" + b'"a":0,' * 2_000_001), "JSON values"),
    "an empty file": (b"", "empty"),
    "a zip": (b"PK\x03\x04" + bytes(60), "convert to safetensors"),
    "a pickle": (b"\x80\x02}q\x00." + bytes(60), "convert to safetensors"),
    "GGUF": (b"GGUF" + bytes(60), "GGUF"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
}


@pytest.mark.parametrize("name", bad_files)
def test_a_malformed_file_is_refused_with_its_name_and_the_reason(path, name):
    content, words = bad_files[name]
    path.write_bytes(content)
    for read in (read_safetensors, read_metadata):
        if name == "a BOOL of 2" and read is read_metadata:
            continue
        with pytest.raises(FileFormatError, match=words) as caught:
            read(path)
        assert caught.value.path == str(path)
        assert len(str(caught.value)) < 600
        assert caught.value.offset is not None
        assert 0 <= caught.value.offset <= len(content)


def test_a_header_of_640_bytes_is_not_taken_for_a_pickle(path):
    head = json.dumps(one()).encode().ljust(640)
    path.write_bytes(spell(head, bytes(4)))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert list(read_safetensors(path)) == ["a"]


def test_a_folder_or_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="folder"):
        read_safetensors(tmp_path)
    with pytest.raises(FileFormatError, match="no such file"):
        read_safetensors(tmp_path / "none")


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [
        ({"x": [1.0, 2.0]}, None, "'x' is list"),
        ({"x": np.zeros(2, object)}, None, "'x' is object"),
        ({"x": np.zeros(2, np.complex128)}, None, "complex128"),
        ({"x": np.array(["a"])}, None, "<U1"),
        ({1: np.zeros(2)}, None, "1 cannot name"),
        ({"__metadata__": np.zeros(2)}, None, "cannot name"),
        ({"\ud800": np.zeros(2)}, None, "surrogate"),
        ({}, {"a": 1}, "strings to strings"),
        (dict.fromkeys("abcd", np.zeros(0)), None, "4 tensors"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_before_anything_is_written(path, monkeypatch, tensors, metadata, words):
    monkeypatch.setattr(safetensors, "MAX_TENSORS", 3)
    with pytest.raises(TinylmError, match=words):
        write_safetensors(path, tensors, metadata)
    assert list(path.parent.iterdir()) == []


def test_a_flip_or_a_cut_anywhere_in_the_header_is_read_or_refused_in_bounded_memory(tmp_path):
    """In a process of its own, which may take 256 MiB more than it has after its imports."""
    write_safetensors(
        tmp_path / "good",
        {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "m": np.array([True, False])},
        {"k": "v"},
    )
    printed = run_bounded(
        """
from tinylm.formats.safetensors import read_safetensors

def read(file):
    assert sum(array.nbytes for array in read_safetensors(file).values()) <= 2 * len(good)

limit_memory()
good = (folder / "good").read_bytes()
changed = cuts(good) + flips(good, range(8 + int.from_bytes(good[:8], "little")), every=2)
print(refusals(folder / "bad", changed, read), len(good), len(changed))
""",
        tmp_path,
    )
    refused, cut, changed = map(int, printed.split())
    assert cut < refused < changed


def test_safetensors_imports_nothing_but_numpy():
    script = (
        "import sys, tinylm.formats.safetensors; "
        "print([m for m in ('numba', 'safetensors', 'tqdm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
