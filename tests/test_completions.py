"""What a request gives: pieces of text, where they stop, what is told about them, from threads and from asyncio."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import LM
from tinylm.errors import TinylmError
from tinylm.inference import GenerationSettings, Reader, StopStrings, Writer, window_start
from tinylm.models import GPT2, GPT2Config, LSTMConfig, LSTMLanguageModel
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer, Tokenizer

V = 13


def gpt2() -> GPT2:
    config = GPT2Config(V, n_positions=8, n_embd=12, n_layer=2, n_head=2, initializer_range=0.3)
    return GPT2(config, Initializer(0, np.float64))


def lstm() -> LSTMLanguageModel:
    return LSTMLanguageModel(LSTMConfig(V, 6, 9, 2), Initializer(0, np.float64))


@pytest.fixture(scope="module")
def lm() -> LM:
    config = GPT2Config(256, n_positions=32, n_embd=12, n_layer=1, n_head=2, initializer_range=0.3)
    model = GPT2(config, Initializer(0))
    return LM(lambda: model, ByteTokenizer)


@pytest.mark.parametrize("make", [gpt2, lstm])
@given(st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=20), min_size=1, max_size=6), st.integers(1, 5))
def test_a_reader_gives_the_same_logits_whatever_it_has_read_before(make, rows, count) -> None:
    model = make()
    reader = Reader(model)
    for row in rows:
        begin = window_start(len(row), model.context)
        expected = model(np.array([row[begin:]])).data[0, -count:]
        assert np.allclose(reader.logits(row, count), expected, rtol=0, atol=1e-9)


def test_a_reader_does_not_compute_again_what_two_sequences_begin_with() -> None:
    model, computed = gpt2(), []
    reader = Reader(model)
    forward = model.forward
    model.forward = lambda ids, *rest: (computed.append(ids.shape[1]), forward(ids, *rest))[1]  # type: ignore[method-assign]
    for row in ([1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 5, 6, 7], [1]):
        reader.logits(row)
    assert computed == [4, 1, 2, 1]


TEXTS = st.text(alphabet="abc今", max_size=30)


@given(st.lists(TEXTS, max_size=12), st.lists(st.text(alphabet="abc今", min_size=1, max_size=4), max_size=4))
def test_stop_strings_end_a_text_the_same_way_however_it_is_cut(pieces, stops) -> None:
    text = "".join(pieces)
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    expected = text[: min(ends)[1]] if ends else text
    for cut in (pieces, list(text), [text]):
        stopper = StopStrings(stops)
        given_out = [stopper.feed(piece) for piece in cut]
        assert "".join(given_out) + stopper.end() == expected
        assert (stopper.found is not None) == bool(ends)


class Words(Tokenizer):
    """A vocabulary of any bytes."""

    kind = "words"

    def __init__(self, tokens: list[bytes]):
        self.tokens, self.vocab_size = tokens, len(tokens)

    def encode(self, text):
        raise NotImplementedError

    def decode(self, ids):
        return b"".join(self.tokens[id] for id in ids).decode("utf-8", "replace")

    def token(self, id):
        return repr(self.tokens[id])

    def token_bytes(self, id):
        return self.tokens[id]

    def to_json(self):
        raise NotImplementedError


TOKENS = [b"<end>", b"a", b"b", b"ab", "今".encode()[:2], "今".encode()[2:], "今天".encode()[:4], "天".encode()[1:]]


@given(st.lists(st.integers(1, 7), max_size=20), st.lists(st.sampled_from(["ab", "今天", "ba", "天a"]), max_size=2))
def test_no_piece_splits_a_character_or_holds_a_part_of_a_stop_string(ids, stops) -> None:
    tokenizer = Words(TOKENS)
    writer = Writer([1], tokenizer, GenerationSettings(temperature=0, stop=stops, max_tokens=30), end_ids={0})
    pieces = []
    for id in [*ids, 0]:
        if writer.finish_reason is None:
            pieces.append(writer.take(np.eye(8)[id]))
            assert all(stop not in "".join(pieces) for stop in stops)
    text = tokenizer.decode(ids)
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert "".join(pieces) == (text[: min(ends)[1]] if ends else text) == writer.completion().text
    assert writer.finish_reason == "stop"


def test_a_completion_says_why_it_ended_and_what_was_used(lm: LM) -> None:
    done = lm.complete("abc", max_tokens=10, temperature=0)
    assert (done.finish_reason, done.usage.prompt_tokens, done.usage.completion_tokens) == ("length", 3, 10)
    assert (done.usage.total_tokens, len(done.tokens), done.scores) == (13, 10, None)
    long = lm.complete("abc", max_tokens=60, seed=1).text
    stop = next(long[at : at + 2] for at in range(5, len(long)) if long[at].isascii())
    stopped = lm.complete("abc", max_tokens=60, seed=1, stop=stop)
    assert (stopped.text, stopped.finish_reason) == (long[: long.index(stop)], "stop")
    assert lm.complete("abc", max_tokens=0).finish_reason == "length"


def test_log_probabilities_are_those_of_the_model_whatever_the_sampling(lm: LM) -> None:
    done = lm.complete("abc", max_tokens=6, seed=0, temperature=0.3, logprobs=2, logit_bias={0: -100})
    assert done.scores is not None
    ids = [*b"abc", *done.tokens]
    p = np.exp(lm.logits([ids])[0].astype(np.float64))
    p /= p.sum(axis=-1, keepdims=True)
    for at, score in enumerate(done.scores):
        row = p[at + 2]
        assert score.id == done.tokens[at]
        assert score.log_probability == pytest.approx(np.log(row[score.id]), abs=1e-4)
        assert [c.probability for c in score.likeliest] == pytest.approx(np.sort(row)[::-1][:2].tolist(), abs=1e-4)
    assert lm.complete("abc", max_tokens=1, logprobs=0).scores[0].likeliest == ()


def test_several_choices_differ_and_the_first_is_the_only_one_of_one(lm: LM) -> None:
    choices = lm.complete("abc", n=3, seed=7, max_tokens=12)
    assert choices[0].tokens == lm.complete("abc", seed=7, max_tokens=12).tokens
    assert len({choice.tokens for choice in choices}) == 3
    assert [c.text for c in choices] == [c.text for c in lm.complete("abc", n=3, seed=7, max_tokens=12)]


def test_a_list_of_prompts_gives_a_list_of_texts(lm: LM) -> None:
    alone = [lm.generate(prompt, seed=1, max_tokens=5) for prompt in ("a", "bcd")]
    assert lm.generate(["a", "bcd"], seed=1, max_tokens=5) == alone


def test_a_stream_that_is_closed_writes_no_more(lm: LM) -> None:
    with lm.stream("abc", max_tokens=10_000, seed=0) as stream:
        first = next(stream)
    assert list(stream) == []
    assert stream.completion.finish_reason == "cancelled"
    assert stream.completion.text.startswith(first)


def test_an_event_ends_a_text_from_another_thread(lm: LM) -> None:
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lm.complete, "abc", max_tokens=1_000_000, cancel=cancel)
        cancel.set()
        assert running.result(timeout=60).finish_reason == "cancelled"


def test_threads_do_not_disturb_one_another(lm: LM) -> None:
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda seed: lm.generate("ab", max_tokens=8, seed=seed), range(8)))
    assert texts == [lm.generate("ab", max_tokens=8, seed=seed) for seed in range(8)]


def test_asyncio_gets_the_same_text_and_its_loop_is_not_blocked(lm: LM) -> None:
    async def both() -> tuple[str, str, int]:
        ticks = itertools.count()

        async def tick() -> None:
            while True:
                next(ticks)
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        pieces = [piece async for piece in lm.astream("ab", max_tokens=30, seed=1)]
        whole = await lm.agenerate("ab", max_tokens=30, seed=1)
        ticker.cancel()
        return "".join(pieces), whole, next(ticks)

    streamed, whole, ticks = asyncio.run(both())
    assert streamed == whole == lm.generate("ab", max_tokens=30, seed=1)
    assert ticks > 2


def test_a_task_that_is_cancelled_stops_the_model(lm: LM) -> None:
    async def leave() -> None:
        task = asyncio.create_task(lm.agenerate("ab", max_tokens=100_000_000, seed=1))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())  # which waits for the threads: it would not end


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_token": 3}, "no setting 'max_token'.*did you mean 'max_tokens'"),
        ({"stop": [""]}, "stop is"),
        ({"stop": [3]}, "stop is"),
        ({"logprobs": -1}, "logprobs is -1"),
        ({"n": 0}, "n is 0"),
    ],
)
def test_misuse_is_named(lm: LM, settings, words) -> None:
    with pytest.raises(TinylmError, match=words):
        lm.complete("a", **settings)
