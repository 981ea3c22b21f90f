"""Metrics: figures of whole sets, joined batches, intervals and comparisons, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import TinylmError
from tinylm.metrics import (
    answers,
    best_no_answer_threshold,
    bleu,
    calibration_error,
    chrf,
    classification,
    confusion_matrix,
    correlation,
    label_scores,
    multilabel,
    normalize_answer,
    retrieval,
    rouge,
    stemmed_words,
    unicode_words,
)

LABELS = ["ham", "spam"]


def test_figures_of_classes_by_hand():
    scores = classification(["a", "b", "b", "c"], ["a", "b", "c", "c"])
    assert scores.result()["accuracy"] == 0.75
    assert scores.result()["f1_macro"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert confusion_matrix(["a", "b", "b", "c"], ["a", "b", "c", "c"]).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert label_scores(["a", "b"], ["a", "a"], ["a", "b", "c"])["a"].recall == 0.5


def test_a_model_that_is_right_as_often_as_it_is_sure_is_calibrated():
    p = np.tile([0.75, 0.25], (4, 1))
    assert calibration_error(p, np.array([0, 0, 0, 1])) == 0
    assert calibration_error(p, np.array([1, 1, 1, 1])) == 0.75


@given(st.data())
def test_batches_that_are_joined_give_the_figures_of_all_at_once(data):
    count = data.draw(st.integers(2, 20))
    texts = st.lists(st.text("ab c", max_size=12), min_size=count, max_size=count)
    predictions, references = data.draw(texts), data.draw(texts)
    cut = data.draw(st.integers(1, count - 1))
    for metric in (bleu, chrf, answers, rouge):
        parts = [metric(predictions[part], references[part]) for part in (slice(cut), slice(cut, None))]
        assert (parts[0] + parts[1]).result() == metric(predictions, references).result()


def test_scores_of_two_kinds_are_not_joined():
    with pytest.raises(TinylmError, match="two kinds cannot be joined"):
        _ = bleu(["a"], ["a"]) + bleu(["a"], ["a"], smoothing="none")
    with pytest.raises(TinylmError, match="two kinds"):
        _ = classification(["a"], ["a"], ["a", "b"]) + classification(["a"], ["a"], ["a", "c"])


def test_intervals_hold_their_figure_are_seeded_and_narrow_with_the_count():
    right = np.random.default_rng(0).random(400) < 0.8
    scores = classification(right, np.ones(400, bool), [False, True])
    interval = scores.intervals(seed=1)["accuracy"]
    assert interval == scores.intervals(seed=1)["accuracy"]
    assert interval != scores.intervals(seed=2)["accuracy"]
    assert interval.low < interval.value == right.mean() < interval.high
    error = math.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    wide = classification(right[:50], np.ones(50, bool), [False, True]).intervals(seed=1)["accuracy"]
    assert wide.high - wide.low > interval.high - interval.low


def test_a_comparison_on_the_same_examples_sees_what_two_intervals_cannot():
    wanted = np.random.default_rng(0).integers(0, 2, 500)
    worse = np.where(np.arange(500) % 5 == 0, 1 - wanted, wanted)
    better = np.where(np.arange(500) % 100 == 0, wanted, worse)  # right in five more
    a, b = (classification(found, wanted) for found in (better, worse))
    found = a.compare(b, resamples=300)["accuracy"]
    assert found.difference == pytest.approx(0.01)
    assert found.p < 0.05
    assert a.compare(a, resamples=20)["accuracy"].p == 1
    intervals = [scores.intervals(resamples=100)["accuracy"] for scores in (a, b)]
    assert intervals[0].low < intervals[1].high
    with pytest.raises(TinylmError, match="the same examples"):
        a.compare(classification(["a"], ["a"]))


def test_a_figure_that_a_draw_leaves_undefined_does_not_spoil_the_interval():
    p = np.array([[0.2, 0.8], [0.9, 0.1], [0.6, 0.4]])
    found = classification(p, ["spam", "ham", "ham"], LABELS).intervals(resamples=50)["auc"]
    assert found.value == found.low == found.high == 1


def test_probabilities_and_labels_give_the_same_accuracy():
    p = np.array([[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]], np.float32)
    figures = classification(p, ["spam", "ham", "ham"], LABELS).result()
    assert figures.items() >= classification(["spam", "ham", "spam"], ["spam", "ham", "ham"], LABELS).result().items()
    assert figures["brier"] == pytest.approx((0.04 + 0.01 + 0.36) / 3)


def test_several_labels_are_counted_one_by_one_and_as_sets():
    figures = multilabel([{"a"}, {"b", "a"}, set()], [{"a"}, {"b"}, set()], ["a", "b"]).result()
    assert figures["exact_match"] == pytest.approx(2 / 3)
    assert figures["f1_micro"] == pytest.approx(4 / 5)


def test_translations_that_are_right_score_100_in_any_script():
    for text in ("The cat sat on the mat.", "今天天气很好。我们去公园。"):
        assert bleu([text], [text], tokenize="zh").result()["bleu"] == pytest.approx(100)
        assert chrf([text], [[text, "other"]], word_order=2).result() == {"chrf++": pytest.approx(100)}
    assert bleu([""], ["a b c d"]).result()["bleu"] == 0
    assert bleu(["a b"], ["a b"], tokenize="none", effective_order=True).result()["bleu"] == pytest.approx(100)


def test_summaries_of_other_scripts_need_their_own_words():
    with pytest.raises(TinylmError, match="words=unicode_words"):
        rouge(["床前明月光"], ["床前明月光"])
    assert rouge(["床前明月光"], ["床前看月光"], words=unicode_words).result()["rouge1"] == pytest.approx(0.8)
    assert unicode_words("Größe 3,5: 床前 Ünï_x") == ["größe", "3", "5", "床", "前", "ünï", "x"]
    assert stemmed_words("Relational running, the sky's 2nd") == ["relat", "run", "the", "sky", "s", "2nd"]


def test_answers_are_compared_as_squad_does():
    assert normalize_answer("  The  Normans' (10th) century; an A.") == "normans 10th century"
    figures = answers(["the 10th century", "Paris", ""], [["10th century"], ["London", "Paris, France"], []]).result()
    assert figures["exact_match"] == pytest.approx(200 / 3)
    assert figures["f1"] == pytest.approx(100 * (1 + 2 / 3 + 1) / 3)
    assert figures["no_answer_exact_match"] == 100
    assert figures["has_answer_f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert answers(["北京市"], ["北京"], characters=True).result()["f1"] == pytest.approx(80)
    assert answers(["北京市"], ["北京"]).result()["f1"] == 0


def test_the_threshold_that_leaves_most_right_is_found():
    scores = answers(["x", "y", "z"], ["x", "y", []])
    best, threshold = best_no_answer_threshold(scores, [0.1, 0.5, 0.9], [True, True, True])
    assert (best, threshold) == (100, 0.5)
    wrong = answers(["x", "z"], ["y", []])
    assert best_no_answer_threshold(wrong, [0.1, 0.2], [True, True]) == (50, 0.0)  # nothing is best answered


def test_a_search_that_finds_everything_alike_has_found_nothing():
    assert retrieval(np.ones((2, 10)), [0, 3], ks=(1, 10)).result() == {"mrr": 0.1, "recall@1": 0, "recall@10": 1}
    similarities = np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.8]])
    figures = retrieval(similarities, [{1, 2}, 0], ks=(1, 2)).result()
    assert figures == {"mrr": 0.75, "recall@1": 0.25, "recall@2": 1}


def test_correlation_of_ranks_sees_through_any_curve():
    x = np.arange(1.0, 9)
    assert correlation(np.exp(x), x).result()["spearman"] == pytest.approx(1)
    assert correlation(np.exp(x), x).result()["pearson"] < 0.9
    assert math.isnan(correlation(np.ones(3), x[:3]).result()["pearson"])


def test_what_cannot_be_measured_is_refused_by_name():
    p = np.array([[0.5, 0.2]])
    for call, words in {
        lambda: bleu(["a"], []): "bleu: 1 predictions for 0 references",
        lambda: bleu([], []).result(): "no examples",
        lambda: bleu(["a"], [[]]): "without references",
        lambda: bleu(["a"], ["b"], tokenize="13b"): "did you mean '13a'",
        lambda: bleu(["a"], ["b"], smoothing="flor"): "did you mean 'floor'",
        lambda: rouge(["a"], ["b"], kinds=["rouge12"]): "unknown kind 'rouge12'",
        lambda: classification(["a"], ["x"], ["a", "b"]): "the label 'x' is none of 'a', 'b'",
        lambda: classification(p, ["ham"], ["ham"]): "2 probabilities a row for 1 labels",
        lambda: classification(p, ["ham"], LABELS).result(): "sum to 0.7",
        lambda: classification(["a"], ["a"], ["a", "a"]): "there twice",
        lambda: retrieval(np.ones((1, 2)), [2]): "numbers of 2 documents",
        lambda: bleu(["a"], ["a"]).intervals(confidence=95): "0 < confidence < 1",
    }.items():
        with pytest.raises(TinylmError, match=words):
            call()
    with pytest.raises(TypeError, match="a single text"):
        rouge("a", ["a"])
    with pytest.raises(TypeError, match="a collection of labels"):
        multilabel(["ab"], [{"a"}], ["a", "b"])
    with pytest.raises(TypeError, match="need the labels"):
        classification(p, ["ham"])
