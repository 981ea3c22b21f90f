"""Baselines: what is simple gives what a person would say it gives."""

from __future__ import annotations

import numpy as np
import pytest

from tinylm.baselines import (
    BernoulliNaiveBayes,
    MultinomialNaiveBayes,
    SpanBaseline,
    TranslationMemory,
    lead,
    split_sentences,
)
from tinylm.errors import TinylmError
from tinylm.metrics import unicode_words

CONTEXT = "The tower stands in Paris. It was built by Gustave Eiffel. Its height is 330 metres."


@pytest.mark.parametrize("kind", [MultinomialNaiveBayes, BernoulliNaiveBayes])
def test_naive_bayes_tells_texts_apart_in_any_script(kind):
    model = kind()
    model.fit(
        ["buy now now", "cheap pills, buy", "see you at lunch", "lunch tomorrow?"], ["spam", "spam", "ham", "ham"]
    )
    assert model.classify(["buy cheap things", "you and lunch"]) == ["spam", "ham"]
    assert np.allclose(model.probabilities(["unseen words alone", ""]).sum(axis=1), 1)
    chinese = kind(words=unicode_words)
    chinese.fit(["天气很好", "天气不错", "公司开会", "明天开会"], ["weather", "weather", "work", "work"])
    assert chinese.classify(["好天气", "开会了"]) == ["weather", "work"]


def test_bernoulli_minds_what_is_missing_and_multinomial_how_often():
    texts, labels = ["aa bb", "aa bb", "aa", "aa aa aa aa bb"], ["x", "x", "y", "y"]
    for kind, expected in ((BernoulliNaiveBayes, "y"), (MultinomialNaiveBayes, "y")):
        model = kind()
        model.fit(texts, labels)
        assert model.classify(["aa"]) == [expected]


def test_a_memory_answers_with_what_it_has_seen():
    memory = TranslationMemory(
        ["Open the file", "Close the file", "打开文件"], ["Datei öffnen", "Datei schließen", "open"]
    )
    assert memory.translate(["open file", "closing files", "打开", "zzz"]) == [
        "Datei öffnen", "Datei schließen", "open", "Datei öffnen",
    ]  # fmt: skip
    assert memory.nearest("Open the file") == (0, pytest.approx(1))
    another, similarity = memory.nearest("Open the file", besides=0)
    assert another == 1
    assert 0.3 < similarity < 1


def test_sentences_end_at_marks_and_lines():
    assert split_sentences('It is 3.5 m. "Really?" Yes!\nno mark') == ["It is 3.5 m.", '"Really?"', "Yes!", "no mark"]
    assert split_sentences("今天很好。「真的。」是 end") == ["今天很好。", "「真的。」", "是 end"]
    assert split_sentences(" \n") == []
    assert lead("One. Two. Three.", 2) == "One.\nTwo."


def test_an_answer_is_what_the_nearest_sentence_adds():
    baseline = SpanBaseline([CONTEXT])
    for question, answer in (("Who was it built by?", "Gustave Eiffel"), ("What height?", "330 metres")):
        found = baseline.answer(question, CONTEXT)
        assert answer in found.text
        assert CONTEXT[found.start :].startswith(found.text)
    assert baseline.answer("What?", "").text == ""


def test_what_cannot_be_fitted_is_refused():
    for call, words in {
        lambda: MultinomialNaiveBayes(alpha=0): "positive alpha",
        lambda: MultinomialNaiveBayes().fit([], []): "received 0 and 0",
        lambda: BernoulliNaiveBayes().fit(["a"], []): "a label each",
        lambda: TranslationMemory(["a"], []): "a target each",
    }.items():
        with pytest.raises(TinylmError, match=words):
            call()
