"""Beam search, speculative decoding and batches: other ways to the same texts, or to likelier ones."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_completions import V, Words, gpt2, lstm

from tinylm import LM
from tinylm.cli import main
from tinylm.errors import TinylmError
from tinylm.formats import save_model
from tinylm.inference import (
    BatchWriter,
    BeamSettings,
    GenerationSettings,
    Reader,
    Writer,
    beam_search,
    log_probabilities,
)
from tinylm.inference.beam import repeated_ngrams
from tinylm.inference.speculation import DraftModel, Guess, PromptLookup, speculate
from tinylm.models import GPT2, GPT2Config, Llama, LlamaConfig
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer

TOKENIZER = Words([bytes([97 + id]) for id in range(V)])


def llama(seed: int = 0, dtype=np.float64) -> Llama:
    config = LlamaConfig(V, 12, 20, 2, 2, max_position_embeddings=16, initializer_range=0.4)
    return Llama(config, Initializer(seed, dtype))


def writer(ids, **settings) -> Writer:
    return Writer(ids, TOKENIZER, GenerationSettings(**{"seed": 5, "max_tokens": 20, **settings}), end_ids={3})


def alone(model, ids, **settings) -> Writer:
    reader, made = Reader(model), writer(ids, **settings)
    while made.finish_reason is None:
        made.take(reader.logits(made.ids)[-1])
    return made


# Beams


def test_enough_beams_find_the_likeliest_text_of_all() -> None:
    model = llama()
    texts = list(itertools.product(range(V), repeat=2))
    totals = {text: log_probabilities(model, [1, *text]).sum() for text in texts}
    best = sorted(totals, key=lambda text: -totals[text])[:3]
    found = beam_search(model, [1], BeamSettings(V, length_penalty=0.0), max_tokens=2)
    assert [hypothesis.tokens for hypothesis in found[:3]] == best
    assert [hypothesis.score for hypothesis in found[:3]] == pytest.approx([totals[text] for text in best])


@pytest.mark.parametrize("make", [llama, lstm, gpt2])
def test_one_beam_is_greedy(make) -> None:
    model = make()
    greedy = alone(model, [1, 2], temperature=0, max_tokens=5)
    found = beam_search(model, [1, 2], BeamSettings(1), max_tokens=5, end_ids={3})
    assert [id for id in found[0].tokens if id != 3] == greedy.ids[2:]


@given(st.lists(st.integers(0, 2), max_size=12), st.integers(1, 4))
def test_tokens_that_would_repeat_a_row_are_named(ids: list[int], size: int) -> None:
    seen = {tuple(ids[at : at + size]) for at in range(len(ids) - size + 1)}
    expected = {id for id in range(3) if (*ids[max(0, len(ids) - size + 1) :], id) in seen}
    assert set(repeated_ngrams(ids, size)) == expected


# Guesses


def exact(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The distribution of the token that comes out, by summing over what may be guessed."""
    accepted = q * np.minimum(1, p / np.where(q > 0, q, 1))
    rest = np.maximum(p - q, 0)
    return accepted + (1 - accepted.sum()) * rest / max(rest.sum(), 1e-300)


@given(st.integers(0, 999), st.integers(2, 9))
def test_the_rule_of_acceptance_gives_the_distribution_of_the_model(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(size)), rng.dirichlet(np.ones(size) * 0.3)
    assert np.allclose(exact(p, q), p)
    certain = np.eye(size)[rng.integers(size)]
    assert np.allclose(exact(p, certain), p)


class Always:
    """Guesses the same tokens, from a distribution of its own."""

    def __init__(self, q: np.ndarray | None):
        self.q, self.rng = q, np.random.default_rng(0)

    def guess(self, writer: Writer, most: int) -> list[Guess]:
        if self.q is None:
            return [Guess(token) for token in (4, 1, 2)[:most]]
        return [Guess(int(self.rng.choice(V, p=self.q)), self.q) for _ in range(min(most, 3))]


