"""The decode engine against the Module: every family, by kernels and as a compiled program, alone and in a batch."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tinylm
from tinylm.autograd import no_grad
from tinylm.formats import convert, open_model, save_model
from tinylm.inference import DecodeCache, Engine, open_engine
from tinylm.models import FAMILIES, CausalTransformer
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer

V = 256
SIZES = {"vocab_size": V, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
         "max_position_embeddings": 160, "initializer_range": 0.2}  # fmt: skip
SMALL_GPT2 = {"vocab_size": V, "n_positions": 160, "n_embd": 72, "n_layer": 2, "n_head": 3, "initializer_range": 0.2}
MODELS = {
    "llama": {**SIZES, "num_key_value_heads": 2},
    "llama with biases, a wide head": {**SIZES, "attention_bias": True, "mlp_bias": True, "head_dim": 40},
    "mistral": {**SIZES, "num_key_value_heads": 2, "sliding_window": 70, "tie_word_embeddings": True},
    "qwen2": {**SIZES, "num_key_value_heads": 1},
    "gpt2": {**SMALL_GPT2, "activation_function": "gelu"},
    "gpt2 relu": {**SMALL_GPT2, "activation_function": "relu"},
    "gpt_neox": {**SIZES, "rotary_pct": 0.25},
    "gpt_neox one after the other": {**SIZES, "use_parallel_residual": False, "hidden_act": "gelu_new"},
}


def model_of(name: str) -> CausalTransformer:
    model = FAMILIES[name.split()[0]].from_settings(MODELS[name], Initializer(1))
    rng = np.random.default_rng(2)
    for parameter in model.parameters():
        if parameter.data.ndim == 1:
            parameter.data = (parameter.data + 0.3 * rng.standard_normal(parameter.shape)).astype(np.float32)
    assert isinstance(model, CausalTransformer)
    return model


def logits_of(model: CausalTransformer, ids: np.ndarray) -> np.ndarray:
    with no_grad():
        return model(ids).data


def ids_of(batch: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, (batch, length))


@pytest.mark.parametrize("name", MODELS)
def test_the_engine_says_what_the_module_says(name) -> None:
    model, ids = model_of(name), ids_of(2, 140)
    expected = logits_of(model, ids)
    engine = Engine.of(model)
    cache = engine.new_cache(2)
    received = [engine.last_logits(ids[:, :100], cache, 100)]
    received += [engine.last_logits(ids[:, t : t + 1], cache) for t in range(100, 140)]
    # Two ways of summing float32 through two layers; a wrong sign or a wrong position is off by the size of a logit.
    assert np.abs(np.concatenate(received, axis=1) - expected).max() < 2e-5 * np.abs(expected).max()
    assert cache.length == 140


def test_a_sequence_gets_the_same_bits_alone_and_among_others_of_other_lengths() -> None:
    engine, ids = Engine.of(model_of("llama")), ids_of(5, 40)
    lengths = [1, 7, 20, 33, 39]
    sequences = [engine.new_sequence() for _ in lengths]
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        engine.last_logits(ids[row : row + 1, :length], DecodeCache([sequence]))
    copies = [sequence.copy() for sequence in sequences]
    together = engine.step(ids[:, -1], sequences)
    for row, sequence in enumerate(copies):
        np.testing.assert_array_equal(engine.step(ids[row, -1:], [sequence])[0], together[row])


def test_one_and_two_threads_give_the_same_bits(monkeypatch) -> None:
    numba = pytest.importorskip("numba")
    from tinylm.inference import compiled

    monkeypatch.setattr(compiled, "ALONE_BELOW", 0)
    engine, ids, results = Engine.of(model_of("llama")), ids_of(1, 30), []
    before = numba.get_num_threads()
    for threads in (1, 2, 2):
        numba.set_num_threads(threads)
        cache = engine.new_cache(1)
        results.append([engine.last_logits(ids[:, t : t + 1], cache) for t in range(30)])
    numba.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("dtype", ["f16", "bf16", "q8_0", "q4_0"])
def test_packed_weights_give_what_their_numbers_give(tmp_path, dtype) -> None:
    """The Module computes with the unpacked weights; the engine rounds what it multiplies integers with."""
    settings = {**SIZES, "num_key_value_heads": 2, "hidden_size": 128, "intermediate_size": 160}
    save_model(tmp_path / "m", FAMILIES["llama"].from_settings(settings, Initializer(1)), ByteTokenizer())
    source = open_model(convert(tmp_path / "m", tmp_path / "m.gguf", dtype=dtype))
    engine, model, ids = open_engine(source), source.build(), ids_of(1, 24)
    assert engine is not None
    assert isinstance(model, CausalTransformer)
    expected = logits_of(model, ids)[0]
    whole = engine.last_logits(ids, None, 24)[0]
    cache = engine.new_cache(1)
    steps = np.concatenate([engine.last_logits(ids[:, t : t + 1], cache)[0] for t in range(24)])
    spread = expected.std()
    # Rounding to 8 bits is off by 1/254 of a block's largest number at most, about 0.5 % of a product's spread; some
    # products follow one another.
    allowed = 1e-4 if dtype in ("f16", "bf16") else 0.05
    for a, b in ((whole, expected), (steps, expected), (whole, steps)):
        assert np.sqrt(np.square(a - b).mean()) < allowed * spread


def test_gpt_neox_and_gpt2_are_read_from_files_in_their_own_layouts(tmp_path) -> None:
    for name in ("gpt_neox", "gpt2"):
        model, ids = model_of(name), ids_of(1, 12)
        save_model(tmp_path / name, model, ByteTokenizer())
        engine = open_engine(open_model(tmp_path / name))
        assert engine is not None
        np.testing.assert_allclose(engine.last_logits(ids, None, 12), logits_of(model, ids), atol=1e-3)


def test_the_engine_takes_back_what_it_has_read_and_goes_on_from_a_saved_cache() -> None:
    engine, ids = Engine.of(model_of("llama")), ids_of(1, 30)
    cache = engine.new_cache(1)
    engine.last_logits(ids[:, :20], cache)
    first = engine.last_logits(ids[:, 20:21], cache)
    engine.last_logits(ids[:, :5], cache)
    assert cache.keep(20)
    np.testing.assert_array_equal(engine.last_logits(ids[:, 20:21], cache), first)
    assert cache.keep(20)
    other = engine.new_sequence()
    other.restore(cache.sequences[0].state())
    np.testing.assert_array_equal(engine.step(ids[0, 20:21], [other]), first[:, 0])
    with pytest.raises(ValueError, match="not of this model"):
        Engine.of(model_of("qwen2")).new_sequence().restore(other.state())


def test_rows_of_a_cache_are_chosen_and_repeated() -> None:
    engine, ids = Engine.of(model_of("llama")), ids_of(3, 12)
    cache = engine.new_cache(3)
    engine.last_logits(ids, cache)
    cache.select([2, 0, 2])
    after = engine.last_logits(np.array([[1], [1], [9]]), cache)[:, 0]
    expected = logits_of(model_of("llama"), np.concatenate([ids[[2, 0, 2]], [[1], [1], [9]]], axis=1))[:, -1]
    np.testing.assert_allclose(after, expected, atol=1e-3)


def test_a_prompt_is_read_in_parts_that_do_not_show(monkeypatch) -> None:
    from tinylm.inference import engine as module

    engine, ids = Engine.of(model_of("mistral")), ids_of(2, 50)
    whole = engine.last_logits(ids, None, 3)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    np.testing.assert_allclose(engine.last_logits(ids, None, 3), whole, atol=1e-4)
    with pytest.raises(ValueError, match="161 tokens do not fit into a context of 160"):
        engine.last_logits(ids_of(1, 161))


def test_texts_are_generated_by_the_engine_without_a_module(tmp_path) -> None:
    save_model(tmp_path / "m", model_of("llama"), ByteTokenizer())
    lm = tinylm.load(tmp_path / "m")
    text = lm.generate("ab", max_tokens=12, temperature=0)
    assert isinstance(lm.decoder, Engine)
    assert "model" not in vars(lm)
    assert lm.model is not lm.decoder  # whose engine follows it from now on
    lm.model.tokens.weight.data = np.zeros_like(lm.model.tokens.weight.data)
    assert lm.generate("ab", max_tokens=12, temperature=0) != text
    lm = tinylm.load(tmp_path / "m")
    assert lm.model is not None
    assert lm.generate("ab", max_tokens=12, temperature=0) == text


def test_several_threads_use_one_engine(tmp_path) -> None:
    engine, ids = Engine.of(model_of("llama")), ids_of(4, 25)
    expected = [engine.last_logits(ids[i : i + 1, :1], engine.new_cache(1)) for i in range(4)]
    wrong: list[int] = []

    def read(row: int) -> None:
        for _ in range(20):
            received = engine.last_logits(ids[row : row + 1, :1], engine.new_cache(1))
            wrong.extend([row] * (not np.array_equal(received, expected[row])))

    threads = [threading.Thread(target=read, args=(row,)) for row in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_without_numba_the_same_plan_runs_by_kernels() -> None:
    model, ids = model_of("gpt2"), ids_of(2, 9)
    engine = Engine.of(model)
    engine._compiled = None
    cache = engine.new_cache(2)
    received = [engine.last_logits(ids[:, t : t + 1], cache)[:, 0] for t in range(9)]
    np.testing.assert_allclose(np.stack(received, axis=1), logits_of(model, ids), atol=1e-3)
    np.testing.assert_allclose(
        engine.step([1, 2], cache.sequences), logits_of(model, np.c_[ids, [1, 2]])[:, -1], atol=1e-3
    )
