"""Model folders go both ways between here and transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tinylm.formats import load_model, save_model
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.text import CharTokenizer

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

V = 53
IDS = np.random.default_rng(0).integers(0, V, (3, 17))


def torch_logits(model, ids: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(torch.from_numpy(ids)).logits.numpy()


@pytest.mark.parametrize(("tied", "activation"), [(True, "gelu_new"), (False, "gelu_new"), (True, "gelu")])
def test_a_gpt2_saved_here_gives_the_same_logits_in_transformers(tmp_path: Path, tied: bool, activation: str) -> None:
    config = GPT2Config(
        V, n_positions=19, n_embd=36, n_layer=3, n_head=3, n_inner=50, initializer_range=0.2, tie_word_embeddings=tied,
        activation_function=activation,
    )  # fmt: skip
    ours = GPT2(config, Initializer(1))
    save_model(tmp_path / "m", ours, CharTokenizer([chr(65 + i) for i in range(V)]))
    theirs, report = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "m", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert np.abs(ours(IDS).data - torch_logits(theirs, IDS)).max() < 2e-5


@pytest.mark.parametrize("tied", [True, False])
def test_a_gpt2_saved_by_transformers_gives_the_same_logits_and_gradients_here(tmp_path: Path, tied: bool) -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=V, n_positions=19, n_embd=36, n_layer=3, n_head=3, initializer_range=0.2, tie_word_embeddings=tied
    )
    theirs = transformers.GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path / "m")
    ours = load_model(tmp_path / "m")
    assert np.abs(ours(IDS).data - torch_logits(theirs, IDS)).max() < 2e-5
    ours.astype(np.float64)
    loss = ours.loss(IDS[:, :-1], IDS[:, 1:])
    loss.backward()
    # Its own loss rounds to float32 on the way.
    logits = theirs.double()(torch.from_numpy(IDS)).logits[:, :-1]
    expected = torch.nn.functional.cross_entropy(logits.reshape(-1, V), torch.from_numpy(IDS[:, 1:]).reshape(-1))
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    stored = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    names = ours.folder_names()
    for name, parameter in ours.named_parameters():
        (stored_name,), transposed = names[name].names, names[name].transposed
        gradient = stored[stored_name].T if transposed else stored[stored_name]
        assert np.abs(parameter.grad - gradient).max() < 1e-9 * max(1, np.abs(gradient).max()), name
