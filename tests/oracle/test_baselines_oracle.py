"""Baselines give the probabilities and vectors of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from tinylm.baselines import BernoulliNaiveBayes, MultinomialNaiveBayes, count_words
from tinylm.baselines.tfidf import TfIdf
from tinylm.data import builtin_corpus

pytestmark = pytest.mark.oracle


def texts_and_labels() -> tuple[list[str], list[str]]:
    """Paragraphs of CPython's help texts, by how they begin."""
    paragraphs = [part for part in next(builtin_corpus().documents()).split("\n\n") if len(part) > 40][:1500]
    return paragraphs, [("a-m", "n-z", "other")[min(ord(part.strip()[0].lower()) // 110, 2)] for part in paragraphs]


@pytest.mark.parametrize("alpha", [1.0, 0.1])
@pytest.mark.parametrize("kind", [MultinomialNaiveBayes, BernoulliNaiveBayes])
def test_naive_bayes_is_that_of_scikit_learn(kind, alpha):
    naive_bayes = pytest.importorskip("sklearn.naive_bayes")
    text = pytest.importorskip("sklearn.feature_extraction.text")
    texts, labels = texts_and_labels()
    ours = kind(alpha=alpha)
    ours.fit(texts[:1000], labels[:1000])
    counter = text.CountVectorizer()
    theirs = (
        naive_bayes.MultinomialNB(alpha=alpha)
        if kind is MultinomialNaiveBayes
        else naive_bayes.BernoulliNB(alpha=alpha)
    )
    theirs.fit(counter.fit_transform(texts[:1000]), labels[:1000])
    assert set(ours.vocabulary) == set(counter.vocabulary_)
    assert ours.labels == theirs.classes_.tolist()
    expected = theirs.predict_proba(counter.transform(texts[1000:]))
    assert np.allclose(ours.probabilities(texts[1000:]), expected, rtol=1e-9, atol=1e-12)


def test_vectors_are_those_of_scikit_learn():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    texts, _ = texts_and_labels()
    theirs = text.TfidfVectorizer()
    theirs.fit(texts[:300])
    ours = TfIdf(texts[:300], count_words)
    names = theirs.get_feature_names_out()
    for document in texts[290:330]:
        row = theirs.transform([document])
        expected = {names[at]: value for at, value in zip(row.indices, row.data, strict=True)}
        assert ours.vector(document) == pytest.approx(expected, rel=1e-12)
