"""Beam search against transformers': the same texts, worth the same."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tinylm.formats import load_model, open_folder, read_generation_config
from tinylm.inference import BeamSettings, beam_search
from tinylm.inference.beam import force, repeated_ngrams

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]

V = 24
SIZES = {"vocab_size": V, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def make(name: str):
    torch.manual_seed(3)
    if name == "llama":
        sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**SIZES, **sizes, max_position_embeddings=64, initializer_range=0.6)
        )
    elif name == "gpt2":
        sizes = {"n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.6}
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**SIZES, **sizes))
    else:
        sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2,
                 "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
                 "max_position_embeddings": 64, "init_std": 0.6, "decoder_start_token_id": 2}  # fmt: skip
        forced = {"forced_bos_token_id": 5, "forced_eos_token_id": 2} if name == "bart forced" else {}
        config = transformers.BartConfig(**SIZES, **sizes, forced_bos_token_id=None, forced_eos_token_id=None)
        model = transformers.BartForConditionalGeneration(config)
        model.generation_config.update(**forced)
        if not forced:
            model.generation_config.forced_eos_token_id = None
    return model.eval()


CASES = {
    "plain": {},
    "long texts": {"length_penalty": 2.0},
    "short texts": {"length_penalty": -1.0},
    "ends early": {"early_stopping": True},
    "never ends early": {"early_stopping": "never", "length_penalty": 0.5},
    "no pairs twice": {"no_repeat_ngram_size": 2},
    "no triples twice, penalty": {"no_repeat_ngram_size": 3, "repetition_penalty": 1.3},
    "two ends": {"eos_token_id": [2, 7]},
}


@pytest.mark.parametrize("beams", [1, 3, 5])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["llama", "gpt2", "bart", "bart forced"])
def test_the_texts_and_their_worth_are_those_of_transformers(tmp_path, name: str, case: str, beams: int) -> None:
    if beams == 1 and case != "plain":
        return  # transformers does not search with one beam; ours is greedy
    theirs, settings = make(name), CASES[case]
    theirs.save_pretrained(tmp_path)
    source = torch.tensor([[1, 9, 4, 11, 6]])
    with torch.no_grad():
        found = theirs.generate(
            source, num_beams=max(beams, 2) if beams > 1 else 1, num_return_sequences=beams, max_new_tokens=12,
            do_sample=False, return_dict_in_generate=True, output_scores=True, **settings,
        )  # fmt: skip
    two = name.startswith("bart")
    start = 1 if two else 5
    expected = [row[start:].tolist() for row in found.sequences]

    model, config = load_model(tmp_path), read_generation_config(open_folder(tmp_path))
    ends = settings.get("eos_token_id", [2])
    ids = [2] if two else source[0].tolist()
    decoder = model.given(source.numpy()) if two else model
    size, penalty = settings.get("no_repeat_ngram_size", 0), settings.get("repetition_penalty", 1.0)

    def process(log_p, ids, new):
        from tinylm.inference.logits import penalize_repetition

        changed = penalize_repetition(log_p, ids, penalty)
        if size:
            changed[repeated_ngrams(ids, size)] = -np.inf
        last = config.forced_eos_token_id if new == 11 else None
        return force(changed, config.forced_bos_token_id if new == 0 and two and config.forced_bos_token_id else last)

    how = BeamSettings(beams, settings.get("length_penalty", 1.0), settings.get("early_stopping", False))
    ours = beam_search(decoder, ids, how, max_tokens=12, end_ids=ends, process=process)
    assert len(ours) == len(expected)
    for hypothesis, tokens in zip(ours, expected, strict=True):
        end = next((at + 1 for at, token in enumerate(tokens) if token in ends), len(tokens))  # then it is filled
        assert list(hypothesis.tokens) == tokens[:end]
    if beams > 1:
        assert np.allclose([hypothesis.score for hypothesis in ours], found.sequences_scores.numpy(), atol=2e-4)
