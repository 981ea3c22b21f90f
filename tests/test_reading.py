"""Reading: where answers are marked, how they are found, and a run from SQuAD's file to answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm
from tinylm.autograd import Tensor
from tinylm.cli import main
from tinylm.errors import TinylmError
from tinylm.inference import answer_from_context, question_windows
from tinylm.models import Bert, BertConfig
from tinylm.nn import Initializer
from tinylm.tasks.reading import ReadingTask, mark_answers
from tinylm.text import CharTokenizer, train_wordpiece

CONTEXT = "Anna lives in Paris. Ben likes cheese, bread and 茶. Clara works as a baker in the old town."
QUESTION = "Where does Anna live?"
TOKENIZER = train_wordpiece([CONTEXT, QUESTION, "What does Ben drink?", "How old is Emma?"] * 3, 300)
RUN = {"layers": 1, "heads": 2, "width": 16, "context": 32, "batch_size": 8, "steps": 4, "validate_every": 2}


class Marker:
    """A reader that is sure of given characters of the context: what it says is a function of where tokens stand."""

    def __init__(self, *marked: tuple[int, int, float], nothing: float = -20.0):
        config = BertConfig(vocab_size=TOKENIZER.vocab_size, hidden_size=8, num_attention_heads=1, num_hidden_layers=1)
        self.model = Bert(config, Initializer(0), head="spans")
        self.marked, self.nothing = marked, nothing

    def __call__(self, monkeypatch, windows) -> Bert:
        rows = iter(windows)

        def forward(ids, **seen):
            logits = np.full((*ids.shape, 2), -20.0)
            for row in logits:
                window = next(rows)
                row[0] = self.nothing / 2
                for token, (start, end) in enumerate(window.offsets.tolist()):
                    for begin, stop, score in self.marked:
                        row[token, 0] = score / 2 if (start, window.texts[token]) == (begin, 1) else row[token, 0]
                        row[token, 1] = score / 2 if (end, window.texts[token]) == (stop, 1) else row[token, 1]
            return Tensor(logits)

        monkeypatch.setattr(self.model, "forward", forward)
        return self.model


def find(monkeypatch, marker: Marker, max_tokens: int = 64, **settings):
    windows = question_windows(TOKENIZER, QUESTION, CONTEXT, max_tokens)
    return answer_from_context(
        marker(monkeypatch, windows), TOKENIZER, QUESTION, CONTEXT, max_tokens=max_tokens, **settings
    )


def span(text: str) -> tuple[int, int]:
    start = CONTEXT.index(text)
    return start, start + len(text)


@pytest.mark.parametrize("max_tokens", [16, 24, 64])
@pytest.mark.parametrize("text", ["Paris", "cheese, bread and 茶", "茶", "old town"])
def test_the_likeliest_span_is_found_in_whichever_window_it_stands(monkeypatch, text: str, max_tokens: int) -> None:
    (found,) = find(monkeypatch, Marker((*span(text), 30.0)), max_tokens)
    assert (found.text, found.start, found.end) == (text, *span(text))
    assert found.probability > 0.49


def test_several_answers_do_not_lie_inside_each_other(monkeypatch) -> None:
    spans = {"Paris": 30.0, "cheese, bread": 28.0, "bread": 27.0, "baker": 26.0}
    marked = Marker(*((*span(text), score) for text, score in spans.items()))
    found = find(monkeypatch, marked, k=3)
    assert [answer.text for answer in found] == ["Paris", "cheese, bread", "baker"]
    assert found[0].probability > found[1].probability > found[2].probability > 0


@pytest.mark.parametrize(("nothing", "text"), [(29.0, "Paris"), (31.0, "")])
def test_no_answer_is_an_answer_where_it_may_be_one(monkeypatch, nothing: float, text: str) -> None:
    marker = Marker((*span("Paris"), 30.0), nothing=nothing)
    assert find(monkeypatch, marker, may_be_none=True)[0].text == text
    assert find(monkeypatch, marker)[0].text == "Paris"


def test_an_answer_is_not_longer_than_thirty_tokens(monkeypatch) -> None:
    context = "word " * 50
    windows = question_windows(TOKENIZER, QUESTION, context, 100)
    marker = Marker((0, 249, 30.0), (0, 4, 20.0))
    found = answer_from_context(marker(monkeypatch, windows), TOKENIZER, QUESTION, context, max_tokens=100)
    tokens = len(TOKENIZER.encode(found[0].text))
    assert 1 <= tokens <= 30


@given(st.integers(0, len(CONTEXT) - 1), st.integers(1, 40), st.sampled_from([14, 20, 64]))
def test_marks_hold_the_answer_wherever_a_window_holds_it_whole(start: int, length: int, max_tokens: int) -> None:
    end = min(start + length, len(CONTEXT))
    windows = question_windows(TOKENIZER, QUESTION, CONTEXT, max_tokens)
    marked = mark_answers(windows, start, end)
    for window, (first, last) in zip(windows, marked.tolist(), strict=True):
        own = window.offsets[window.texts == 1]
        if (first, last) == (0, 0):
            blank = not CONTEXT[start:end].strip()
            assert blank or own[0, 0] > start or own[-1, 1] < end or not touches(own, start, end)
        else:
            assert window.texts[first] == window.texts[last] == 1
            assert window.offsets[first, 0] <= start
            assert window.offsets[last, 1] >= end


def touches(places: np.ndarray, start: int, end: int) -> bool:
    """Whether tokens begin at or before the answer and end at or after it."""
    inside = places[(places[:, 1] > start) & (places[:, 0] < end)]
    return bool(len(inside)) and inside[0, 0] <= start and inside[-1, 1] >= end


def test_questions_that_leave_no_room_and_models_that_mark_nothing_are_refused() -> None:
    with pytest.raises(TinylmError, match=r"the question has .* tokens and the model reads 8"):
        question_windows(TOKENIZER, QUESTION, CONTEXT, 8)
    with pytest.raises(TinylmError, match="puts no special tokens between"):
        question_windows(CharTokenizer("abc "), "a", "b", 64)
    bert = Bert(BertConfig(vocab_size=50, hidden_size=8, num_attention_heads=1, num_hidden_layers=1), Initializer(0))
    with pytest.raises(TinylmError, match="BertModel marks no answers"):
        answer_from_context(bert, TOKENIZER, QUESTION, CONTEXT)


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    questions = [("Where does Anna live?", "Paris"), ("What does Ben drink?", "茶"), ("How old is Emma?", "")]
    paragraphs = []
    for number in range(20):
        context = f"{number}. {CONTEXT}"
        asked = [
            {
                "id": f"{number}-{at}",
                "question": question,
                "answers": [{"text": answer, "answer_start": context.index(answer)}] if answer else [],
                "is_impossible": not answer,
            }
            for at, (question, answer) in enumerate(questions)
        ]
        paragraphs.append({"context": context, "qas": asked})
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    return path


def test_a_run_from_squads_file_measures_marks_and_remembers_what_it_needs(squad: Path, tmp_path: Path) -> None:
    told: list[str] = []
    run = tinylm.train(squad, task="reading", out=tmp_path / "run", notify=told.append, vocab_size=300, **RUN)
    assert any("60 records of question, context, answers, starts" in line for line in told)
    assert any("windows of up to 32 tokens" in line for line in told)
    metrics = run.best_metrics()
    assert {"val_exact_match", "val_f1", "val_has_answer_f1", "val_no_answer_f1", "val_loss"} <= metrics.keys()
    lm = tinylm.load(run.folder)
    assert lm.task == {"name": "reading", "may_be_none": True, "context": 32}
    assert json.loads((run.best / "config.json").read_text())["architectures"] == ["BertForQuestionAnswering"]
    samples = (run.folder / "samples.txt").read_text(encoding="utf-8")
    assert samples.count("  -> ") == 3 * 2  # questions, validations


def test_the_loss_of_a_window_is_the_same_in_any_batch() -> None:
    windows = [*question_windows(TOKENIZER, QUESTION, CONTEXT, 20), *question_windows(TOKENIZER, "Who?", "Ben", 20)]
    targets = mark_answers(windows, *span("Paris"))
    config = BertConfig(vocab_size=TOKENIZER.vocab_size, hidden_size=8, num_attention_heads=1, num_hidden_layers=1)
    model = Bert(config, Initializer(0), head="spans")
    task = ReadingTask(windows, targets, ([], targets[:0]), batch_size=len(windows))
    together = task.loss(model, (windows, 20, targets)).item()
    alone = [task.loss(model, ([w], len(w.ids), t[None])).item() for w, t in zip(windows, targets, strict=True)]
    assert together == pytest.approx(np.mean(alone), rel=1e-5)


def test_answers_that_do_not_stand_in_their_context_are_told(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    rows = [{"question": f"q{i}?", "context": f"{i} {CONTEXT}", "answer": "Paris" if i else "Rome"} for i in range(12)]
    path.write_text("\n".join(map(json.dumps, rows)))
    told: list[str] = []
    tinylm.train(path, task="reading", out=tmp_path / "run", notify=told.append, vocab_size=300, **RUN)
    assert any("1 of 12 answers do not stand in their context" in line for line in told)
    path.write_text("\n".join(json.dumps(row | {"answer": "Rome"}) for row in rows))
    with pytest.raises(TinylmError, match="no answer stands in its context"):
        tinylm.train(path, task="reading", out=tmp_path / "other", vocab_size=300, **RUN)


def test_it_learns_where_answers_stand(squad: Path, tmp_path: Path, capsys) -> None:
    settings = RUN | {"steps": 200, "validate_every": 100, "learning_rate": 3e-3, "width": 32, "dropout": 0.0}
    run = tinylm.train(squad, task="reading", out=tmp_path / "run", vocab_size=300, **settings)
    assert run.best_metrics()["val_exact_match"] == 100.0
    lm = tinylm.load(run.best)
    context = f"77. {CONTEXT}"
    (found,) = lm.find_answers(QUESTION, context)
    assert (found.text, found.start) == ("Paris", context.index("Paris"))
    assert lm.answer(QUESTION, context) == "Paris"
    assert lm.answer("How old is Emma?", context) == ""
    assert lm.evaluate(squad)["exact_match"] == 100.0
    assert main(["answer", str(run.best), QUESTION, "--context", context]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Paris"
    assert "characters 18 to 23: 77. Anna lives in [Paris]. Ben likes" in printed[1]
    with pytest.raises(TypeError, match="marks answers in a context"):
        lm.answer(QUESTION)