@pytest.mark.slow
@pytest.mark.parametrize("guess", ["certain", "drawn", "lookup", "model"])
def test_speculation_writes_texts_with_the_probabilities_of_the_model(guess: str) -> None:
    model, draft, ids = llama(), llama(7), [1, 4, 2, 1, 4]
    wide = np.random.default_rng(1).dirichlet(np.ones(V))
    reader, counts, total = Reader(model), {}, 4000
    for seed in range(total):
        drafter = {"certain": lambda: Always(None), "drawn": lambda: Always(wide), "lookup": PromptLookup,
                   "model": lambda: DraftModel(Reader(draft))}[guess]()  # fmt: skip
        made = writer(ids, seed=seed, max_tokens=2, top_k=3)
        for _ in speculate(reader, made, drafter):
            pass
        text = tuple(made.ids[5:])
        counts[text] = counts.get(text, 0) + 1
    expected = {}
    for first, p in enumerate(writer(ids, top_k=3).distribution(reader.logits(ids)[-1])):
        if first == 3 or p == 0:
            expected[()] = expected.get((), 0) + p
            continue
        following = writer([*ids, first], top_k=3).distribution(reader.logits([*ids, first])[-1])
        for second, q in enumerate(following):
            text = (first,) if second == 3 else (first, second)
            expected[text] = expected.get(text, 0) + p * q
    expected = {text: total * p for text, p in expected.items() if p > 0}
    assert set(counts) <= set(expected)
    statistic = sum((counts.get(text, 0) - e) ** 2 / e for text, e in expected.items())
    freedom = len(expected) - 1
    # Chi-square's 99.9 % quantile by Wilson and Hilferty's approximation.
    assert statistic < freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.parametrize("make", [llama, gpt2, lstm])
@pytest.mark.parametrize(
    "drafter", [PromptLookup, lambda: DraftModel(Reader(llama(7))), lambda: DraftModel(Reader(llama()))]
)
def test_a_greedy_text_is_the_same_with_guesses_also_beyond_the_context(make, drafter) -> None:
    model, ids = make(), [1, 2, 1, 2, 1]
    expected = alone(model, ids, temperature=0, max_tokens=30)
    made = writer(ids, temperature=0, max_tokens=30)
    for _ in speculate(Reader(model), made, drafter()):
        pass
    assert (made.ids, made.finish_reason) == (expected.ids, expected.finish_reason)
    assert made.accepted <= len(made.ids) - 5


def test_a_model_that_guesses_what_it_would_write_is_always_right() -> None:
    model, made = llama(), writer([1, 2], temperature=0.8, max_tokens=12)
    for _ in speculate(Reader(model), made, DraftModel(Reader(model))):
        pass
    done = made.completion()
    assert done.usage.accepted_tokens >= done.usage.completion_tokens * 3 // 5  # of five tokens four are guessed


def test_a_prompt_is_looked_up_where_it_stood_last() -> None:
    lookup = PromptLookup(most=3)
    assert [guess.token for guess in lookup.guess(writer([5, 6, 7, 8, 9, 1, 5, 6]), 9)] == [7, 8, 9]
    assert [guess.token for guess in lookup.guess(writer([5, 6, 7, 8, 9, 1, 5, 6]), 2)] == [7, 8]
    assert lookup.guess(writer([1, 2, 4]), 9) == lookup.guess(writer([1]), 9) == []


# Batches


@pytest.mark.parametrize("make", [llama, gpt2, lstm])
@given(st.lists(st.tuples(st.lists(st.integers(0, V - 1), min_size=1, max_size=24), st.integers(1, 12),
                          st.sampled_from([0, 0.7, 1.0])), min_size=1, max_size=7))  # fmt: skip
def test_a_text_is_the_same_alone_and_among_others(make, requests) -> None:
    model = make()
    settings = [{"max_tokens": most, "temperature": heat, "seed": at} for at, (_, most, heat) in enumerate(requests)]
    expected = [alone(model, ids, **each) for (ids, _, _), each in zip(requests, settings, strict=True)]
    batch = BatchWriter(model, rows=3)
    writers = [writer(ids, **each) for (ids, _, _), each in zip(requests, settings, strict=True)]
    pieces = {id(made): "" for made in writers}
    for at, made in enumerate(writers):
        batch.add(made)
        if at % 2:
            for who, piece in batch.step():
                pieces[id(who)] += piece
    while batch:
        for who, piece in batch.step():
            pieces[id(who)] += piece
    for made, other in zip(writers, expected, strict=True):
        assert (made.ids, made.finish_reason) == (other.ids, other.finish_reason)
        assert pieces[id(made)] == made.completion().text == other.completion().text


