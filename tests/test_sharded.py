"""Weights in several files: cut where one would be too large, read as one, and refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tinylm.errors import FileFormatError
from tinylm.formats.safetensors import read_safetensors, write_safetensors
from tinylm.formats.sharded import INDEX, SINGLE, read_weights, write_weights

TENSORS = {name: np.full((4, 8), number, np.float32) for number, name in enumerate("abcde")}  # 128 bytes each


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_weights_below_the_limit_are_one_file(tmp_path) -> None:
    write_weights(tmp_path, TENSORS, shard_bytes=640)
    assert files(tmp_path) == [SINGLE]
    assert list(read_weights(tmp_path)) == list(read_safetensors(tmp_path / SINGLE))


def test_weights_above_it_are_several_with_an_index(tmp_path) -> None:
    write_weights(tmp_path, TENSORS, {"format": "pt"}, shard_bytes=300)
    shards = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    assert files(tmp_path) == [*shards, INDEX]
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == 5 * 128
    assert index["weight_map"] == dict(zip("abcde", [shards[0]] * 2 + [shards[1]] * 2 + [shards[2]], strict=True))
    for name, array in read_weights(tmp_path).items():
        np.testing.assert_array_equal(array, TENSORS[name])
        assert not array.flags.owndata


def test_a_tensor_larger_than_the_limit_stands_alone(tmp_path) -> None:
    write_weights(tmp_path, {"a": np.zeros(9), "b": np.zeros(900), "c": np.zeros(9)}, shard_bytes=300)
    assert [len(read_safetensors(file)) for file in sorted(tmp_path.glob("*.safetensors"))] == [1, 1, 1]


@pytest.mark.parametrize(("first", "then"), [(640, 300), (300, 640), (130, 300)])
def test_nothing_is_left_of_an_earlier_write(tmp_path, first, then) -> None:
    write_weights(tmp_path, {name: array + 9 for name, array in TENSORS.items()}, shard_bytes=first)
    write_weights(tmp_path, TENSORS, shard_bytes=then)
    assert files(tmp_path) == ([SINGLE] if then == 640 else sorted([*{*read_index(tmp_path).values()}, INDEX]))
    for name, array in read_weights(tmp_path).items():
        np.testing.assert_array_equal(array, TENSORS[name])


def read_index(folder: Path) -> dict[str, str]:
    return json.loads((folder / INDEX).read_text())["weight_map"]


def test_a_write_that_fails_leaves_no_index_of_two_writes(tmp_path, monkeypatch) -> None:
    write_weights(tmp_path, TENSORS, shard_bytes=300)
    broken = {**TENSORS, "c": np.zeros(2, object)}
    with pytest.raises(ValueError, match="object"):
        write_weights(tmp_path, broken, shard_bytes=300)
    with pytest.raises(FileFormatError, match="no such file"):
        read_weights(tmp_path)


ONE = "model-00001-of-00002.safetensors"
BAD = {
    "malformed JSON": "{",
    "expected an object whose weight_map": "[]",
    "gives the file of each tensor": '{"weight_map": {"a": 3}}',
    "no such file": '{"weight_map": {"a": "model-9.safetensors"}}',
    "not a safetensors file beside it": '{"weight_map": {"a": "../other.safetensors"}}',
    "'/etc/x.safetensors', not": '{"weight_map": {"a": "/etc/x.safetensors"}}',
    "'pytorch_model.bin', not": '{"weight_map": {"a": "pytorch_model.bin"}}',
    "'z' is not in it": json.dumps({"weight_map": dict.fromkeys("abz", ONE)}),
    "'b' is in it, and the index does not say so": json.dumps({"weight_map": {"a": ONE}}),
    "twice": '{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}',
    "over the cap of 100,000": json.dumps({"weight_map": {f"t{i}": "x.safetensors" for i in range(100_001)}}),
    "over the cap of 10,000": json.dumps({"weight_map": {f"t{i}": f"{i}.safetensors" for i in range(10_001)}}),
}


@pytest.mark.parametrize("words", BAD)
def test_an_index_that_does_not_fit_is_refused(tmp_path, words) -> None:
    write_safetensors(tmp_path / ONE, {"a": np.zeros(2), "b": np.zeros(2)})
    (tmp_path / INDEX).write_text(BAD[words])
    with pytest.raises(FileFormatError, match=words) as caught:
        read_weights(tmp_path)
    assert str(tmp_path) in caught.value.path
    assert len(str(caught.value)) < 600
