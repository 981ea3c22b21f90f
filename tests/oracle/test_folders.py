"""Model folders in several files and in fewer bits go both ways between here and transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tinylm import load
from tinylm.formats import convert
from tinylm.formats.sharded import INDEX, SINGLE, read_weights, write_weights

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

V = 61
IDS = np.random.default_rng(0).integers(0, V, (2, 11))


@pytest.fixture
def theirs():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, initializer_range=0.2,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def logits(model) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(IDS)).logits.float().numpy()


def test_several_files_of_transformers_are_read(theirs, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert not (tmp_path / SINGLE).exists()
    assert np.abs(load(tmp_path).logits(IDS) - logits(theirs)).max() < 2e-5


def test_several_files_of_ours_are_read_by_transformers(theirs, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    write_weights(tmp_path, dict(read_weights(tmp_path)), {"format": "pt"}, shard_bytes=20_000)
    assert (tmp_path / INDEX).exists()
    assert not (tmp_path / SINGLE).exists()
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path).eval()
    np.testing.assert_array_equal(logits(again), logits(theirs))


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_fewer_bits_are_the_same_in_transformers(theirs, tmp_path: Path, dtype: str) -> None:
    theirs.save_pretrained(tmp_path / "m")
    again = transformers.LlamaForCausalLM.from_pretrained(
        convert(tmp_path / "m", tmp_path / "half", dtype=dtype)
    ).eval()
    assert again.dtype == {"bf16": torch.bfloat16, "f16": torch.float16}[dtype]
    ours = load(tmp_path / "half")
    state = again.float().state_dict()
    for name, array in read_weights(tmp_path / "half").items():
        np.testing.assert_array_equal(array.astype(np.float32), state[name].numpy())
    assert np.abs(ours.logits(IDS) - logits(again)).max() < 2e-5


def test_bfloat16_rounds_as_torch_does(theirs, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path / "m")
    convert(tmp_path / "m", tmp_path / "half", dtype="bf16")
    exact, rounded = read_weights(tmp_path / "m"), read_weights(tmp_path / "half")
    for name, array in exact.items():
        expected = torch.from_numpy(array.copy()).to(torch.bfloat16).to(torch.float32).numpy()
        np.testing.assert_array_equal(rounded[name], expected)
