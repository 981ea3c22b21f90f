"""GGUF: what is written is read back, and a malformed file is a clear error in bounded time and memory."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bounded import run_bounded
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats.gguf import read_gguf, write_gguf
from tinylm_kernels.packed import PACKED, Q8_0

U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


def text(value: bytes | str, length: int | None = None) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, offset)


def spell(pairs: list[bytes] = (), tensors: list[bytes] = (), data: bytes = b"", **changes) -> bytes:
    """The bytes of a GGUF file, right or wrong."""
    counts = {"n_tensors": len(tensors), "n_pairs": len(pairs), "version": 3, "magic": b"GGUF", "align": 32} | changes
    head = counts["magic"] + struct.pack("<IQQ", counts["version"], counts["n_tensors"], counts["n_pairs"])
    head += b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % counts["align"]) + data


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.gguf"


codes = st.sampled_from(["<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8", "?"])
rows = codes.flatmap(
    lambda code: hnp.arrays(
        code,
        hnp.array_shapes(max_dims=1, min_side=0, max_side=5),
        elements={"allow_nan": False} if "f" in code else None,
    )
)
numbers = st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(width=32, allow_nan=False) | rows
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = numbers | texts | st.lists(texts, max_size=3) | st.lists(st.lists(texts, max_size=2), min_size=1, max_size=2)
arrays = st.sampled_from(["<f4", "<f2", "<f8", "i1", "<i2", "<i4", "<i8", ">f4"]).flatmap(
    lambda code: hnp.arrays(code, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
names = texts.filter(bool)


@settings(max_examples=60, deadline=None)
@given(
    metadata=st.dictionaries(names, values, max_size=4),
    tensors=st.dictionaries(names, arrays | arrays.map(np.transpose)),
)
def test_what_is_written_is_read_back_whatever_the_type(tmp_path_factory, metadata, tensors) -> None:
    path = tmp_path_factory.getbasetemp() / "round.gguf"
    write_gguf(path, metadata, tensors)
    read = read_gguf(path)
    assert list(read.metadata) == list(metadata)
    for key, value in metadata.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(read.metadata[key], value)
            assert read.metadata[key].dtype == value.dtype
        else:
            assert read.metadata[key] == value
            assert type(read.metadata[key]) is type(value)
    assert list(read.tensors) == list(tensors)
    for name, array in tensors.items():
        assert read.tensors[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
        assert (read.tensors[name].shape, read.tensors[name].dtype.name) == (array.shape, array.dtype.name)
        assert not read.tensors[name].flags.writeable


@pytest.mark.parametrize("name", PACKED)
def test_packed_tensors_are_read_as_they_lie_and_unpacked_when_asked_for(path, name) -> None:
    kind = PACKED[name]
    raw = np.random.default_rng(0).integers(0, 100, 6 * kind.block_bytes, dtype=np.uint8)
    packed = kind.from_bytes(raw, (3, 2 * kind.block_values))
    write_gguf(path, {}, {"a": packed, "b": np.ones(3, np.float32)})
    tensors = read_gguf(path).tensors
    stored = tensors.stored("a")
    assert (stored.shape, stored.dtype) == (packed.shape, name)
    assert not stored.make().blocks.flags.owndata
    np.testing.assert_array_equal(stored.make().blocks, packed.blocks)
    np.testing.assert_array_equal(tensors["a"], packed.dequantize())
    np.testing.assert_array_equal(tensors["b"], np.ones(3))


def test_a_large_vocabulary_opens_fast_and_is_read_when_asked_for(path) -> None:
    tokens = [f"token {i}" for i in range(50_000)]
    write_gguf(path, {"tokens": tokens, "merges": tokens}, {"w": Q8_0.quantize(np.zeros((64, 64)))})
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        opened = read_gguf(path)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.2  # 10 ms where nothing else runs
    assert opened.metadata["tokens"] == tokens


def test_version_2_is_read_as_version_3(path) -> None:
    path.write_bytes(spell([pair("k", STRING, text("v"))], version=2))
    assert dict(read_gguf(path).metadata) == {"k": "v"}


def test_an_alignment_of_its_own_is_honoured(path) -> None:
    pairs = [pair("general.alignment", U32, struct.pack("<I", 8))]
    entries = [tensor("a", (3,), 0, 0), tensor("b", (1,), 0, 16)]
    path.write_bytes(spell(pairs, entries, struct.pack("<fff4xf", 1, 2, 3, 4), align=8))
    tensors = read_gguf(path).tensors
    assert (tensors["a"].tolist(), tensors["b"].tolist()) == ([1, 2, 3], [4])


one = [tensor("a", (1,), 0, 0)]
deep = struct.pack("<IQ", ARRAY, 1) * 20
bad_files = {
    "empty": (b"", "is empty"),
    "another format": (b"PK\x03\x04" + bytes(60), "convert to safetensors"),
    "a pickle": (b"\x80\x02}q\x00." + bytes(60), "convert to safetensors"),
    "GGML": (b"lmgg" + bytes(60), "not a GGUF file"),
    "cut in the magic": (b"GGU", "not a GGUF file"),
    "cut in the version": (b"GGUF\3", "cut short"),
    "version 1": (spell(version=1), "version 1"),
    "version 4": (spell(version=4), "version 4"),
    "big-endian": (spell(version=3 << 24), "big-endian"),
    "too many tensors": (spell(n_tensors=2**63), "over the cap"),
    "too many keys": (spell(n_pairs=10**6), "over the cap"),
    "more keys than there are": (spell(n_pairs=3), "a key of 0 bytes"),
    "more tensors than there are": (spell(n_tensors=3), "cut short|expected 1 to"),
    "empty key": (spell([pair("", U32, bytes(4))]), "a key of 0 bytes"),
    "long key": (spell([text("k", 2**40)]), "a key of 1,099,511,627,776 bytes"),
    "key twice": (spell([pair("k", U32, bytes(4))] * 2), "twice"),
    "key of no text": (spell([pair("k", U32, bytes(4)).replace(b"k", b"\xff")]), "not UTF-8"),
    "unknown type": (spell([pair("k", 13, bytes(4))]), "type 13"),
    "unknown type in an array": (spell([pair("k", ARRAY, struct.pack("<IQ", 99, 1))]), "type 99"),
    "long string": (spell([pair("k", STRING, text("v", 2**63))]), "cut short"),
    "long array": (spell([pair("k", ARRAY, struct.pack("<IQ", U32, 2**62))]), "cut short"),
    "many strings": (spell([pair("k", ARRAY, struct.pack("<IQ", STRING, 2**62))]), "over the cap"),
    "strings past the end": (spell([pair("k", ARRAY, struct.pack("<IQ", STRING, 99) + text("a"))]), "99 strings"),
    "a string past the end": (
        spell([pair("k", ARRAY, struct.pack("<IQ", STRING, 2) + text("a", 2**64 - 1) + text("b"))]),
        "2 strings",
    ),
    "many arrays": (spell([pair("k", ARRAY, struct.pack("<IQ", ARRAY, 2**40))]), "over the cap"),
    "deep arrays": (spell([pair("k", ARRAY, deep)]), "deep"),
    "alignment 0": (spell([pair("general.alignment", U32, bytes(4))]), "power of two"),
    "alignment 48": (spell([pair("general.alignment", U32, struct.pack("<I", 48))]), "power of two"),
    "alignment huge": (spell([pair("general.alignment", U32, struct.pack("<I", 1 << 31))]), "power of two"),
    "alignment a float": (spell([pair("general.alignment", F32, bytes(4))]), "power of two"),
    "tensor without a name": (spell((), [tensor("", (1,), 0, 0)], bytes(4)), "name of 0 bytes"),
    "tensor twice": (spell((), [*one, tensor("a", (1,), 0, 32)], bytes(36)), "twice"),
    "five axes": (spell((), [tensor("a", (1,) * 5, 0, 0)], bytes(4)), "5 dimensions"),
    "4 billion axes": (spell((), [text("a") + struct.pack("<I", 2**32 - 1)]), "dimensions"),
    "Q2_K": (spell((), [tensor("a", (256,), 10, 0)], bytes(84)), "is Q2_K; what is read: F32, F16, Q4_0"),
    "IQ4_NL": (spell((), [tensor("a", (32,), 20, 0)], bytes(18)), "is IQ4_NL"),
    "no such tensor type": (spell((), [tensor("a", (1,), 1000, 0)], bytes(4)), "type 1000, which does not exist"),
    "half a block": (spell((), [tensor("a", (2, 48), 8, 0)], bytes(204)), "blocks of 32"),
    "no axes of blocks": (spell((), [tensor("a", (), 8, 0)], bytes(34)), "blocks of 32"),
    "huge shape": (spell((), [tensor("a", (2**62, 2**62, 2**62), 0, 0)], bytes(4)), "cut short"),
    "shape that overflows to 1": (spell((), [tensor("a", (2**62, 2**62, 16), 0, 0)], bytes(4)), "cut short"),
    "offset into nowhere": (spell((), [tensor("a", (1,), 0, 2**40)], bytes(4)), "expected 0"),
    "an overlap": (spell((), [*one, tensor("b", (1,), 0, 0)], bytes(36)), "offset 0, expected 32"),
    "a hole": (spell((), [*one, tensor("b", (1,), 0, 64)], bytes(68)), "offset 64, expected 32"),
    "data cut": (spell((), one, bytes(3)), "cut short"),
    "data too long": (spell((), one, bytes(33)), "longer than its header says"),
    "a tensor less": (spell((), [*one, tensor("b", (1,), 0, 32)], bytes(36), n_tensors=1), "longer|cut short"),
}


@pytest.mark.parametrize("name", bad_files)
def test_a_malformed_file_is_refused_with_its_name_and_the_reason(path, name) -> None:
    content, words = bad_files[name]
    path.write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(FileFormatError, match=words) as caught:
        read_gguf(path)
    assert time.perf_counter() - start < 1
    assert caught.value.path == str(path)
    assert len(str(caught.value)) < 600
    assert 0 <= caught.value.offset <= len(content)


@pytest.mark.parametrize(
    ("value", "words"),
    [(pair("k", STRING, text(b"\xff")), "not UTF-8"), (pair("k", BOOL, b"\2"), "neither 0 nor 1")],
)
def test_a_value_that_is_none_is_refused_when_it_is_asked_for(path, value, words) -> None:
    path.write_bytes(spell([value]))
    with pytest.raises(FileFormatError, match=words) as caught:
        read_gguf(path).metadata["k"]
    assert caught.value.offset is not None


def test_a_folder_or_a_missing_file_is_refused(tmp_path) -> None:
    with pytest.raises(FileFormatError, match="folder"):
        read_gguf(tmp_path)
    with pytest.raises(FileFormatError, match="no such file"):
        read_gguf(tmp_path / "none")


@pytest.mark.parametrize(
    ("metadata", "tensors", "words"),
    [
        ({}, {"x": np.zeros(2, np.complex64)}, "complex64"),
        ({}, {"x": np.zeros(2, bool)}, "'x' is bool"),
        ({}, {"x" * 64: np.zeros(2)}, "1 to 63 bytes"),
        ({}, {"x": np.zeros((1,) * 5)}, "5 axes"),
        ({"k": None}, {}, "k is None"),
        ({"k": 2**64}, {}, "k is 18446744073709551616"),
        ({"k": ["a", 1]}, {}, "received 1"),
        ({"k": [["a"], "b"]}, {}, "received 'b'"),
        ({"k": np.zeros((2, 2))}, {}, "k is array"),
        ({"k": "\ud800"}, {}, "surrogate"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_before_anything_is_written(path, metadata, tensors, words) -> None:
    with pytest.raises(TinylmError, match=words):
        write_gguf(path, metadata, tensors)
    assert list(path.parent.iterdir()) == []


def test_a_flip_or_a_cut_anywhere_in_the_header_is_read_or_refused_in_bounded_memory(tmp_path) -> None:
    """In a process of its own, which may take 256 MiB more than it has after its imports."""
    metadata = {"general.alignment": 32, "s": "text", "l": ["a", "bc"], "n": np.arange(3), "b": True, "d": [[1], [2]]}
    weights = {"w": np.ones((2, 3), np.float32), "q": Q8_0.quantize(np.ones((2, 32)))}
    write_gguf(tmp_path / "good", metadata, weights)
    printed = run_bounded(
        """
from tinylm.formats.gguf import read_gguf

def read(file):
    opened = read_gguf(file)
    assert sum(array.nbytes for array in opened.tensors.values()) <= 8 * len(good)
    assert len(list(opened.metadata.values())) == 6

limit_memory()
good = (folder / "good").read_bytes()
shorter = cuts(good)[:-28]  # what is cut beyond is padding
changed = shorter + flips(good, range(len(good) - 64 - 96))
print(refusals(folder / "bad", changed, read), len(shorter), len(changed))
""",
        tmp_path,
    )
    refused, cut, changed = map(int, printed.split())
    assert cut < refused < changed


def test_gguf_imports_nothing_but_numpy() -> None:
    script = "import sys, tinylm.formats.gguf; print([m for m in ('numba', 'gguf', 'tqdm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
