"""Answers that are a part of a text: where an encoder with a span head finds them.

Source: Devlin et al. 2019, arXiv:1810.04805, sections 4.2 and 4.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.autograd import no_grad
from tinylm.data import pad_rows
from tinylm.errors import TinylmError
from tinylm.models import Encoder
from tinylm.models.heads import SpanHead
from tinylm.text import PipelineTokenizer, Tokenizer, Truncation, Window

from .logits import log_softmax

__all__ = ["AnswerSpan", "answer_from_context", "is_reader", "question_windows", "reader_inputs", "span_logits"]

LONGEST_ANSWER = 30  # tokens, as in the scripts of BERT
STRIDE_SHARE = 3  # windows overlap by a third of what they could hold: 128 of 384, as in the scripts of BERT


@dataclass(frozen=True)
class AnswerSpan:
    """An answer: characters start up to end of the context; "" at 0, 0 where there is none.

    probability: among all spans of all windows, and no answer where the model was trained for that.
    """

    text: str
    start: int
    end: int
    probability: float


def is_reader(model: Any) -> bool:
    """Whether a model marks answers in a text."""
    return isinstance(model, Encoder) and isinstance(model.head, SpanHead)


def question_windows(tokenizer: Tokenizer, question: str, context: str, max_tokens: int) -> list[Window]:
    """A question with a context: as many windows of max_tokens as the context needs, which overlap.

    Raises TinylmError where the tokenizer has no special tokens between two texts, or the question leaves no room.
    """
    if not isinstance(tokenizer, PipelineTokenizer) or not len(tokenizer.surround(NOTHING, NOTHING).ids):
        raise TinylmError(f"{tokenizer!r} puts no special tokens between a question and its context, as readers need")
    asked = len(tokenizer.inputs(question, "", truncation=None, padding=None).ids)
    room = max_tokens - asked
    if room < 2:
        raise TinylmError(f"the question has {asked} tokens and the model reads {max_tokens}: shorten it")
    cut = Truncation(max_tokens, "second", stride=room // STRIDE_SHARE)
    return tokenizer.windows(question, context, truncation=cut, padding=None)


NOTHING = np.zeros(0, np.int32)


def reader_inputs(
    model: Encoder, windows: Sequence[Window], length: int | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The ids (B, T) of windows, and what else the model is told of them. length: T, or that of the longest."""
    ids, mask = pad_rows([window.ids for window in windows], model.config.pad_token_id or 0, length)
    seen = {} if mask.all() else {"key_mask": mask}
    if model.token_types is not None:
        seen["token_types"] = pad_rows([window.type_ids for window in windows], 0, length)[0]
    return ids, seen


def span_logits(model: Encoder, windows: Sequence[Window], *, batch_size: int = 16) -> Iterator[np.ndarray]:
    """For each window the logits (T, 2) float64 that an answer begins and ends at a token."""
    for first in range(0, len(windows), batch_size):
        chosen = windows[first : first + batch_size]
        ids, seen = reader_inputs(model, chosen)
        with no_grad():
            logits = model(ids, **seen).data
        for window, found in zip(chosen, logits, strict=True):
            yield found[: len(window.ids)].astype(np.float64)


def answer_from_context(
    model: Any,
    tokenizer: Tokenizer,
    question: str,
    context: str,
    k: int = 1,
    *,
    max_tokens: int | None = None,
    may_be_none: bool = False,
) -> list[AnswerSpan]:
    """The k likeliest answers to a question in a context, none inside another, the likeliest first.

    max_tokens: of a window; the model's context where None. may_be_none: no answer is one as well, scored by the first
    token of the windows, where the least likely window counts. Raises TinylmError for a model without a span head.
    """
    if not is_reader(model):
        raise TinylmError(f"{model.architecture} marks no answers in a text; an encoder of the task reading does")
    windows = question_windows(tokenizer, question, context, min(max_tokens or model.context, model.context))
    spans, scores, nothing = _all_spans(windows, list(span_logits(model, windows)))
    if may_be_none:
        spans, scores = np.concatenate([spans, [[0, 0]]]), np.append(scores, nothing)
    if not len(scores):
        return []
    p = np.exp(scores - scores.max())
    p /= p.sum()
    found: list[AnswerSpan] = []
    for at in np.argsort(-scores, kind="stable"):
        start, end = spans[at].tolist()
        if all(end <= other.start or other.end <= start or start == end or not other.text for other in found):
            found.append(AnswerSpan(context[start:end], start, end, float(p[at])))
            if len(found) == k:
                break
    return found


def _all_spans(windows: Sequence[Window], logits: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, float]:
    """The characters (N, 2) and scores (N,) of all spans that are short enough, and the score of no answer."""
    spans, scores, nothing = [np.zeros((0, 2), np.int32)], [np.zeros(0)], np.inf
    for window, found in zip(windows, logits, strict=True):
        places = np.flatnonzero(window.texts == 1)
        found = log_softmax(found.T).T  # windows were trained each for itself: their logits do not compare
        begin, end = found[places, 0], found[places, 1]
        first, last = np.nonzero(np.triu(np.tri(len(places), k=LONGEST_ANSWER - 1, dtype=bool)))
        spans.append(np.stack([window.offsets[places[first], 0], window.offsets[places[last], 1]], axis=1))
        scores.append(begin[first] + end[last])
        nothing = min(nothing, float(found[0].sum()))
    return np.concatenate(spans), np.concatenate(scores), nothing
