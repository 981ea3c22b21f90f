"""Answers by words in common: the sentence most like the question, and what in it the question does not say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import regex

from ..metrics import unicode_words
from .lead import split_sentences
from .tfidf import TfIdf

__all__ = ["SpanBaseline"]

_WORD = regex.compile(r"[^\W_]+(?:['.,-][^\W_]+)*")


class Span(NamedTuple):
    """An answer, and where it begins in the context, in characters."""

    text: str
    start: int


class SpanBaseline:
    """Answers a question from a context without having learned more than how frequent words are.

    Takes the sentence that is nearest to the question by TF-IDF, and of it the run of words not in the question that
    weighs most. contexts: texts to count words in. longest: words of an answer. Source: after the sliding window of
    Rajpurkar et al. 2016, arXiv:1606.05250, section 5.
    """

    def __init__(self, contexts: Sequence[str], *, longest: int = 4):
        self._tfidf = TfIdf(contexts, unicode_words)
        self.longest = longest

    def answer(self, question: str, context: str) -> Span:
        """The answer; of a context without words, an empty one."""
        sentences = split_sentences(context) or [""]
        best = max(sentences, key=lambda sentence: self._tfidf.similarity(question, sentence))
        said = set(unicode_words(question))
        place = context.index(best)
        spans = [
            Span(context[place + run[0].start() : place + run[-1].end()], place + run[0].start())
            for new, words in groupby(_WORD.finditer(best), lambda match: said.isdisjoint(unicode_words(match[0])))
            for run in [list(words)[: self.longest]]
            if new
        ]
        return max(spans, key=lambda span: self._weight(span.text), default=Span("", 0))

    def _weight(self, text: str) -> float:
        return sum(self._tfidf.idf(word) for word in unicode_words(text))
