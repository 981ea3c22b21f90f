"""Generation, sampling and scoring."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm
from tinylm.errors import TinylmError
from tinylm.formats import save_model
from tinylm.inference import Sampler, generate, log_probabilities, probabilities, window_start
from tinylm.models import GPT2, GPT2Config, LSTMConfig, LSTMLanguageModel
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer, CharTokenizer

V = 13


def gpt2() -> GPT2:
    config = GPT2Config(V, n_positions=8, n_embd=12, n_layer=2, n_head=2, initializer_range=0.3)
    return GPT2(config, Initializer(0, np.float64))


def lstm() -> LSTMLanguageModel:
    return LSTMLanguageModel(LSTMConfig(V, 6, 9, 2), Initializer(0, np.float64))


@pytest.mark.parametrize("make", [gpt2, lstm])
@pytest.mark.parametrize("prompt", [[1], [1, 2, 3], list(range(12))])
def test_the_cache_does_not_change_the_text_also_beyond_the_context(make, prompt) -> None:
    model = make()
    texts = [list(generate(model, prompt, Sampler(seed=5), max_tokens=30, use_cache=cache)) for cache in (True, False)]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 30


def test_the_same_seed_writes_the_same_and_another_seed_does_not() -> None:
    first, again, other = (list(generate(gpt2(), [1], Sampler(seed=s), max_tokens=20)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_stop_token_ends_the_text_and_is_not_part_of_it() -> None:
    free = list(generate(gpt2(), [1], Sampler(temperature=0), max_tokens=20))
    stopped = list(generate(gpt2(), [1], Sampler(temperature=0), max_tokens=20, stop={free[5]}))
    assert stopped == free[: free.index(free[5])]


@given(st.integers(1, 400), st.integers(1, 33))
def test_the_window_always_fits_and_never_falls_below_half_the_context(length: int, context: int) -> None:
    start = window_start(length, context)
    assert 0 <= start < length
    assert length - start <= context
    assert start == 0 or length - start > context - max(context // 2, 1)
    assert window_start(length, None) == 0


LOGITS = np.log(np.array([0.5, 0.2, 0.15, 0.1, 0.05]))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.5, 0.2, 0.15, 0.1, 0.05]),
        ({"top_k": 2}, [5 / 7, 2 / 7, 0, 0, 0]),
        ({"top_p": 0.6}, [5 / 7, 2 / 7, 0, 0, 0]),
        ({"top_p": 0.5}, [1, 0, 0, 0, 0]),
        ({"top_k": 99, "top_p": 1.0}, [0.5, 0.2, 0.15, 0.1, 0.05]),
        ({"temperature": 0.5}, np.array([0.25, 0.04, 0.0225, 0.01, 0.0025]) / 0.325),
    ],
)
def test_the_limits_of_sampling_keep_what_they_promise(settings, expected) -> None:
    assert np.allclose(Sampler(**settings).distribution(LOGITS), expected)


def test_draws_follow_the_distribution() -> None:
    sampler = Sampler(seed=0)
    counts = np.bincount([sampler(LOGITS) for _ in range(20_000)], minlength=5) / 20_000
    # Five standard errors of a share of one half.
    assert np.abs(counts - np.exp(LOGITS)).max() < 5 * math.sqrt(0.25 / 20_000)


def test_equal_logits_and_temperature_zero_have_one_answer() -> None:
    assert Sampler(temperature=0)(np.array([1.0, 3.0, 3.0])) == 1
    assert (Sampler(top_k=1).distribution(np.zeros(4)) == [1, 0, 0, 0]).all()


@pytest.mark.parametrize(
    "settings",
    [{"temperature": -1}, {"temperature": math.nan}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}, {"seed": -1}],
)
def test_settings_outside_their_range_are_named(settings) -> None:
    with pytest.raises(TinylmError, match=next(iter(settings))):
        Sampler(**settings)


def test_the_chain_rule_adds_up_to_the_probability_of_the_text() -> None:
    model, ids = gpt2(), np.array([3, 1, 4, 1, 5])
    expected = [math.log(probabilities(model(ids[None, :t]).data[0, -1])[ids[t]]) for t in range(1, len(ids))]
    assert np.allclose(log_probabilities(model, ids), expected)


@pytest.mark.parametrize("make", [gpt2, lstm])
def test_a_long_text_is_scored_token_by_token(make) -> None:
    model = make()
    ids = np.random.default_rng(0).integers(0, V, 31)
    scores = log_probabilities(model, ids)
    assert scores.shape == (30,)
    assert (scores < 0).all()
    assert np.allclose(scores[:7], log_probabilities(model, ids[:8]))
    assert log_probabilities(model, ids[:1]).shape == (0,)


@pytest.fixture
def lm(tmp_path: Path) -> tinylm.LM:
    config = GPT2Config(256, n_positions=8, n_embd=12, n_layer=1, n_head=2, initializer_range=0.3)
    save_model(tmp_path / "m", GPT2(config, Initializer(0)), ByteTokenizer())
    return tinylm.load(tmp_path / "m")


def test_streamed_pieces_join_to_the_text_and_never_split_a_character(lm: tinylm.LM) -> None:
    pieces = list(lm.stream("今天", max_tokens=40, seed=3))
    assert "".join(pieces) == lm.generate("今天", max_tokens=40, seed=3)
    assert all(piece for piece in pieces)


def test_next_is_a_distribution_in_order(lm: tinylm.LM) -> None:
    candidates = lm.next("天气很好", k=256)
    assert sum(c.probability for c in candidates) == pytest.approx(1)
    assert [c.probability for c in candidates] == sorted((c.probability for c in candidates), reverse=True)
    assert len(lm.next("天", k=3)) == 3


def test_a_chinese_model_knows_its_characters(tmp_path: Path) -> None:
    tokenizer = CharTokenizer("今天气很好不")
    config = GPT2Config(6, n_positions=8, n_embd=12, n_layer=1, n_head=2)
    save_model(tmp_path / "m", GPT2(config, Initializer(0)), tokenizer)
    lm = tinylm.load(tmp_path / "m")
    score = lm.score("今天天气很好")
    assert len(score.tokens) == 6
    assert len(score.log_probabilities) == 5
    assert score.total == pytest.approx(sum(score.log_probabilities))
    with pytest.raises(TinylmError, match=r"U\+0041"):
        lm.next("A")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda lm: lm.next(""), "empty"),
        (lambda lm: lm.generate("a", max_tokens=-1), "max_tokens is -1"),
        (lambda lm: lm.generate("a", top_p=2.0), "top_p"),
        (lambda lm: lm.evaluate(["/nowhere/at/all.txt"]), "all.txt"),
    ],
)
def test_misuse_is_named(lm: tinylm.LM, call, words) -> None:
    with pytest.raises(TinylmError, match=words):
        call(lm)


def test_ids_of_the_wrong_kind_are_named(lm: tinylm.LM) -> None:
    with pytest.raises(TypeError, match="expected input_ids of shape"):
        lm.logits([[0.5]])
    with pytest.raises(ValueError, match="outside the table"):
        lm.logits([[256]])
