"""Every family against transformers: what a model computes, what it learns from, and its folder, both ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from families import CASES, DECODERS, ENCODER_DECODERS, IDS, KINDS, MASK, TARGETS, V, in_ours, measure
from float64 import in_float64

from tinylm.autograd import no_grad
from tinylm.formats import load_model, open_folder, read_generation_config, save_model
from tinylm.inference import Sampler, generate, target_start

EPS32 = float(np.finfo(np.float32).eps)


def assert_close(found: dict[str, dict[str, float]]) -> None:
    """In float64 the rounding of some hundred sums; in float32 three times transformers' own rounding."""
    for kind, difference in found["float64"].items():
        assert difference < 1e-13, (kind, found)
    for kind, difference in found["float32"].items():
        assert difference <= 3 * found["own float32"][kind] + 4 * EPS32, (kind, found)


@pytest.mark.parametrize("name", CASES)
def test_a_model_computes_and_learns_what_it_does_in_transformers(name: str) -> None:
    assert_close(measure(CASES[name], *KINDS[name]))


@pytest.mark.parametrize("name", CASES)
def test_a_model_saved_here_gives_the_same_logits_in_transformers(tmp_path, name: str) -> None:
    case = CASES[name]
    ours = in_ours(case, case.build())
    for seed, parameter in enumerate(ours.parameters()):
        parameter.data += 0.2 * np.random.default_rng(seed).standard_normal(parameter.shape, dtype=np.float32)
    save_model(tmp_path, ours)
    targets = {"decoder_input_ids": torch.tensor(TARGETS)} if name in ENCODER_DECODERS else {}
    with in_float64(case.family), torch.no_grad():
        theirs, report = getattr(transformers, case.model).from_pretrained(tmp_path, output_loading_info=True)
        theirs = theirs.double().eval()
        seen = theirs(torch.tensor(IDS), attention_mask=torch.tensor(MASK.astype(int)), **targets)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    logits = (seen.logits if "logits" in seen else torch.stack([seen.start_logits, seen.end_logits], -1)).numpy()
    ours.astype(np.float64)
    with no_grad():
        found = (ours(IDS, TARGETS, MASK) if targets else ours(IDS, key_mask=MASK)).data
    counted = MASK if logits.shape[:2] == MASK.shape else slice(None)
    assert np.abs(found - logits)[counted].max() < 1e-12 * np.abs(logits).max()


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


FORCED = {"forced_bos_token_id": 5, "forced_eos_token_id": 2, "bad_words_ids": [[9], [11], [2]], "eos_token_id": 2}


@pytest.mark.parametrize("rules", [{}, FORCED], ids=["free", "forced"])
@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_greedy_translation_writes_the_same_tokens_with_a_cache_and_without(tmp_path, name: str, rules) -> None:
    case = ENCODER_DECODERS[name]
    theirs = case.build().float()
    start = theirs.config.decoder_start_token_id
    rules = {
        "forced_bos_token_id": None,
        "forced_eos_token_id": None,
        "bad_words_ids": None,
        "eos_token_id": 52,
        **rules,
    }
    for key, value in {**rules, "decoder_start_token_id": start, "pad_token_id": 0}.items():
        setattr(theirs.generation_config, key, value)
    theirs.save_pretrained(tmp_path)
    config = read_generation_config(open_folder(tmp_path))
    inputs = {"input_ids": torch.tensor(IDS), "attention_mask": torch.tensor(MASK.astype(int))}
    with torch.no_grad():
        settings = {"do_sample": False, "num_beams": 1, "use_cache": False, "max_new_tokens": 12}
        expected = theirs.generate(**inputs, **settings)[:, 1:].tolist()
    for row, tokens in enumerate(expected):
        tokens = tokens[rules["forced_bos_token_id"] is not None :]
        tokens = tokens[: tokens.index(config.eos_token_id[0])] if config.eos_token_id[0] in tokens else tokens
        given = load_model(tmp_path).given(IDS[row : row + 1], MASK[row : row + 1])
        for use_cache in (True, False):
            choose = Sampler(temperature=0, logit_bias=dict.fromkeys(config.banned, -np.inf))
            first, room = target_start(given, config, 12)
            limits = {"max_tokens": room, "stop": config.eos_token_id, "use_cache": use_cache}
            assert list(generate(given, first, choose, **limits)) == tokens


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_sources_are_read_once_and_each_may_have_several_rows_of_targets(name: str) -> None:
    case = ENCODER_DECODERS[name]
    theirs = case.build()
    ours = in_ours(case, theirs).astype(np.float64)
    rows = np.repeat(np.arange(4), 2)
    targets = np.random.default_rng(5).integers(3, V, (8, 6))
    with in_float64(case.family), torch.no_grad():
        seen = theirs(
            torch.tensor(IDS[rows]),
            attention_mask=torch.tensor(MASK[rows].astype(int)),
            decoder_input_ids=torch.tensor(targets),
        )
    given, order = ours.given(IDS, MASK), np.array([1, 0, 3, 2, 4, 4, 6, 7])  # as beams that change places
    cache = given.new_cache(8)
    with no_grad():
        first = given(targets[:, :2], cache).data
        cache.select(order)
        rest = given(targets[order, 2:], cache).data
    expected = seen.logits.numpy()
    assert np.abs(first - expected[:, :2]).max() < 1e-13 * np.abs(expected).max()
    assert np.abs(rest - expected[order, 2:]).max() < 1e-13 * np.abs(expected).max()


def test_the_table_of_the_documentation_has_a_row_for_every_model() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    rows = text.partition("test_families.py`")[0].partition("families.py -->")[2].splitlines()
    assert [row.split("|")[1].strip() for row in rows if row.startswith("| ")][1:] == list(CASES)
