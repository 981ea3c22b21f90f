"""Classifiers as transformers has them: the same probabilities from the same folder, and the same curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from float64 import in_float64

from tinylm.formats import load_model, save_model
from tinylm.inference import class_probabilities
from tinylm.models import FAMILIES, label_loss
from tinylm.nn import Initializer
from tinylm.optim import AdamW
from tinylm.tasks.classification import Examples, LabelTask
from tinylm.text import Inputs
from tinylm.training import Trainer

pytestmark = pytest.mark.oracle

V, LABELS, N, B, STEPS = 61, 3, 40, 8, 50
SIZES = {"vocab_size": V, "initializer_range": 0.2, "pad_token_id": 0}
WIDE = {**SIZES, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "bert": {**WIDE, "intermediate_size": 40, "max_position_embeddings": 20, "hidden_dropout_prob": 0.0},
    "distilbert": {**SIZES, "dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 20,
                   "dropout": 0.0, "seq_classif_dropout": 0.0},
    "gpt2": {**SIZES, "n_positions": 20, "n_embd": 24, "n_layer": 2, "n_head": 4},
    "llama": {**WIDE, "intermediate_size": 40, "num_key_value_heads": 2, "max_position_embeddings": 20,
              "tie_word_embeddings": False},
    "qwen2": {**WIDE, "intermediate_size": 40, "num_key_value_heads": 2, "max_position_embeddings": 20},
    "gpt_neox": {**WIDE, "rotary_pct": 1.0, "intermediate_size": 40, "max_position_embeddings": 20},
}  # fmt: skip
NAMES = [f"label {number}" for number in range(LABELS)]


@pytest.fixture(autouse=True)
def wide(request):
    """transformers computes all of it in float64."""
    with in_float64(*CONFIGS):
        yield


def models(family: str, folder: Path, problem: str):
    """The same model here and there, in float64."""
    kind = FAMILIES[family]
    settings = {
        **CONFIGS[family],
        "architectures": [kind.architecture_with("classification")],
        "id2label": {str(number): name for number, name in enumerate(NAMES)},
        "label2id": {name: number for number, name in enumerate(NAMES)},
        "problem_type": problem,
    }
    save_model(folder, kind.from_settings(settings, Initializer(3)))
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).to(torch.float64)
    assert theirs.config.id2label == dict(enumerate(NAMES))
    return load_model(folder).astype(np.float64), theirs


def examples(several: bool) -> Examples:
    random = np.random.default_rng(0)
    rows = []
    for _ in range(N):
        length = int(random.integers(1, 16))
        ids = random.integers(1, V, length).astype(np.int32)
        rows.append(Inputs(ids, np.zeros_like(ids), np.ones(length, bool)))
    if several:
        return Examples(rows, [[NAMES[k] for k in range(LABELS) if row.ids[0] % (k + 2) == 0] for row in rows])
    return Examples(rows, [NAMES[int(row.ids[0]) % LABELS] for row in rows])


def padded(rows, length: int):
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for at, row in enumerate(rows):
        ids[at, : len(row.ids)], mask[at, : len(row.ids)] = torch.from_numpy(row.ids.astype(np.int64)), 1
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("family", CONFIGS)
def test_probabilities_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    ours, theirs = models(family, tmp_path, "single_label_classification")
    rows = examples(False).rows
    with torch.no_grad():
        expected = theirs.eval()(**padded(rows, 16)).logits.softmax(-1).numpy()
    assert np.abs(class_probabilities(ours, rows, batch_size=7) - expected).max() < 1e-12


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification"])
@pytest.mark.parametrize("family", CONFIGS)
def test_fifty_steps_of_training_are_those_of_transformers(family: str, problem: str, tmp_path: Path) -> None:
    ours, theirs = models(family, tmp_path, problem)
    several = problem.startswith("multi")
    task = LabelTask(examples(several), Examples([], []), NAMES, batch_size=B, several=several)
    optimizer = AdamW(list(ours.parameters()), betas=(0.9, 0.999))
    trainer = Trainer(ours, task, optimizer, lambda step: 1e-3, steps=STEPS, clip=1.0)
    curve: list[float] = []
    trainer.callbacks.append(lambda trainer, result: curve.append(result.loss))
    trainer.run()
    expected = torch_curve(theirs, task)
    assert curve[-1] < 0.9 * curve[0]
    assert np.abs(np.array(curve) / expected - 1).max() < 1e-9


def torch_curve(model, task: LabelTask) -> np.ndarray:
    model.eval()  # without dropout, which is not the same in both; it learns nevertheless
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        batch = task.batch(step, slice(0, B))
        targets = batch.targets
        loss = model(
            **padded(batch.rows, batch.length), labels=torch.from_numpy(targets).to(wanted(model, targets))
        ).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def wanted(model, targets: np.ndarray):
    return torch.long if targets.ndim == 1 else model.dtype


def test_class_weights_are_those_of_torch() -> None:
    from tinylm.autograd import Tensor

    random = np.random.default_rng(1)
    logits, targets, weights = random.normal(size=(9, LABELS)), random.integers(0, LABELS, 9), random.random(LABELS)
    x = Tensor(logits, requires_grad=True)
    loss = label_loss(x, targets, "single_label_classification", weights[targets])
    loss.backward()
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(theirs, torch.tensor(targets), torch.tensor(weights))
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert np.allclose(x.grad, theirs.grad.numpy(), rtol=1e-10, atol=1e-14)
