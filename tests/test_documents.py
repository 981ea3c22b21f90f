"""Where tokens stand: several texts in a row, and padding before a text."""

from __future__ import annotations

import numpy as np
import pytest

from tinylm.autograd import Tensor, no_grad
from tinylm.data import IGNORE, PackedBatches, TokenSplit
from tinylm.errors import TinylmError
from tinylm.models import (
    GPT2,
    CausalLanguageModel,
    GPT2Config,
    GPTNeoX,
    GPTNeoXConfig,
    Llama,
    LlamaConfig,
    LSTMConfig,
    LSTMLanguageModel,
    Mistral,
    MistralConfig,
    padded_positions,
)
from tinylm.nn import Initializer, random_step

V = 23
SIZES = {"hidden_size": 24, "intermediate_size": 30, "num_hidden_layers": 2, "num_attention_heads": 4}
ROTARY = {**SIZES, "max_position_embeddings": 32, "initializer_range": 0.3}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8}  # fmt: skip
MODELS = {
    "gpt2": lambda init: GPT2(
        GPT2Config(V, n_positions=32, n_embd=24, n_layer=2, n_head=4, initializer_range=0.3), init
    ),
    "llama": lambda init: Llama(LlamaConfig(V, num_key_value_heads=2, rope_scaling=LLAMA3, **ROTARY), init),
    "mistral": lambda init: Mistral(MistralConfig(V, num_key_value_heads=2, sliding_window=3, **ROTARY), init),
    "gpt_neox": lambda init: GPTNeoX(GPTNeoXConfig(V, rotary_pct=0.67, **ROTARY), init),
}
LENGTHS = [5, 1, 9, 3, 7, 2, 12, 4]


def make(name: str, dtype=np.float64) -> CausalLanguageModel:
    return MODELS[name](Initializer(0, dtype))


def batches(context: int = 14) -> PackedBatches:
    ids = np.random.default_rng(0).integers(1, V, sum(LENGTHS)).astype(np.uint16)
    split = TokenSplit(ids, np.ones(len(ids), np.int64), np.cumsum(LENGTHS))
    return PackedBatches(split, batch_size=2, context=context, seed=0, separate=True)


def alone(model: CausalLanguageModel, batch: tuple[np.ndarray, ...]) -> Tensor:
    """The loss of a batch, each of its documents by itself."""
    total, count = Tensor(np.zeros(())), int((batch[1] != IGNORE).sum())
    for inputs, targets, documents in zip(*batch, strict=True):
        for document in np.unique(documents[documents >= 0]):
            own = documents == document
            if (counted := int((targets[own] != IGNORE).sum())) > 0:
                total = total + model.loss(inputs[None, own], targets[None, own]) * (counted / count)
    return total


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_packed_documents_have_the_loss_and_the_gradients_that_they_have_alone(name: str, again: bool) -> None:
    packed, apart = make(name), make(name)
    packed.gradient_checkpointing = again
    inputs, targets, documents = batches().train_batch(1)
    assert len(np.unique(documents)) > 2
    loss, expected = packed.loss(inputs, targets, documents), alone(apart, (inputs, targets, documents))
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for (path, one), other in zip(packed.named_parameters(), apart.parameters(), strict=True):
        assert np.allclose(one.grad, other.grad, rtol=1e-9, atol=1e-12), path


@pytest.mark.parametrize("name", MODELS)
def test_a_document_changes_no_logits_of_another(name: str) -> None:
    model, (inputs, _, documents) = make(name, np.float32), batches().train_batch(0)
    with no_grad():
        before = model(inputs, documents=documents).data
        changed = np.where(documents == 1, (inputs + 1) % V, inputs)
        after = model(changed, documents=documents).data
    assert np.array_equal(before[documents != 1], after[documents != 1])
    assert not np.array_equal(before[documents == 1], after[documents == 1])


def test_separate_documents_are_predicted_from_their_own_tokens_alone() -> None:
    found = batches()
    for step in range(found.windows // 2):
        inputs, targets, documents = found.train_batch(step)
        inside = targets[:, :-1] != IGNORE
        assert (documents[:, 1:] == documents[:, :-1])[inside].all()
        assert (targets[:, :-1] == inputs[:, 1:])[inside].all()
        assert (documents[targets != IGNORE] >= 0).all()
    together = PackedBatches(found.split, batch_size=2, context=14, seed=0).train_batch(0)
    assert len(together) == 2


@pytest.mark.parametrize("name", MODELS)
def test_rows_with_padding_before_them_have_the_logits_that_they_have_alone_with_a_cache_and_without(name: str) -> None:
    model, rng = make(name), np.random.default_rng(1)
    rows = [rng.integers(1, V, n) for n in (9, 4, 7, 1)]
    T = max(map(len, rows))
    mask = np.arange(T) >= T - np.array([[len(row)] for row in rows])
    ids = np.zeros((len(rows), T), np.int64)
    for at, row in enumerate(rows):
        ids[at, T - len(row) :] = row
    positions, new = padded_positions(mask), rng.integers(1, V, (len(rows), 3))
    with no_grad():
        whole = model(ids, key_mask=mask, positions=positions).data
        cache, seen = model.new_cache(len(rows)), mask
        first = model(ids, cache, seen, positions=positions).data
        steps = []
        for token in new.T:
            seen = np.pad(seen, ((0, 0), (0, 1)), constant_values=True)
            steps.append(model(token[:, None], cache, seen, positions=padded_positions(seen)[:, -1:]).data[:, 0])
        for at, row in enumerate(rows):
            expected = model(np.append(row, new[at])[None]).data[0]
            assert np.allclose(whole[at, T - len(row) :], expected[: len(row)], rtol=1e-9, atol=1e-11)
            assert np.allclose(first[at, T - len(row) :], expected[: len(row)], rtol=1e-9, atol=1e-11)
            assert np.allclose([step[at] for step in steps], expected[len(row) :], rtol=1e-9, atol=1e-11)


def test_what_cannot_be_is_said() -> None:
    model, ids = make("gpt2"), np.ones((1, 4), np.int64)
    with pytest.raises(ValueError, match="documents say where tokens stand"):
        model(ids, model.new_cache(1), documents=ids)
    with pytest.raises(ValueError, match="33 tokens do not fit into a context of 32"):
        model(ids, positions=np.full((1, 4), 32))
    lstm = LSTMLanguageModel(LSTMConfig(V, 6, 9, 2), Initializer(0))
    with pytest.raises(TinylmError, match="a recurrent state knows no documents"):
        lstm.loss(ids, ids, documents=ids)


def test_dropout_and_checkpointing_of_packed_documents_give_the_same_bits() -> None:
    inputs, targets, documents = batches().train_batch(0)
    gradients = []
    for again in (False, True):
        config = GPT2Config(V, n_positions=32, n_embd=24, n_layer=2, n_head=4, resid_pdrop=0.2, embd_pdrop=0.2)
        model = GPT2(config, Initializer(0)).train()
        model.gradient_checkpointing = again
        with random_step(seed=0, step=0):
            model.loss(inputs, targets, documents=documents).backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(map(np.array_equal, *gradients))
