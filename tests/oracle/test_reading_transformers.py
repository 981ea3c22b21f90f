"""The span head's training curve is that of transformers, on full windows with answers and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from float64 import in_float64

from tinylm.formats import load_model, save_model
from tinylm.inference import question_windows
from tinylm.models import FAMILIES
from tinylm.nn import Initializer
from tinylm.optim import AdamW
from tinylm.tasks.reading import ReadingTask, mark_answers
from tinylm.text import train_wordpiece
from tinylm.training import Trainer

pytestmark = pytest.mark.oracle

B, STEPS = 8, 50
TEXTS = [f"{name} lives in {city}. The {thing} is old and {color}." for name, city, thing, color in (
    ("Anna", "Paris", "house", "red"), ("Ben", "Rome", "tower", "green"), ("Clara", "Oslo", "bridge", "white"),
    ("David", "Vienna", "garden", "blue"), ("Emma", "London", "castle", "grey"))]  # fmt: skip
CONFIGS = {
    "bert": {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
             "max_position_embeddings": 20, "hidden_dropout_prob": 0.0},
    "distilbert": {"dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 20,
                   "dropout": 0.0, "qa_dropout": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("family", CONFIGS)
def test_fifty_steps_of_training_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    tokenizer = train_wordpiece(TEXTS, 120)
    windows = [w for text in TEXTS for w in question_windows(tokenizer, "Where?", text, 14)]
    marks = [
        mark_answers(question_windows(tokenizer, "Where?", text, 14), text.index("in ") + 3, text.index("."))
        for text in TEXTS
    ]
    targets = np.concatenate(marks)
    full = [at for at, window in enumerate(windows) if len(window.ids) == 14]  # padding counts there, not here
    windows, targets = [windows[at] for at in full], targets[full]
    assert 0 < (targets[:, 0] > 0).sum() < len(targets)
    task = ReadingTask(windows, targets, ([], targets[:0]), batch_size=B)
    kind = FAMILIES[family]
    settings = {**CONFIGS[family], "vocab_size": tokenizer.vocab_size, "initializer_range": 0.2, "pad_token_id": 0}
    settings["architectures"] = [kind.architecture_with("spans")]
    save_model(tmp_path, kind.from_settings(settings, Initializer(3)))
    ours = load_model(tmp_path).astype(np.float64)
    trainer = Trainer(ours, task, AdamW(list(ours.parameters()), betas=(0.9, 0.999)), lambda step: 1e-3, steps=STEPS)
    curve: list[float] = []
    trainer.callbacks.append(lambda trainer, result: curve.append(result.loss))
    trainer.run()
    with in_float64(family):
        theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path).to(torch.float64)
        expected = torch_curve(theirs, task, with_types=family == "bert")
    assert curve[-1] < 0.9 * curve[0]
    assert np.abs(np.array(curve) / expected - 1).max() < 1e-9


def torch_curve(model, task: ReadingTask, *, with_types: bool) -> np.ndarray:
    model.eval()  # without dropout; it learns nevertheless
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        windows, length, targets = task.batch(step, slice(0, B))
        inputs = {
            name: torch.tensor(np.array([np.pad(getattr(w, field), (0, length - len(w.ids))) for w in windows])).long()
            for name, field in (("input_ids", "ids"), ("attention_mask", "mask"), ("token_type_ids", "type_ids"))
            if with_types or field != "type_ids"
        }
        begin, end = torch.from_numpy(targets).T
        loss = model(**inputs, start_positions=begin, end_positions=end).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)
