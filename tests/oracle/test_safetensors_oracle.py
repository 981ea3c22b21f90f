"""Our safetensors against the wheel: the same tensors in both directions, and never more lenient.

What we refuse and the wheel accepts is the list in the docstring of `tinylm.formats.safetensors`; BEYOND
holds the reasons, and every disagreement found here must carry one of them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinylm.errors import FileFormatError
from tinylm.formats import safetensors as ours

wheel = pytest.importorskip("safetensors")
wheel_numpy = pytest.importorskip("safetensors.numpy")
pytestmark = pytest.mark.oracle

BEYOND = re.compile(
    "appears twice"  # a name twice
    "|exactly dtype, shape and data_offsets"  # fields the format does not have, a tensor written as a list
    "|__metadata__ must be an object"  # null
    "|must begin with '{'"  # leading white space
    "|over the cap|at most 64|too large"  # caps
    "|dtype '(F8_|F6_|F4)|digits"
)
WHEEL_DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]


def wheel_accepts(content: bytes) -> bool:
    try:
        wheel.deserialize(content)
    except wheel.SafetensorError:
        return False
    return True


def reason_to_refuse(content: bytes) -> str | None:
    try:
        ours._parse(Path("file"), content)
    except FileFormatError as error:
        return error.reason
    return None


def check_agreement(content: bytes) -> None:
    reason = reason_to_refuse(content)
    if not wheel_accepts(content):
        assert reason is not None, content[:300]
    elif reason is not None:
        assert BEYOND.search(reason), (reason, content[:300])


def example() -> bytes:
    tensors = {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "é": np.zeros((2, 0), np.int64)}
    return wheel_numpy.save({**tensors, "m": np.array([True, False])}, {"k": 'v"\\'})


def header_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def test_a_file_cut_anywhere_is_refused_by_both():
    good = example()
    for length in range(len(good)):
        assert not wheel_accepts(good[:length])
        assert reason_to_refuse(good[:length]) is not None


def test_no_byte_of_a_header_can_be_changed_so_that_only_we_accept_it():
    good = example()
    for position in range(header_end(good)):
        for value in {*range(0x20, 0x7F), 0, 9, 10, 13, 0x80, 0xC3, 0xFF} - {good[position]}:
            check_agreement(good[:position] + bytes([value]) + good[position + 1 :])


def test_no_byte_of_a_header_can_be_dropped_or_doubled_so_that_only_we_accept_it():
    good = example()
    end = header_end(good)
    for position in range(8, end):
        for middle in (b"", good[position : position + 1] * 2):
            head = good[8:position] + middle + good[position + 1 : end]
            check_agreement(len(head).to_bytes(8, "little") + head + good[end:])


numbers = st.integers(-1, 8) | st.sampled_from([True, 1.0, None, "1", 2**31, 2**62, 2**63, 2**64, 10**30])
fields = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "BF16", "BOOL", "F8_E4M3", "F4", "f32", "C64", 4, None]),
        "shape": st.lists(numbers, max_size=3),
        "data_offsets": st.lists(numbers, min_size=1, max_size=3),
    },
    optional={"more": numbers},
)
small = st.tuples(st.integers(0, 2), st.integers(0, 3)).map(
    lambda pair: {"dtype": "U8", "shape": [pair[1]], "data_offsets": [pair[0], sum(pair)]}
)
headers = st.dictionaries(
    st.text("ab", max_size=1) | st.just("__metadata__"),
    small | fields | st.dictionaries(st.text("kv", max_size=1), st.text(max_size=1) | numbers, max_size=2),
    max_size=3,
)


@settings(max_examples=1500, deadline=None)
@given(headers, st.integers(0, 8), st.sampled_from([b"", b" ", b"\n", b"\0"]))
def test_no_header_is_accepted_by_us_alone(header, size, padding):
    head = json.dumps(header).encode() + padding
    check_agreement(len(head).to_bytes(8, "little") + head + bytes(size))


@pytest.mark.parametrize(
    "head",
    [
        b'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}',
        b'{"a":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}',
        b'{"a":{"dtype":"U8","shape":[1,],"data_offsets":[0,1]}}',
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":NaN}}',
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"dtype":"U8"}}',
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1e999}}',
        b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b'{"\\udc00\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b'{"a\xed\xa0\x80":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b'{"a\x01":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b'\xef\xbb\xbf{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b'{"a":' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}//',
        b'{"__metadata__":{},"__metadata__":{}}',
    ],
)
def test_the_corners_of_json_are_never_accepted_by_us_alone(head):
    check_agreement(len(head).to_bytes(8, "little") + head + b"\0")
    assert reason_to_refuse(len(head).to_bytes(8, "little") + head + b"\0") is not None


arrays = st.sampled_from(WHEEL_DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name != "__metadata__")


@settings(max_examples=100, deadline=None)
@given(tensors=st.dictionaries(names, arrays, max_size=4), metadata=st.dictionaries(names, names, max_size=2))
def test_each_reads_what_the_other_writes(tmp_path_factory, tensors, metadata):
    by_us, by_wheel = (tmp_path_factory.getbasetemp() / name for name in ("ours", "wheel"))
    ours.write_safetensors(by_us, {name: array.T for name, array in tensors.items()}, metadata)
    read = wheel_numpy.load_file(by_us)
    assert set(read) == set(tensors)
    for name, array in tensors.items():
        assert read[name].tobytes() == array.T.tobytes()
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.T.shape)
    with wheel.safe_open(by_us, "numpy") as opened:
        assert (opened.metadata() or {}) == metadata
    wheel_numpy.save_file(tensors, by_wheel, metadata or None)  # its header of {} and {} is not JSON
    read = ours.read_safetensors(by_wheel)
    assert set(read) == set(tensors)
    for name, array in tensors.items():
        assert read[name].tobytes() == array.tobytes()
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
    assert ours.read_metadata(by_wheel) == metadata


def test_bfloat16_that_torch_writes_is_what_torch_reads(tmp_path):
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    tensor = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    safetensors_torch.save_file({"x": tensor}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(
        ours.read_safetensors(tmp_path / "x.safetensors")["x"], tensor.to(torch.float32).numpy()
    )
