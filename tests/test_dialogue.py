"""Learning to answer: what counts in a conversation, and a model that chats as it was taught."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from chat_templates import FORMATS, TOKENS

import tinylm
from tinylm.cli import main
from tinylm.errors import FileFormatError, TinylmError
from tinylm.inference import ChatTemplate, PlainTemplate, answered_spans, conversation_ids
from tinylm.inference.chat import DEFAULT_TEMPLATE
from tinylm.text import load_tokenizer, train_bpe, train_unigram

pytest.importorskip("jinja2")

TALK = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi there."},
    {"role": "user", "content": "天气好吗?"},
    {"role": "assistant", "content": "好。"},
]
TINY = {"layers": 1, "heads": 2, "width": 32, "batch_size": 8, "vocab_size": 300, "initial_std": 0.1, "context": 96}


def spoken(rendered) -> list[str]:
    return [rendered.text[start:end] for start, end in rendered.spans]


def test_the_default_template_marks_answers_with_their_end() -> None:
    rendered = answered_spans(ChatTemplate(DEFAULT_TEMPLATE, TOKENS), TALK)
    assert spoken(rendered) == ["Hi there.</s>", "好。</s>"]
    beginning = ChatTemplate(DEFAULT_TEMPLATE, TOKENS).render(TALK[:1], add_generation_prompt=True)
    assert rendered.text.startswith(beginning)


@pytest.mark.parametrize("name", FORMATS)
def test_answers_are_found_in_templates_that_do_not_mark_them(name: str) -> None:
    rendered = answered_spans(ChatTemplate(FORMATS[name], TOKENS), TALK)
    for answer, text in zip(("Hi there.", "好。"), spoken(rendered), strict=True):
        assert answer in text
        assert "user" not in text.lower()
        assert "Hello" not in text


def test_a_plain_template_shows_answers_too() -> None:
    assert spoken(answered_spans(PlainTemplate(), TALK)) == ["Hi there.", "好。"]


def test_a_template_that_hides_earlier_answers_is_refused() -> None:
    source = "{% for m in messages %}{{ m.content if loop.last else '.' }}{% endfor %}"
    with pytest.raises(TinylmError, match="does not show where the assistant writes message 2"):
        answered_spans(ChatTemplate(source, {}), TALK)


@pytest.mark.parametrize("train", [train_bpe, train_unigram])
def test_the_tokens_of_answers_spell_them(train) -> None:
    tokenizer = train(["Hello there. Hi! 天气好吗? 好。" * 9], 300)
    ids, answered = conversation_ids(
        tokenizer, answered_spans(ChatTemplate(DEFAULT_TEMPLATE, {"eos_token": "<|endoftext|>"}), TALK)
    )
    end = tokenizer.end_of_text
    pieces = " ".join(str(i) for i in ids[answered]).split(str(end))
    texts = [tokenizer.decode([int(i) for i in piece.split()]) for piece in pieces]
    assert texts == ["Hi there.", "好。", ""]


def write_talks(path: Path) -> Path:
    answers = {"Hello": "Hi there.", "Who are you?": "A cat.", "天气好吗?": "好。"}
    rows = []
    for first, answer in answers.items():
        for then, last in answers.items():
            talk = [{"from": "human", "value": first}, {"from": "gpt", "value": answer}]
            rows.append({"conversations": [*talk, {"from": "human", "value": then}, {"from": "gpt", "value": last}]})
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_model_learns_to_answer_and_chats_at_once(tmp_path: Path, capsys, monkeypatch) -> None:
    data = write_talks(tmp_path / "talks.jsonl")
    settings = {**TINY, "steps": 120, "learning_rate": 1e-2, "validate_every": 60, "validation": 0.3}
    run = tinylm.train(data, task="dialogue", out=tmp_path / "run", **settings)
    lm = tinylm.load(run.best)
    talk = [{"role": "user", "content": "Hello"}]
    assert lm.chat(talk, temperature=0) == "Hi there."
    more = [*talk, {"role": "assistant", "content": "Hi there."}, {"role": "user", "content": "天气好吗?"}]
    assert lm.chat(more, temperature=0) == "好。"
    assert load_tokenizer(run.best).config.chat_template == DEFAULT_TEMPLATE
    lines = iter(["Who are you?", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert main(["chat", str(run.folder), "--temperature", "0"]) == 0
    assert "A cat." in capsys.readouterr().out
    assert "  -> " in run.last_sample()


def test_conversations_that_do_not_fit_are_cut_or_left_out_and_counted(tmp_path: Path) -> None:
    data = write_talks(tmp_path / "talks.jsonl")
    said: list[str] = []
    settings = {**TINY, "context": 24, "steps": 1, "validation": 0.3}
    tinylm.train(data, task="dialogue", out=tmp_path / "run", notify=said.append, **settings)
    assert any(line.startswith("to learn from: cut ") and "conversations to a context of 24" in line for line in said)


# Refuses conversations that do not begin with the user.
STRICT_TEMPLATE = (
    "{% if messages[0].role != 'user' %}{{ raise_exception('the user begins') }}{% endif %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture
def strict_model(tmp_path: Path) -> Path:
    """A model whose template refuses some conversations."""
    data = write_talks(tmp_path / "talks.jsonl")
    run = tinylm.train(data, task="dialogue", out=tmp_path / "run", steps=1, validation=0.3, **TINY)
    tokenizer = load_tokenizer(run.best)
    tokenizer.config = dataclasses.replace(tokenizer.config, chat_template=STRICT_TEMPLATE)
    tokenizer.save(run.best)
    return run.best


def test_conversations_that_cannot_be_used_are_counted_and_named_by_line_unless_it_is_strict(
    strict_model: Path, tmp_path: Path
) -> None:
    good = write_talks(tmp_path / "good.jsonl").read_text(encoding="utf-8").splitlines()
    hello = {"messages": [{"role": "system", "content": "Be brief."}, *TALK]}
    data = tmp_path / "mixed.jsonl"
    keyed = [line.replace("conversations", "messages") for line in good]
    data.write_text("\n".join([*keyed[:4], json.dumps(hello), "no JSON", *keyed[4:]]), encoding="utf-8")
    said: list[str] = []
    settings = {"init": strict_model, "context": 96, "steps": 1, "validation": 0.0, "task": "dialogue"}
    tinylm.train(data, out=tmp_path / "second", notify=said.append, **settings)
    assert any("skipped 1 of 11 records: first at" in line and "mixed.jsonl:6" in line for line in said)
    refused = [line for line in said if "the user begins" in line]
    assert len(refused) == 1
    assert refused[0].startswith(f"to learn from: skipped 1 of 10 records: first at {data}:5: ")
    assert any("mixed.jsonl, 9 conversations," in line for line in said)
    with pytest.raises(FileFormatError, match=r"mixed\.jsonl:6"):
        tinylm.train(data, out=tmp_path / "third", strict=True, **settings)
    data.write_text("\n".join([*keyed[:4], json.dumps(hello)]), encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"mixed\.jsonl:5: .*the user begins"):
        tinylm.train(data, out=tmp_path / "fourth", strict=True, **settings)
    data.write_text(json.dumps(hello), encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"mixed\.jsonl:1: .*the user begins"):
        tinylm.train(data, out=tmp_path / "fifth", **settings)


def test_what_the_assistant_writes_is_measured_conversation_by_conversation(strict_model: Path, tmp_path: Path) -> None:
    data = write_talks(tmp_path / "talks.jsonl")
    lm = tinylm.load(strict_model)
    scores = lm.measure(data)
    assert len(scores) == 9
    nats, count = 0.0, 0
    for line in data.read_text(encoding="utf-8").splitlines():
        pairs = [(m["from"] == "gpt", m["value"]) for m in json.loads(line)["conversations"]]
        ids = [lm.tokenizer.encode(f"{('user', 'assistant')[gpt]}: {text}<|endoftext|>\n") for gpt, text in pairs]
        whole = np.concatenate(ids)
        p = lm.logits(whole[None])[0]
        p = p - np.log(np.exp(p).sum(axis=-1, keepdims=True))
        spans = answered_spans(
            lm.chat_template, [{"role": ("user", "assistant")[gpt], "content": t} for gpt, t in pairs]
        )
        _, answered = conversation_ids(lm.tokenizer, spans)
        at = np.flatnonzero(answered)
        nats -= p[at - 1, whole[at]].sum()
        count += len(at)
    assert scores.result()["loss"] == pytest.approx(nats / count, rel=1e-5)
    assert {"perplexity", "accuracy", "bits_per_byte"} <= scores.intervals(resamples=20).keys()
    with pytest.raises(TinylmError, match="have no text_column"):
        lm.measure(data, text_column="text")


def test_a_model_of_another_task_is_measured_for_dialogue_where_that_is_asked(strict_model: Path, capsys) -> None:
    data = strict_model.parent.parent / "talks.jsonl"
    card = json.loads((strict_model / "tinylm.json").read_text(encoding="utf-8"))
    lm = tinylm.load(strict_model)
    expected = lm.evaluate(data)
    card["task"] = {"name": "language-modelling"}
    (strict_model / "tinylm.json").write_text(json.dumps(card), encoding="utf-8")
    assert tinylm.load(strict_model).evaluate(data, task="dialogue") == expected
    assert main(["eval", str(strict_model), str(data), "--task", "dialogue", "--resamples", "20"]) == 0
    assert f"{expected['loss']:.4f} [" in capsys.readouterr().out
    with pytest.raises(TinylmError, match="there is no task 'dialog'; did you mean 'dialogue'"):
        lm.measure(data, task="dialog")


def test_what_is_held_out_is_measured_in_the_memory_that_there_is(strict_model: Path, monkeypatch) -> None:
    told: list[dict[str, float]] = []
    for logits in (1 << 24, 1):
        monkeypatch.setattr("tinylm.tasks.teacher_forcing.VALIDATION_LOGITS", logits)
        settings = {"init": strict_model, "steps": 1, "learning_rate": 0.0, "validation": 0.5, "context": 96}
        run = tinylm.train(
            strict_model.parent.parent / "talks.jsonl",
            task="dialogue",
            out=strict_model.parent.parent / f"run{logits}",
            **settings,
        )
        told.append({name: run.best_metrics()[name] for name in ("val_loss", "val_accuracy")})
    assert told[0] == pytest.approx(told[1], rel=1e-5)