def test_logits_in_a_batch_are_those_alone_up_to_rounding() -> None:
    model, rng = llama(dtype=np.float32), np.random.default_rng(0)
    rows = [rng.integers(0, V, length).tolist() for length in (3, 9, 1, 12)]

    def logits_of(chosen: list[int]) -> np.ndarray:
        caches = [model.new_cache(1) for _ in chosen]
        for cache, at in zip(caches, chosen, strict=True):
            model(np.array([rows[at]]), cache)
        joined = caches[0].joined(caches)
        return model(np.full((len(chosen), 1), 5), joined).data[:, 0]

    together, pair = logits_of([0, 1, 2, 3]), logits_of([1, 3])
    for at in range(4):
        single = model(np.array([[*rows[at], 5]])).data[0, -1]
        assert np.allclose(together[at], single, atol=1e-5)
    assert np.allclose(together[[1, 3]], pair, atol=1e-6)


def test_a_text_that_is_cancelled_leaves_the_others_alone() -> None:
    model = llama()
    writers = [writer([1, 2], seed=seed, max_tokens=9) for seed in range(3)]
    batch = BatchWriter(model)
    for made in writers:
        batch.add(made)
    batch.step()
    writers[1].cancel()
    while batch:
        batch.step()
    assert writers[1].finish_reason == "cancelled"
    assert writers[2].ids == alone(model, [1, 2], seed=2, max_tokens=9).ids


# Through the one class


@pytest.fixture(scope="module")
def lm() -> LM:
    config = GPT2Config(256, n_positions=32, n_embd=12, n_layer=1, n_head=2, initializer_range=0.3)
    model = GPT2(config, Initializer(0))
    return LM(lambda: model, ByteTokenizer)


def test_a_model_searches_guesses_and_writes_lists(lm: LM) -> None:
    found = lm.beam_search("abc", beams=3, max_tokens=6)
    assert len(found) == 3
    assert found[0].beam_score >= found[1].beam_score >= found[2].beam_score
    total = lm.score("abc" + found[0].text).total - lm.score("abc").total if found[0].text.isascii() else None
    assert total is None or total / 6 == pytest.approx(found[0].beam_score, abs=1e-4)
    expected = lm.generate("abcabc", temperature=0, max_tokens=20)
    assert lm.generate("abcabc", temperature=0, max_tokens=20, speculate="lookup") == expected
    done = lm.complete("abcabc", temperature=0, max_tokens=20, speculate=lm)
    assert done.text == expected
    assert done.usage.accepted_tokens >= 12
    texts = lm.complete(["a", "bcd", "a"], each=[{"max_tokens": 3}, {}, {"temperature": 0}], max_tokens=7, seed=1)
    assert [len(each.tokens) for each in texts] == [3, 7, 7]
    assert texts[1] == lm.complete("bcd", max_tokens=7, seed=1)


def test_what_cannot_guess_or_search_is_refused(lm: LM) -> None:
    other = LM(lambda: llama(), ByteTokenizer)
    for settings, words in [({"speculate": "magic"}, "speculate is 'magic'"), ({"speculate": other}, "vocabulary")]:
        with pytest.raises(TinylmError, match=words):
            lm.generate("a", **settings)
    for settings, words in [({"beams": 0}, "beams is 0"), ({"early_stopping": 3}, "early_stopping"),
                            ({"regex": "a"}, "no regex")]:  # fmt: skip
        with pytest.raises(TinylmError, match=words):
            lm.beam_search("a", **settings)
    with pytest.raises(TinylmError, match="none fits"):
        lm.beam_search("a" * 32)
    with pytest.raises(TinylmError, match="each holds settings for 1"):
        lm.complete(["a", "b"], each=[{}])


def test_the_command_line_searches_and_guesses(lm: LM, tmp_path: Path, capsys) -> None:
    save_model(tmp_path / "m", lm.model, ByteTokenizer())
    command = ["generate", str(tmp_path / "m"), "abc", "--temperature", "0", "--max-tokens", "9"]
    printed = []
    for extra in ([], ["--lookup"], ["--draft", str(tmp_path / "m")]):
        assert main([*command, *extra]) == 0
        shown = capsys.readouterr()
        printed.append(shown.out)
        assert ("guessed" in shown.err) == bool(extra)
    assert printed[0] == printed[1] == printed[2]
    assert main([*command, "--beams", "3"]) == 0
    assert capsys.readouterr().out == "abc" + lm.beam_search("abc", beams=3, max_tokens=9)[0].text + "\n"
