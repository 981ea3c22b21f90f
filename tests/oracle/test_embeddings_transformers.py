"""Embeddings learnt and used as elsewhere: curves of transformers and torch, vectors of sentence-transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from float64 import in_float64

import tinylm
from tinylm.formats import Pooling, load_model, save_model
from tinylm.inference import encoder_rows
from tinylm.models import Bert, BertConfig
from tinylm.nn import Initializer
from tinylm.optim import AdamW
from tinylm.tasks.embeddings import EmbeddingTask, Pairs
from tinylm.text import train_wordpiece
from tinylm.training import Trainer

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

B, STEPS, TEMPERATURE = 8, 50, 0.07
WORDS = ["red", "blue", "old", "new", "cat", "dog", "house", "tree", "river", "bridge"]
ROWS = [
    {"anchor": f"a {color} {thing}", "positive": f"the {thing} of {i % 5} is {color}"}
    for i, (color, thing) in enumerate((WORDS[i % 4], WORDS[4 + i % 6]) for i in range(24))
]
NEGATIVES = [{**row, "negatives": [f"no {WORDS[i % 7]}"] * (i % 3 > 0)} for i, row in enumerate(ROWS)]
SCORED = [{**row, "score": (i % 6) / 5} for i, row in enumerate(ROWS)]
TOKENIZER = train_wordpiece([text for row in ROWS for text in row.values()], 100)
CONFIG = BertConfig(TOKENIZER.vocab_size, hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
                    intermediate_size=40, max_position_embeddings=20, hidden_dropout_prob=0.0,
                    initializer_range=0.2, add_pooling_layer=False)  # fmt: skip


@pytest.mark.parametrize("mode", ["mean", "max", "first"])
@pytest.mark.parametrize("rows", [ROWS, NEGATIVES, SCORED], ids=["pairs", "negatives", "scores"])
def test_fifty_steps_of_training_are_those_of_transformers(rows: list[dict], mode: str, tmp_path: Path) -> None:
    pairs = Pairs.of(rows)
    settings = {"batch_size": B, "temperature": TEMPERATURE, "mode": mode}
    task = EmbeddingTask(pairs, pairs, lambda texts: encoder_rows(TOKENIZER, texts, 16), **settings)
    save_model(tmp_path, Bert(CONFIG, Initializer(3)))
    ours = load_model(tmp_path).astype(np.float64)
    trainer = Trainer(ours, task, AdamW(list(ours.parameters()), betas=(0.9, 0.999)), lambda step: 1e-3, steps=STEPS)
    curve: list[float] = []
    trainer.callbacks.append(lambda trainer, result: curve.append(result.loss))
    trainer.run()
    with in_float64("bert"):
        theirs = transformers.BertModel.from_pretrained(tmp_path, add_pooling_layer=False).to(torch.float64)
        expected = torch_curve(theirs, task, pairs, mode)
    assert curve[-1] < 0.9 * curve[0]
    assert np.abs(np.array(curve) / expected - 1).max() < 1e-8


def torch_curve(model, task: EmbeddingTask, pairs: Pairs, mode: str) -> np.ndarray:
    model.eval()  # without dropout; it learns nevertheless
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        batch = task.batch(step, slice(0, B))
        anchors, documents = torch_vectors(model, batch.anchors, mode), torch_vectors(model, batch.documents, mode)
        if batch.scores is not None:
            cosines = torch.nn.functional.cosine_similarity(anchors, documents)
            loss = torch.nn.functional.mse_loss(cosines, torch.from_numpy(batch.scores))
        else:
            cosines = torch.nn.functional.cosine_similarity(anchors[:, None], documents[None], dim=-1)
            logits = (cosines / TEMPERATURE).masked_fill(torch.from_numpy(batch.false), -torch.inf)
            loss = torch.nn.functional.cross_entropy(logits, torch.arange(B))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def torch_vectors(model, rows: list[np.ndarray], mode: str):
    length = max(map(len, rows))
    ids = torch.tensor(np.array([np.pad(row, (0, length - len(row))) for row in rows])).long()
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    seen = mask[..., None].bool()
    if mode == "first":
        return hidden[:, 0]
    if mode == "max":
        return hidden.masked_fill(~seen, -torch.inf).max(dim=1).values
    return (hidden * seen).sum(dim=1) / seen.sum(dim=1)


@pytest.mark.parametrize("mode", ["mean", "max", "first"])
def test_sentence_transformers_makes_the_same_vectors_of_what_is_saved_here(mode: str, tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    model = Bert(CONFIG, Initializer(5))
    save_model(tmp_path, model, TOKENIZER, pooling=Pooling(mode, normalize=True, max_tokens=7))
    texts = [row["positive"] for row in ROWS] + ["a cat", "the " * 30]
    expected = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu").encode(texts)
    assert np.abs(tinylm.load(tmp_path).embed(texts) - expected).max() < 1e-5
