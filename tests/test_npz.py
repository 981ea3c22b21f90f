"""npz: what NumPy reads is what we wrote, and what is no model of ours is a clear error."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinylm import load
from tinylm.errors import FileFormatError
from tinylm.formats import convert, open_model, save_model
from tinylm.formats.npz import open_npz
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("npz")
    config = GPT2Config(vocab_size=256, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    save_model(folder / "m", GPT2(config, Initializer(0)), ByteTokenizer())
    return convert(folder / "m", folder / "m.npz")


def test_numpy_alone_reads_what_is_written(good) -> None:
    with np.load(good) as arrays:
        assert json.loads(arrays["config.json"].item().decode())["n_embd"] == 8
        weights = {name: array for name, array in arrays.items() if not name.endswith(".json")}
    tensors = open_model(good.with_name("m")).tensors
    assert set(weights) == set(tensors)
    for name, array in weights.items():
        np.testing.assert_array_equal(array, tensors[name])


def test_what_numpy_writes_is_read(good, tmp_path) -> None:
    with np.load(good) as arrays:
        contents = {name: np.asfortranarray(array) for name, array in arrays.items()}
    np.savez(tmp_path / "again.npz", **contents)
    for name, array in load(good).model.state_dict().items():
        np.testing.assert_array_equal(load(tmp_path / "again.npz").model.state_dict()[name], array)


def test_half_precision_halves_the_file_and_equal_models_give_equal_files(good, tmp_path) -> None:
    half = convert(good, tmp_path / "half.npz", dtype="f16")
    assert open_npz(half).tensors["transformer.wte.weight"].dtype == np.float16
    assert convert(good, tmp_path / "again.npz").read_bytes() == good.read_bytes()


def npy(array, **settings) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array), **settings)
    return out.getvalue()


CONFIG = npy(np.array(b"{}"))
HUGE = npy(np.zeros(3)).replace(b"(3,), ", b"(3" + b"0" * 3 + b",)")
BAD = {
    "no npz file": None,
    "is a Python pickle": b"\x80\x02}q\x00.",
    "holds no config.json": {"a.npy": npy(np.zeros(2))},
    "model_type is None": {"config.json.npy": CONFIG},
    "malformed JSON": {"config.json.npy": npy(np.array(b"{"))},
    "must hold an object": {"config.json.npy": npy(np.array(b"[]"))},
    "must be a text": {"config.json.npy": npy(np.zeros(2))},
    "which is no array": {"config.json": CONFIG},
    "holds Python objects": {"config.json.npy": CONFIG, "a.npy": npy(np.array([{}]), allow_pickle=True)},
    "is i4|is <i4": {"config.json.npy": CONFIG, "a.npy": npy(np.zeros(2, np.int32))},
    "does not fill": {"config.json.npy": CONFIG, "a.npy": HUGE},
    "no npz file: ": {"config.json.npy": CONFIG, "a.npy": b"nonsense"},
    "of version": {"config.json.npy": CONFIG, "a.npy": npy(np.zeros(2)).replace(b"NUMPY\1", b"NUMPY\3")},
}


@pytest.mark.parametrize("words", BAD)
def test_a_file_that_is_no_model_is_refused(tmp_path, words) -> None:
    path, content = tmp_path / "bad.npz", BAD[words]
    if isinstance(content, dict):
        with zipfile.ZipFile(path, "w") as archive:
            for name, raw in content.items():
                archive.writestr(name, raw)
    else:
        path.write_bytes(content or b"nonsense")
    with pytest.raises(FileFormatError, match=words) as caught:
        open_npz(path).build()
    assert caught.value.path == str(path)


def test_compressed_members_are_refused(tmp_path) -> None:
    np.savez_compressed(tmp_path / "c.npz", a=np.zeros(10_000))
    with pytest.raises(FileFormatError, match=r"write it with np\.savez"):
        open_npz(tmp_path / "c.npz")


def test_a_cut_or_a_flip_anywhere_is_read_or_refused(good, tmp_path) -> None:
    content, bad = good.read_bytes(), tmp_path / "bad.npz"
    rng = np.random.default_rng(0)
    places = rng.integers(0, len(content), 300)
    changed = [content[:place] for place in places[:60]]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        changed.append(bytes(flipped))
    exact, refused = load(good).model.state_dict(), 0
    for each in changed:
        bad.write_bytes(each)
        try:
            model = open_npz(bad).build()
        except FileFormatError:
            refused += 1
            continue
        for name, array in model.state_dict().items():  # checksums: what is read is what was written
            np.testing.assert_array_equal(array, exact[name])
    assert refused > len(changed) / 2
