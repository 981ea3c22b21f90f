"""What sampling does to logits, against the classes of transformers; all of it, in their order."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers.generation import logits_process as theirs

from tinylm.inference import Sampling, probabilities
from tinylm.inference import logits as ours

pytestmark = pytest.mark.oracle

V = 211
CASES = {
    "top_k": (lambda x, ids: ours.keep_top_k(x, 7), lambda: theirs.TopKLogitsWarper(7)),
    "top_p": (lambda x, ids: ours.keep_top_p(x, 0.8), lambda: theirs.TopPLogitsWarper(0.8)),
    "top_p of nearly nothing": (lambda x, ids: ours.keep_top_p(x, 0.01), lambda: theirs.TopPLogitsWarper(0.01)),
    "min_p": (lambda x, ids: ours.keep_min_p(x, 0.05), lambda: theirs.MinPLogitsWarper(0.05)),
    "typical": (lambda x, ids: ours.keep_typical(x, 0.6), lambda: theirs.TypicalLogitsWarper(0.6)),
    "repetition": (
        lambda x, ids: ours.penalize_repetition(x, ids, 1.3),
        lambda: theirs.RepetitionPenaltyLogitsProcessor(1.3),
    ),
    "bias": (
        lambda x, ids: ours.add_bias(x, {3: 2.5, 9: -4.0}),
        lambda: theirs.SequenceBiasLogitsProcessor({(3,): 2.5, (9,): -4.0}),
    ),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CASES)
def test_a_step_does_what_the_class_does(name: str, seed: int) -> None:
    mine, make = CASES[name]
    rng = np.random.default_rng(seed)
    logits, ids = rng.normal(0, 2, V), rng.integers(0, V, 30)
    expected = make()(torch.tensor(ids[None]), torch.tensor(logits[None]))[0].numpy()
    assert np.array_equal(mine(logits, ids), expected)


@pytest.mark.parametrize("seed", range(5))
def test_all_settings_at_once_give_the_distribution_of_generate(seed: int) -> None:
    settings = {"repetition_penalty": 1.2, "temperature": 0.7, "top_k": 50, "top_p": 0.95, "min_p": 0.02,
                "typical_p": 0.9}  # fmt: skip
    config = transformers.GPT2Config(vocab_size=V, n_positions=64, n_embd=8, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).double()
    chosen = transformers.GenerationConfig(do_sample=True, sequence_bias=[[[5], 1.5]], **settings)
    processors = model._get_logits_processor(chosen, input_ids_seq_length=1, device="cpu")
    rng = np.random.default_rng(seed)
    logits, ids = rng.normal(0, 2, V), rng.integers(0, V, 30).tolist()
    expected = torch.softmax(processors(torch.tensor([ids]), torch.tensor(logits[None])), -1)[0].numpy()
    found = Sampling(logit_bias={5: 1.5}, **settings).distribution(logits, ids)
    assert ((found > 0) == (expected > 0)).all()
    assert np.allclose(found, expected, rtol=1e-12)
    assert found.sum() == pytest.approx(1)
    assert (probabilities(logits) > 0).all()
