"""lm-evaluation-harness runs tasks on our models as it does on transformers' with the same weights."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

lm_eval = pytest.importorskip("lm_eval")
pytest.importorskip("torch")
pytest.importorskip("transformers")

from tinylm.evaluation_harness import HarnessLM
from tinylm.formats import save_model
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.text import train_bpe

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

CAPITALS = {"France": "Paris", "Japan": "Tokyo", "中国": "北京", "Peru": "Lima", "Egypt": "Cairo"}
TASK = """\
task: capitals
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_text: "Question: What is the capital of {{{{country}}}}?\\nAnswer:"
doc_to_target: "{target}"
{more}
"""
KINDS = {
    "multiple_choice": ("{{choices.index(capital)}}", 'doc_to_choice: "{{choices}}"'),
    "generate_until": (
        " {{capital}}",
        'generation_kwargs: {until: ["\\n"], max_gen_toks: 8}\nmetric_list: [{metric: exact_match}]',
    ),
    "loglikelihood_rolling": (
        "Question: What is the capital of {{country}}? Answer: {{capital}}, and so on and on, as far as it goes.",
        "metric_list: [{metric: bits_per_byte}]",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny model whose windows are shorter than some texts."""
    text = "Question: What is the capital of France? 中国 北京 Answer: Paris Tokyo Lima Cairo\n" * 9
    tokenizer = train_bpe([text], 300)
    end = tokenizer.end_of_text
    config = GPT2Config(
        tokenizer.vocab_size,
        n_positions=48,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=end,
        eos_token_id=end,
        initializer_range=0.3,
    )
    base = tmp_path_factory.mktemp("harness")
    save_model(base / "model", GPT2(config, Initializer(3)), tokenizer)
    return base / "model"


@pytest.fixture(scope="module")
def both(folder: Path):
    """Our model, and transformers' of the same weights."""
    from lm_eval.models.huggingface import HFLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return HarnessLM(str(folder)), HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=2)


def run_task(model, kind: str, folder: Path, monkeypatch):
    """The result of the task, and what each example got."""
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("HF_HOME", str(folder / "cache"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    data = folder / "capitals.jsonl"
    choices = list(CAPITALS.values())
    rows = ({"country": country, "capital": capital, "choices": choices} for country, capital in CAPITALS.items())
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    target, more = KINDS[kind]
    (folder / "capitals.yaml").write_text(TASK.format(data=data, kind=kind, target=target, more=more), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = lm_eval.simple_evaluate(
            model,
            tasks=["capitals"],
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
            bootstrap_iters=0,
        )
    return found["results"]["capitals"], [sample["filtered_resps"] for sample in found["samples"]["capitals"]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_local_task_gives_the_figures_of_transformers_model(kind: str, both, tmp_path: Path, monkeypatch) -> None:
    (mine, own), (theirs, others) = (run_task(model, kind, tmp_path, monkeypatch) for model in both)
    assert len(own) == len(CAPITALS)
    if kind == "generate_until":
        assert own == others
    else:
        np.testing.assert_allclose(np.array(own, float), np.array(others, float), atol=1e-4)  # nats, and whether greedy
    assert {k: v for k, v in mine.items() if isinstance(v, float)} == pytest.approx(
        {k: v for k, v in theirs.items() if isinstance(v, float)}, abs=1e-4
    )
