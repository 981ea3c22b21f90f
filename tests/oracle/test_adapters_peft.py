"""LoRA against PEFT: what is computed, what is learnt, and adapters both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from families import CASES, DECODERS, ENCODER_DECODERS, IDS, MASK, TARGETS, in_ours
from float64 import in_float64

import tinylm
from tinylm.autograd import no_grad
from tinylm.formats import save_adapter
from tinylm.models import LowRankSettings, add_low_rank
from tinylm.nn import Initializer
from tinylm.optim import SGD

# A decoder, an encoder and an encoder-decoder, with layers stored one by one, fused, transposed, and head by head.
NAMES = ["llama", "gpt2", "gpt_neox", "qwen2", "bert, masked language", "bart", "t5"]


def base_folder(folder: Path, theirs: Any) -> Path:
    theirs.save_pretrained(folder)
    return folder


def their_logits(name: str, model: Any) -> np.ndarray:
    targets = {"decoder_input_ids": torch.tensor(TARGETS)} if name in ENCODER_DECODERS else {}
    with torch.no_grad():
        return model(torch.tensor(IDS), attention_mask=torch.tensor(MASK.astype(int)), **targets).logits.numpy()


def our_logits(name: str, model: Any) -> np.ndarray:
    with no_grad():
        return (model(IDS, TARGETS, MASK) if name in ENCODER_DECODERS else model(IDS, key_mask=MASK)).data


def assert_same(name: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    counted = MASK if theirs.shape[:2] == MASK.shape and name not in ENCODER_DECODERS else slice(None)
    assert np.abs(ours - theirs)[counted].max() < tolerance * np.abs(theirs).max()


def randomized(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    for key, parameter in model.named_parameters():
        if "lora_" in key:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_of_peft_opens_as_its_model_with_the_changes(tmp_path: Path, name: str) -> None:
    theirs = CASES[name].build().float().eval()
    base = base_folder(tmp_path / "base", theirs)
    config = peft.LoraConfig(r=3, lora_alpha=5, target_modules="all-linear")
    adapted = randomized(peft.get_peft_model(theirs, config))
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(tmp_path / "adapter")
    opened = tinylm.load(tmp_path / "adapter").model
    assert_same(name, our_logits(name, opened), their_logits(name, adapted.eval()), 1e-4)  # merged in float32


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_saved_here_gives_the_same_logits_in_peft_and_here(tmp_path: Path, name: str) -> None:
    theirs = CASES[name].build()
    base = base_folder(tmp_path / "base", theirs)
    ours = in_ours(CASES[name], theirs)
    before = our_logits(name, ours)
    settings = LowRankSettings(rank=3, alpha=5)
    add_low_rank(ours, settings, Initializer(0))
    assert np.array_equal(our_logits(name, ours), before)
    for seed, parameter in enumerate(p for p in ours.parameters() if p.requires_grad):
        parameter.data = 0.3 * np.random.default_rng(seed).standard_normal(parameter.shape, dtype=np.float32)
    save_adapter(tmp_path / "adapter", ours, str(base), settings)
    expected = our_logits(name, ours.astype(np.float64))
    with in_float64(CASES[name].family):
        adapted = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").double().eval()
        assert_same(name, expected, their_logits(name, adapted), 1e-12)
    assert_same(name, our_logits(name, tinylm.load(tmp_path / "adapter").model), expected, 1e-4)  # merged in float32


@pytest.mark.parametrize("name", [name for name in NAMES if name in DECODERS])
def test_ten_steps_change_the_matrices_as_they_do_in_peft(tmp_path: Path, name: str) -> None:
    theirs = CASES[name].build().float().eval()
    ours = in_ours(CASES[name], theirs).astype(np.float32)
    targets = {"gpt2": ["c_attn"], "gpt_neox": ["query_key_value"]}.get(name, ["q_proj", "v_proj", "down_proj"])
    settings = LowRankSettings(rank=2, alpha=8, targets=tuple(targets))
    add_low_rank(ours, settings, Initializer(1))
    save_adapter(tmp_path / "first", ours, "base", settings)
    adapted = peft.PeftModel.from_pretrained(theirs, tmp_path / "first", is_trainable=True)
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    our_optimizer = SGD([p for p in ours.parameters() if p.requires_grad], momentum=0.0)
    for step in range(10):
        loss = adapted(torch.tensor(IDS), labels=torch.tensor(IDS)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        our_optimizer.zero_grad()
        our_loss = ours.loss(IDS[:, :-1], IDS[:, 1:])
        our_loss.backward()
        our_optimizer.step(0.1)
        assert our_loss.item() == pytest.approx(loss.item(), rel=2e-5), step
