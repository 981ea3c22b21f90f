"""What is common to texts is not computed again; and with deterministic=True no bit tells how much of it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinylm
from tinylm.errors import TinylmError
from tinylm.formats import save_model
from tinylm.inference import DecodeCache, Engine, Reader
from tinylm.inference.prefixes import PrefixStore
from tinylm.models import FAMILIES, CausalTransformer, LSTMConfig, LSTMLanguageModel
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer

LLAMA = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 96, "max_position_embeddings": 160,
         "initializer_range": 0.2}  # fmt: skip
IDS = np.random.default_rng(0).integers(0, 256, (4, 60))


def model() -> CausalTransformer:
    made = FAMILIES["llama"].from_settings(LLAMA, Initializer(1))
    assert isinstance(made, CausalTransformer)
    return made


ENGINE = Engine.of(model(), deterministic=True)
ALONE = [ENGINE.last_logits(row[None], None, 60)[0] for row in IDS]


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_no_split_and_no_neighbour_changes_a_bit(data) -> None:
    """Some texts, each read in parts of its own, the last tokens in a batch; against each alone and whole."""
    rows = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
    sequences, ends = [], []
    for row in rows:
        sequence, at, end = ENGINE.new_sequence(), 0, data.draw(st.integers(1, 58))
        while at < end:
            step = data.draw(st.integers(1, end - at))
            count = data.draw(st.integers(1, step))
            received = ENGINE.last_logits(IDS[row, None, at : at + step], DecodeCache([sequence]), count)
            at += step
            np.testing.assert_array_equal(received[0], ALONE[row][at - count : at])
        sequences.append(sequence)
        ends.append(end)
    ids = np.array([IDS[row, end] for row, end in zip(rows, ends, strict=True)])
    together = ENGINE.last_logits(ids[:, None], DecodeCache(sequences))[:, 0]
    for received, row, end in zip(together, rows, ends, strict=True):
        np.testing.assert_array_equal(received, ALONE[row][end])


def test_without_numba_the_bits_are_fixed_as_well(monkeypatch) -> None:
    engine = Engine.of(model(), deterministic=True)
    engine._compiled = None
    whole = engine.last_logits(IDS[:2, :20], None, 5)
    cache = engine.new_cache(1)
    engine.last_logits(IDS[1:2, :13], cache)
    np.testing.assert_array_equal(engine.last_logits(IDS[1:2, 13:20], cache, 5)[0], whole[1])


def read(counted: list[int], engine: Engine) -> Engine:
    real = engine.last_logits

    def last_logits(ids, cache=None, count=1):
        counted.append(np.asarray(ids).shape[1])
        return real(ids, cache, count)

    engine.last_logits = last_logits  # type: ignore[method-assign]
    return engine


def test_a_text_that_begins_like_another_is_read_from_where_it_leaves_it() -> None:
    counted: list[int] = []
    engine = read(counted, Engine.of(model(), kept_bytes=1 << 20, deterministic=True))
    first = Reader(engine)
    first.logits(IDS[0, :40].tolist())
    first.release()
    for ids, new in ((IDS[0, :50], 10), (np.append(IDS[0, :30], IDS[1, :10]), 10), (IDS[2, :20], 20)):
        reader = Reader(engine)
        expected = ENGINE.last_logits(ids[None])[0]
        np.testing.assert_array_equal(reader.logits(ids.tolist()), expected)
        assert counted[-1] == new
        reader.release()


def test_the_caches_that_are_kept_stay_within_their_bound_and_the_last_used_stay() -> None:
    store, sequences = PrefixStore(3 * 20 * 4 * 2 * 64), []
    for row in range(4):
        sequence = ENGINE.new_sequence()
        ENGINE.last_logits(IDS[row : row + 1, :20], DecodeCache([sequence]))
        sequences.append(sequence)
    for row in range(3):
        store.put(IDS[row, :20], sequences[row])
    copied = store.take(IDS[0, :15])
    assert copied is not None
    assert copied.length == 15
    store.put(IDS[3, :20], sequences[3])
    assert store.nbytes <= store.most
    assert store.take(IDS[1]) is None  # the one that nobody had asked for
    assert store.take(IDS[0]) is sequences[0]
    assert store.take(IDS[0]) is None  # whoever takes it over has it alone


def test_texts_are_the_same_with_what_is_kept_and_without(tmp_path) -> None:
    save_model(tmp_path / "m", model(), ByteTokenizer())
    prompts = ["the beginning of it all", "the beginning of it", "the beginning of nothing", "the beginning of it all"]
    texts = []
    for kept in (0, 1 << 20):
        lm = tinylm.load(tmp_path / "m", deterministic=True, kept_bytes=kept)
        texts.append([lm.generate(prompt, max_tokens=10, seed=3) for prompt in prompts] + lm.generate(prompts, seed=3))
        assert (lm.decoder.prefixes.nbytes > 0) == bool(kept)
    assert texts[0] == texts[1]


def test_what_no_engine_computes_is_not_called_deterministic(tmp_path) -> None:
    lstm = LSTMLanguageModel(LSTMConfig(256, embedding_size=8, hidden_size=8), Initializer(0))
    save_model(tmp_path / "m", lstm, ByteTokenizer())
    with pytest.raises(TinylmError, match="has no engine of fixed sums"):
        tinylm.load(tmp_path / "m", deterministic=True).generate("a")
