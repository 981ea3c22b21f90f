"""Kinds of task: their settings, how a run begins with another model, and what is frozen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.errors import TinylmError
from tinylm.formats import read_safetensors, save_model
from tinylm.models import FAMILIES, Bert, BertConfig
from tinylm.nn import Initializer
from tinylm.tasks import TASKS, choose_settings, continue_model, freeze, new_model, resolve_settings
from tinylm.training import StepResult, Trainer, validate

SMALL = {"layers": 2, "heads": 2, "width": 16, "context": 16, "batch_size": 4, "validate_every": 5, "warmup": 0.1}
OF_RUNS = {name: SMALL[name] for name in ("context", "batch_size", "validate_every", "warmup")}


@pytest.fixture
def base(text: Path, tmp_path: Path) -> Path:
    return tinylm.train(text, out=tmp_path / "base", steps=5, **SMALL).folder


def weights(model) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.state_dict().items()}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_settings_that_name_it_and_can_build_its_default_model(name: str) -> None:
    settings = resolve_settings({"task": name})
    assert settings.task == name == TASKS[name].name
    for family in settings.models:
        if "t5" not in family:
            sizes = {"layers": 1, "width": 16, "heads": 2, "embedding": 16}
            settings = choose_settings(None, {"task": name, "model": family, **sizes})
            model = new_model(settings, 50, head=TASKS[name].head_for(FAMILIES[family]))
            assert model.model_type == family


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": "mask"}, "no task 'mask'; did you mean 'masked'"),
        ({"mask_rate": 0.2}, "'mask_rate' belongs to the task masked, not to language-modelling"),
        ({"task": "masked", "packing": "documents"}, "'packing' belongs to the task language-modelling, not to masked"),
        ({"task": "masked", "mask_rat": 0.2}, "unknown setting 'mask_rat'; did you mean 'mask_rate'"),
        ({"task": "masked", "model": "gpt2"}, "model is 'gpt2'; there are bert"),
        ({"task": "masked", "mask_rate": 1.0}, "mask_rate is 1.0"),
    ],
)
def test_settings_of_another_task_are_refused_by_name(settings: dict, words: str) -> None:
    with pytest.raises(TinylmError, match=words):
        resolve_settings(settings)


def test_a_run_may_begin_with_another_model_and_freeze_parts(text: Path, base: Path, tmp_path: Path) -> None:
    said: list[str] = []
    settings = {**OF_RUNS, "steps": 10, "learning_rate": 1e-2, "freeze": "tokens,blocks.0,*.bias", "seed": 1}
    run = tinylm.train(text, init=base, out=tmp_path / "run", notify=said.append, **settings)
    before, after = weights(tinylm.load(base).model), weights(tinylm.load(run.best).model)
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert same == {n for n in before if n.startswith(("tokens.", "blocks.0.")) or n.endswith(".bias")}
    assert any("of them trained" in line for line in said)
    saved = read_safetensors(sorted((run.folder / "checkpoints").iterdir())[-1] / "arrays.safetensors")
    assert not {f"model.{name}" for name in same} & set(saved)
    assert run.tokenizer.to_json() == tinylm.load(base).tokenizer.to_json()
    config = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))
    assert config["model"] == "gpt2"
    assert "width" not in config  # that of the model counts
    assert tinylm.load(run.best).task["name"] == "language-modelling"


def test_a_run_that_began_with_another_model_goes_on_to_the_same_bits(text: Path, base: Path, tmp_path: Path) -> None:
    settings = {**OF_RUNS, "init": base, "freeze": "blocks.0", "learning_rate": 1e-2, "checkpoint_every": 4}
    whole = tinylm.train(text, out=tmp_path / "whole", steps=8, **settings)

    def stop(trainer: Trainer, result) -> None:
        if trainer.step == 4:
            trainer.stop("enough")

    tinylm.train(text, out=tmp_path / "parts", steps=8, callbacks=[stop], **settings)
    parts = tinylm.train(resume=tmp_path / "parts")
    assert parts.trainer.step == 8
    first, second = weights(whole.model), weights(parts.model)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_what_belongs_to_new_models_is_refused_beside_another_model(text: Path, base: Path) -> None:
    with pytest.raises(TinylmError, match=r"brings its own tokenizer, width"):
        choose_settings(None, {"init": str(base), "width": 32, "tokenizer": "bytes"})
    with pytest.raises(TinylmError, match=r"context=64, and .*base can look at 16 tokens"):
        choose_settings(None, {"init": str(base), "context": 64})
    assert choose_settings(None, {"init": str(base)}).context == 16
    with pytest.raises(TinylmError, match="no such model folder"):
        choose_settings(None, {"init": str(base / "nothing")})
    with pytest.raises(TinylmError, match="gpt2 models have no head for 'masked_language', only for language"):
        tinylm.train(text, task="masked", init=base, out=base / "x")


def test_freezing_names_parts_that_exist_and_leaves_something_to_train() -> None:
    model = new_model(resolve_settings(SMALL), 20)
    with pytest.raises(TinylmError, match=r"no part of the model is 'block\.0'; did you mean 'blocks\.0'"):
        freeze(model, ["block.0"])
    with pytest.raises(TinylmError, match="leaves nothing to train"):
        freeze(model, ["*"])


def test_gradients_do_not_flow_below_what_is_frozen(text: Path) -> None:
    model = new_model(resolve_settings(SMALL), 20)
    freeze(model, ["tokens", "positions", "blocks.0"])
    ids = np.arange(8)[None]
    loss = model.loss(ids[:, :-1], ids[:, 1:])
    loss.backward()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None} == {"blocks", "norm"}
    assert all(p.grad is None for name, p in model.named_parameters() if name.startswith("blocks.0"))


def test_another_head_is_new_and_the_rest_is_taken_over(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    bert = Bert(BertConfig(30, max_position_embeddings=12, **sizes), Initializer(3))  # without a head, as MiniLM
    save_model(tmp_path / "bert", bert)
    model, new = continue_model(tinylm.formats.open_model(tmp_path / "bert"), head="masked_language", seed=0)
    assert model.architecture == "BertForMaskedLM"
    assert new
    assert all(name.startswith("cls.predictions.") for name in new)
    old, taken = weights(bert), weights(model)
    assert all(np.array_equal(old[name], taken[name]) for name in taken if not name.startswith("head."))


@pytest.mark.parametrize(("metric", "best"), [("loss", 2), ("accuracy", 3)])
def test_the_best_step_is_the_one_with_the_best_metric_whichever_way_it_counts(metric: str, best: int) -> None:
    class Fake:
        steps = 4
        results = iter([(3, 0.1), (1, 0.2), (2, 0.9), (1, 0.5)])

        def evaluate(self) -> dict[str, float]:
            loss, accuracy = next(self.results)
            return {"loss": loss, "accuracy": accuracy}

    trainer, callback = Fake(), validate(1, metric)
    trainer.memory = {}
    for step in range(1, 5):
        trainer.step = step
        callback(trainer, StepResult(step, 0.0, 0.0, 0.0, 1, 1.0))
    assert trainer.memory["best_step"] == best
