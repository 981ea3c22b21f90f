"""Every family against transformers: what a model computes, what it learns from, and its folder, both ways."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from families import DECODERS, IDS, MASK, in_ours, measure, our_decoder, their_decoder  # noqa: E402

from tinylm.autograd import no_grad  # noqa: E402
from tinylm.formats import save_model  # noqa: E402
from tinylm.inference import generate  # noqa: E402
from tinylm.nn import Initializer  # noqa: E402

EPS32 = float(np.finfo(np.float32).eps)


def assert_close(found: dict[str, dict[str, float]]) -> None:
    """In float64 the rounding of some hundred sums; in float32 three times transformers' own rounding."""
    for kind, difference in found["float64"].items():
        assert difference < 1e-13, (kind, found)
    for kind, difference in found["float32"].items():
        assert difference <= 3 * found["own float32"][kind] + 4 * EPS32, (kind, found)


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_computes_and_learns_what_it_does_in_transformers(name: str) -> None:
    assert_close(measure(DECODERS[name], their_decoder, our_decoder))


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_saved_here_gives_the_same_logits_in_transformers(tmp_path, name: str) -> None:
    case = DECODERS[name]
    loaded = in_ours(case, case.build())
    ours = type(loaded)(loaded.config, Initializer(1))
    for seed, parameter in enumerate(ours.parameters()):
        parameter.data = parameter.data + 0.2 * np.random.default_rng(seed).standard_normal(
            parameter.shape, dtype=np.float32
        )
    save_model(tmp_path, ours)
    theirs, report = getattr(transformers, case.model).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    with torch.no_grad():
        logits = theirs.eval()(torch.tensor(IDS), attention_mask=torch.tensor(MASK.astype(int))).logits.numpy()
    with no_grad():
        found = ours(IDS, key_mask=MASK).data
    assert np.abs(found - logits)[MASK].max() < 1e-5 * np.abs(logits).max()


@pytest.mark.parametrize("name", DECODERS)
def test_greedy_generation_writes_the_same_tokens_with_a_cache_and_without(name: str) -> None:
    case = DECODERS[name]
    theirs = case.build().float()
    ours = in_ours(case, theirs)
    prompt = IDS[:1, :5]
    settings = {"do_sample": False, "max_new_tokens": 12, "eos_token_id": None, "pad_token_id": 0}
    with torch.no_grad():
        expected = theirs.generate(torch.tensor(prompt), **settings)[0, 5:].tolist()
    for use_cache in (True, False):
        found = generate(ours, prompt[0], lambda logits: int(logits.argmax()), max_tokens=12, use_cache=use_cache)
        assert list(found) == expected
