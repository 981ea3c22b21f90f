"""LoRA: what is frozen, what is learnt, and the folder of an adapter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.autograd import no_grad
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import convert, read_safetensors, save_adapter, save_model, write_safetensors
from tinylm.models import GPT2, GPT2Config, Llama, LlamaConfig, LowRankSettings, add_low_rank
from tinylm.nn import Initializer, random_step
from tinylm.optim import AdamW, parameter_groups
from tinylm.text import ByteTokenizer

IDS = np.arange(24).reshape(2, 12) % 7


def llama(seed: int = 0) -> Llama:
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
    )
    return Llama(config, Initializer(seed))


def logits(model) -> np.ndarray:
    with no_grad():
        return model(IDS).data


def learn(model, steps: int = 5) -> None:
    optimizer = AdamW(parameter_groups(model, 0.0))
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        with random_step(seed=0, step=step):
            model.loss(IDS[:, :-1], IDS[:, 1:]).backward()
        optimizer.step(0.05)
    model.eval()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    save_model(tmp_path / "base", llama(), ByteTokenizer())
    return tmp_path / "base"


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    settings = LowRankSettings(rank=2, alpha=4)
    model = tinylm.load(base).model
    add_low_rank(model, settings, Initializer(1))
    learn(model)
    save_adapter(tmp_path / "adapter", model, str(base), settings)
    return tmp_path / "adapter"


def rewrite(folder: Path, **changes) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_nothing_but_the_thin_matrices_learns() -> None:
    model = llama()
    weights = {name: array.copy() for name, array in model.state_dict().items()}
    before = logits(model)
    add_low_rank(model, LowRankSettings(rank=2, dropout=0.1), Initializer(1))
    # q 24+24, k and v 24+12, o 24+24, gate and up 24+40, down 40+24: all times 2 ranks, 2 layers
    assert model.num_parameters() == 2 * 2 * (48 + 36 + 36 + 48 + 64 + 64 + 64)
    assert np.array_equal(logits(model), before)
    learn(model)
    after = model.state_dict()
    assert all(np.array_equal(after[name], array) for name, array in weights.items())
    assert np.abs(logits(model) - before).max() > 0.01


def test_only_the_layers_that_are_named_are_changed() -> None:
    model = llama()
    add_low_rank(model, LowRankSettings(rank=1, targets=("q_proj", "layers.1.mlp.down_proj")), Initializer(1))
    assert model.num_parameters() == 2 * (24 + 24) + (40 + 24)


def test_a_layer_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(TinylmError, match=r"no layer is called 'q_projj'.*q_proj.*there are q_proj, k_proj"):
        add_low_rank(llama(), LowRankSettings(targets=("q_projj",)), Initializer(1))
    with pytest.raises(TinylmError, match="no layer is called 'lm_head'"):
        add_low_rank(llama(), LowRankSettings(targets=("lm_head",)), Initializer(1))


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"alpha": 0.0}, {"alpha": float("nan")}, {"dropout": 1.0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(TinylmError, match=f"{next(iter(wrong))} is"):
        LowRankSettings(**wrong)


def test_an_adapter_is_small_and_opens_as_its_model_with_the_changes(adapter: Path, base: Path) -> None:
    model = tinylm.load(base).model
    add_low_rank(model, LowRankSettings(rank=2, alpha=4), Initializer(1))
    learn(model)
    opened = tinylm.load(adapter)
    assert np.allclose(logits(opened.model), logits(model), atol=1e-5)
    assert opened.tokenizer.vocab_size == 256
    assert all(".lora_" in name for name in read_safetensors(adapter / "adapter_model.safetensors"))
    assert opened.generate("ab", max_tokens=3, temperature=0)


def test_converting_an_adapter_merges_it(adapter: Path, tmp_path: Path) -> None:
    convert(adapter, tmp_path / "merged", to="safetensors")
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    merged, opened = tinylm.load(tmp_path / "merged").model, tinylm.load(adapter).model
    assert np.array_equal(logits(merged), logits(opened))


def test_a_transposed_layer_is_changed_as_it_is_stored(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=256, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    save_model(tmp_path / "base", GPT2(config, Initializer(0)))
    model = tinylm.load(tmp_path / "base").model
    settings = LowRankSettings(rank=2)
    add_low_rank(model, settings, Initializer(1))
    learn(model)
    save_adapter(tmp_path / "adapter", model, str(tmp_path / "base"), settings)
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["fan_in_fan_out"]
    assert np.allclose(logits(tinylm.load(tmp_path / "adapter").model), logits(model), atol=1e-5)


def test_what_was_trained_whole_is_kept_whole(tmp_path: Path, base: Path) -> None:
    model = tinylm.load(base).model
    settings = LowRankSettings(rank=2, targets=("q_proj",))
    add_low_rank(model, settings, Initializer(1))
    model.head.weight.requires_grad = True
    learn(model)
    save_adapter(tmp_path / "adapter", model, str(base), settings)
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["modules_to_save"] == ["lm_head"]
    assert np.allclose(logits(tinylm.load(tmp_path / "adapter").model), logits(model), atol=1e-5)


def test_the_model_may_lie_beside_the_adapter(adapter: Path, tmp_path: Path, monkeypatch) -> None:
    expected = logits(tinylm.load(adapter).model)
    rewrite(adapter, base_model_name_or_path="../base")
    monkeypatch.chdir("/")
    assert np.array_equal(logits(tinylm.load(adapter).model), expected)


def test_a_scale_by_the_root_of_the_rank_is_understood(adapter: Path, base: Path) -> None:
    before = logits(tinylm.load(adapter).model)
    rewrite(adapter, use_rslora=True, lora_alpha=4 / 2**0.5)
    assert np.allclose(logits(tinylm.load(adapter).model), before, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; supported: LORA"),
        ({"use_dora": True}, "use_dora is True"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern is"),
        ({"lora_alpha": "4"}, "lora_alpha is '4', expected a number"),
        ({"lora_alpha": float("nan")}, "NaN"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path, where the model lies, is missing"),
        ({"base_model_name_or_path": "nowhere"}, "there is no such model"),
        ({"base_model_name_or_path": "../adapter"}, "is an adapter itself"),
        ({"fan_in_fan_out": True}, "has lora_A"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(adapter: Path, change: dict, message: str) -> None:
    rewrite(adapter, **change)
    with pytest.raises(FileFormatError, match=message):
        tinylm.load(adapter).model  # noqa: B018


LAYER = "base_model.model.model.layers.0.mlp.down_proj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({f"{LAYER}.lora_A.weight": None}, "belongs to no layer's lora_A and lora_B"),
        ({f"{LAYER}.lora_B.weight": None}, "model.layers.0.mlp.down_proj has no lora_B"),
        ({f"{LAYER}.lora_A.weight": np.zeros((0, 40), np.float32)}, "has lora_A"),
        ({f"{LAYER}.lora_A.weight": np.zeros((2, 39), np.float32)}, "has lora_A"),
        ({f"{LAYER}.lora_magnitude_vector": np.zeros(2, np.float32)}, "lora_magnitude_vector"),
        ({"base_model.model.model.layers.7.mlp.down_proj.weight": np.zeros(2, np.float32)}, "unknown"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(adapter: Path, change: dict, message: str) -> None:
    path = adapter / "adapter_model.safetensors"
    arrays = {name: array.copy() for name, array in read_safetensors(path).items()} | change
    write_safetensors(path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(FileFormatError, match=message):
        tinylm.load(adapter).model  # noqa: B018


def test_layers_of_another_model_are_refused(adapter: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "gpt2", GPT2(GPT2Config(vocab_size=256, n_embd=8, n_layer=1, n_head=2), Initializer(0)))
    rewrite(adapter, base_model_name_or_path=str(tmp_path / "gpt2"))
    with pytest.raises(FileFormatError, match="is no layer of"):
        tinylm.load(adapter).model  # noqa: B018
