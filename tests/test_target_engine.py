"""The engine of encoder-decoders against the Module, and the engine that follows a Module's weights."""

from __future__ import annotations

import numpy as np
import pytest

from tinylm.autograd import no_grad
from tinylm.inference import BeamSettings, Engine, ModuleEngine, TargetEngine, beam_search
from tinylm.models import FAMILIES, CausalTransformer, EncoderDecoder, add_low_rank
from tinylm.models.low_rank import LowRankSettings
from tinylm.nn import Initializer

V = 96
BART = {"vocab_size": V, "d_model": 48, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 3,
        "decoder_attention_heads": 3, "encoder_ffn_dim": 64, "decoder_ffn_dim": 80, "max_position_embeddings": 120,
        "init_std": 0.2}  # fmt: skip
T5 = {"vocab_size": V, "d_model": 48, "d_kv": 20, "d_ff": 80, "num_layers": 1, "num_decoder_layers": 2, "num_heads": 3}
MODELS = {
    "bart": BART,
    "marian": {**BART, "scale_embedding": True, "pad_token_id": 95, "decoder_start_token_id": 95},
    "t5": T5,
    "t5 1.1": {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}
LLAMA = {"vocab_size": V, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 96,
         "max_position_embeddings": 64, "initializer_range": 0.2}  # fmt: skip


def model_of(name: str) -> EncoderDecoder:
    model = FAMILIES[name.split()[0]].from_settings(MODELS[name], Initializer(1))
    rng = np.random.default_rng(2)
    for parameter in model.parameters():
        if parameter.data.ndim == 1:
            parameter.data = (parameter.data + 0.3 * rng.standard_normal(parameter.shape)).astype(np.float32)
    assert isinstance(model, EncoderDecoder)
    return model


def ids_of(batch: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(2, V - 2, (batch, length))


@pytest.mark.parametrize("name", MODELS)
def test_targets_get_what_the_module_says_of_them(name) -> None:
    """Sources of different lengths; the first tokens read at once, by kernels, the others one by one."""
    model, sources, targets = model_of(name), ids_of(3, 20), ids_of(3, 100)
    mask = np.arange(20) < np.array([[20], [13], [3]])
    with no_grad():
        expected = model(sources, targets, mask).data
    engine = TargetEngine.of(model)
    assert engine is not None
    given = engine.given(sources, mask)
    cache = given.new_cache(3)
    received = [given.last_logits(targets[:, :40], cache, 40)]
    received += [given.last_logits(targets[:, t : t + 1], cache) for t in range(40, 100)]
    assert np.abs(np.concatenate(received, axis=1) - expected).max() < 1e-5 * np.abs(expected).max()


def test_targets_of_several_sources_stand_in_one_batch() -> None:
    model, sources = model_of("t5"), ids_of(2, 9)
    engine = TargetEngine.of(model)
    assert engine is not None
    given = [engine.given(sources[:1, :4]), engine.given(sources[1:])]
    caches = [each.new_cache(1) for each in given]
    alone = [each.last_logits(np.array([[0, 7]]), cache) for each, cache in zip(given, caches, strict=True)]
    together = caches[0].joined(caches)
    after = engine.decoder.last_logits(np.array([[5], [6]]), together)
    for row, each in enumerate(given):
        cache = each.new_cache(1)
        np.testing.assert_array_equal(each.last_logits(np.array([[0, 7]]), cache), alone[row])
        np.testing.assert_array_equal(each.last_logits(np.array([[5 + row]]), cache)[0], after[row])


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_beams_find_what_they_find_with_the_module(name) -> None:
    model, settings = model_of(name), BeamSettings(3)
    engine = TargetEngine.of(model)
    assert engine is not None
    found, expected = (
        beam_search(each.given(ids_of(1, 8)), [2], settings, max_tokens=12, end_ids=[1]) for each in (engine, model)
    )
    assert [each.tokens for each in found] == [each.tokens for each in expected]
    assert [each.score for each in found] == pytest.approx([each.score for each in expected], rel=1e-4)


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_many_tokens_of_a_text_give_the_bits_of_one_after_the_other(name) -> None:
    pytest.importorskip("numba")
    if name == "llama":
        model = FAMILIES["llama"].from_settings(LLAMA, Initializer(1))
        assert isinstance(model, CausalTransformer)
        engine, memory = Engine.of(model), None
    else:
        targets = TargetEngine.of(model_of(name))
        assert targets is not None
        engine, memory = targets.decoder, targets.given(ids_of(1, 8)).new_cache(1).sequences[0].memory
    ids, one, many = ids_of(1, 50)[0], engine.new_sequence(memory), engine.new_sequence(memory)
    expected = np.concatenate([engine.step(ids[t : t + 1], [one]) for t in range(50)])
    assert engine._compiled is not None
    received = [engine._compiled.read(ids[:33], many, 7), engine._compiled.read(ids[33:], many, 17)]
    np.testing.assert_array_equal(received[0], expected[26:33])
    np.testing.assert_array_equal(received[1], expected[33:])
    assert many.length == one.length == 50


def test_the_engine_of_a_module_follows_what_is_done_to_it() -> None:
    for settings, family in ((LLAMA, "llama"), (T5, "t5")):
        model = FAMILIES[family].from_settings(settings, Initializer(1))
        following = ModuleEngine(model)
        assert following.get() is following.get()
        parameters = dict(model.named_parameters())
        small = "norm.weight" if family == "llama" else "decoder.positions.weight"
        for name, way in ((small, "written"), ("tokens.weight", "written"), ("tokens.weight", "replaced")):
            if way == "written":
                parameters[name].data[...] *= 1.5
            else:
                parameters[name].data = parameters[name].data * 0.7
            np.testing.assert_allclose(_says(following.get()), _says(model), rtol=1e-4, atol=1e-4)


def _says(model) -> np.ndarray:
    if isinstance(model, (TargetEngine, EncoderDecoder)):
        model = model.given(ids_of(1, 8))
    return model.last_logits(ids_of(1, 30), model.new_cache(1))


def test_a_module_that_no_engine_could_follow_generates_itself() -> None:
    wide = FAMILIES["llama"].from_settings(LLAMA, Initializer(1, np.float64))
    assert ModuleEngine(wide).get() is None
    adapted = FAMILIES["llama"].from_settings(LLAMA, Initializer(1))
    add_low_rank(adapted, LowRankSettings(rank=2, alpha=4, targets=("q_proj",)), Initializer(2))
    assert ModuleEngine(adapted).get() is None
