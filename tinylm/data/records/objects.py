"""JSON files: a list of records, or the questions of SQuAD."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import FileFormatError
from ...files import MAX_JSON_BYTES, parse_json
from ..readers.base import Row, Skipped, TextFile, text_start

__all__ = ["json_rows", "with_answers"]


def json_rows(file: TextFile) -> Iterator[Row | Skipped]:
    """The objects of a list, by itself or under "data"; of SQuAD's files a row for each question."""
    with file.open() as opened:
        raw = opened.read(MAX_JSON_BYTES + 1)
    if len(raw) > MAX_JSON_BYTES:
        raise FileFormatError(file.path, f"more than {MAX_JSON_BYTES:,} bytes: write it as JSON Lines, a record a line")
    content = parse_json(raw[text_start(file.path, raw[:4]) :], file.path)
    items = content.get("data") if isinstance(content, dict) else content
    if not isinstance(items, list):
        raise FileFormatError(file.path, 'expected a list of records, or an object with one under "data"')
    if items and isinstance(items[0], dict) and "paragraphs" in items[0]:
        items = _questions(items)
    for number, item in enumerate(items, 1):
        if isinstance(item, dict):
            yield Row(number, with_answers(item))
        else:
            yield Skipped(number, f"expected an object, received {item!r:.40}")


def with_answers(item: dict[str, Any]) -> dict[str, Any]:
    """{"text": [...], "answer_start": [...]} under "answers", as the Hugging Face Hub keeps SQuAD, in two columns."""
    both = item.get("answers")
    if isinstance(both, dict) and both.keys() >= {"text", "answer_start"}:
        return {**item, "answers": both["text"], "starts": both["answer_start"]}
    return item


def _questions(articles: list[Any]) -> Iterator[Any]:
    """SQuAD's file format: articles hold paragraphs, which hold questions; those of version 2 may lack an answer.

    Whatever is not of that form comes as it is, and is no record. Source: Rajpurkar et al. 2018, arXiv:1806.03822.
    """
    for article in articles:
        for paragraph in _list(article, "paragraphs"):
            for question in _list(paragraph, "qas"):
                yield _question(paragraph, question)


def _list(value: Any, name: str) -> list[Any]:
    inside = value.get(name) if isinstance(value, dict) else None
    return inside if isinstance(inside, list) else [value]


def _question(paragraph: Any, question: Any) -> Any:
    if not isinstance(paragraph, dict) or not isinstance(question, dict):
        return question
    given = [] if question.get("is_impossible") is True else question.get("answers")

    def inside(key: str) -> Any:
        if not isinstance(given, list):
            return given
        return [answer.get(key) if isinstance(answer, dict) else None for answer in given]

    return {
        "id": question.get("id"),
        "question": question.get("question"),
        "context": paragraph.get("context"),
        "answers": inside("text"),
        "starts": inside("answer_start"),
    }
