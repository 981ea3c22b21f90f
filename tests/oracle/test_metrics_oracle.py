"""Every metric gives the numbers of the package that the field quotes."""

from __future__ import annotations

import math
import random
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm import metrics

pytestmark = pytest.mark.oracle

TEXT = "the cat sat on a mat , and then 3.5 dogs ( big ones ) ran away . It's 1,000 -- no joke ! an & quite"
ENGLISH = TEXT.split()
GERMAN = ["Über", "5-jährige", "Straßen,", "„so“", "€5", "...", "-", "a.b", "1.", "2,5%", "&quot;x&quot;", "&amp;"]
CHINESE = list("我们今天去公园玩,天气很好。「是的」3.5 OK!々〇①→\uff21 ")


def sentences(words: list[str], count: int, seed: int, joint: str = " ") -> list[str]:
    draw = random.Random(seed)
    return [joint.join(draw.choices(words, k=draw.randrange(0, 25))) for _ in range(count)]


def close_to(text: str, words: list[str], draw: random.Random, joint: str = " ") -> str:
    """A translation that has much of its reference."""
    parts = text.split(joint) if joint else list(text)
    return joint.join(draw.choice(words) if draw.random() < 0.3 else part for part in parts if draw.random() < 0.9)


def translations(words: list[str], count: int, seed: int, joint: str = " ") -> tuple[list[str], list[list[str]]]:
    draw = random.Random(seed)
    references = [sentences(words, 2, 1000 * seed + at, joint) for at in range(count)]
    return [close_to(several[0], words, draw, joint) for several in references], references


WORDS = {"english": (ENGLISH, " "), "german": (ENGLISH + GERMAN, " "), "chinese": (CHINESE, "")}


# sacrebleu -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.parametrize("tokenize", ["13a", "zh", "intl", "char", "none"])
def test_bleu_is_that_of_sacrebleu(language, tokenize):
    sacrebleu = pytest.importorskip("sacrebleu")
    words, joint = WORDS[language]
    predictions, references = translations(words, 60, 1, joint)
    for options in ({}, {"lowercase": True}, {"effective_order": True}):
        theirs = sacrebleu.BLEU(tokenize=tokenize, **options).corpus_score(
            predictions, list(zip(*references, strict=True))
        )
        ours = metrics.bleu(predictions, references, tokenize=tokenize, **options).result()
        assert ours["bleu"] == pytest.approx(theirs.score, rel=1e-14)
        assert ours["brevity_penalty"] == theirs.bp


@pytest.mark.parametrize("smoothing", ["exp", "floor", "add-k", "none"])
def test_bleu_of_single_sentences_is_smoothed_as_sacrebleu_does(smoothing):
    sacrebleu = pytest.importorskip("sacrebleu")
    predictions, references = translations(ENGLISH, 120, 2)
    for effective_order in (False, True):
        metric = sacrebleu.BLEU(smooth_method=smoothing, effective_order=effective_order)
        for prediction, several in zip(predictions, references, strict=True):
            ours = metrics.bleu([prediction], [several], smoothing=smoothing, effective_order=effective_order).result()
            theirs = metric.corpus_score([prediction], [[text] for text in several])
            assert ours["bleu"] == pytest.approx(theirs.score, rel=1e-14), (prediction, several)


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.sampled_from(["13a", "zh", "intl", "char"]))
def test_the_tokens_of_any_text_are_those_of_sacrebleu(text, name):
    bleu = pytest.importorskip("sacrebleu.metrics.bleu")
    from tinylm.metrics.bleu_tokens import tokenizer

    assert tokenizer(name)(text) == bleu._get_tokenizer(name)()(text).split()


@pytest.mark.parametrize("code", range(0, 0x30000, 0x4000))
def test_every_character_is_split_as_sacrebleu_splits_it(code):
    bleu = pytest.importorskip("sacrebleu.metrics.bleu")
    from tinylm.metrics.bleu_tokens import tokenizer

    characters = [chr(point) for point in range(code, code + 0x4000) if not 0xD800 <= point < 0xE000]
    for name in ("13a", "zh", "intl"):
        split, theirs = tokenizer(name), bleu._get_tokenizer(name)()
        assert [c for c in characters if split(f"a{c}b1{c}2") != theirs(f"a{c}b1{c}2").split()] == []


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.parametrize("word_order", [0, 2])
def test_chrf_is_that_of_sacrebleu(language, word_order):
    sacrebleu = pytest.importorskip("sacrebleu")
    words, joint = WORDS[language]
    predictions, references = translations(words, 60, 3, joint)
    for options in ({}, {"lowercase": True}, {"beta": 3}, {"char_order": 4}):
        theirs = sacrebleu.CHRF(word_order=word_order, **options)
        ours = metrics.chrf(predictions, references, word_order=word_order, **options)
        (value,) = ours.result().values()
        assert value == theirs.corpus_score(predictions, list(zip(*references, strict=True))).score
        for row in range(0, 60, 7):
            (value,) = ours.figures(ours.rows[row : row + 1]).values()
            assert value == theirs.sentence_score(predictions[row], references[row]).score


def test_the_comparison_of_two_models_is_as_sure_as_sacrebleus():
    significance = pytest.importorskip("sacrebleu.significance")
    sacrebleu = pytest.importorskip("sacrebleu")
    predictions, references = translations(ENGLISH, 200, 4)
    draw = random.Random(5)
    others = [close_to(text, ENGLISH, draw) if draw.random() < 0.2 else text for text in predictions]
    paired = significance.PairedTest(
        [("a", predictions), ("b", others)], {"BLEU": sacrebleu.BLEU(references=list(zip(*references, strict=True)))},
        references=None, test_type="bs", n_samples=2000,
    )  # fmt: skip
    theirs = paired()[1]["BLEU"][1].p_value
    ours = metrics.bleu(others, references).compare(metrics.bleu(predictions, references), resamples=2000)["bleu"]
    assert ours.p == pytest.approx(theirs, abs=4 * math.sqrt(max(theirs, 0.001) / 2000))


# rouge-score ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stemmed", [False, True])
def test_rouge_is_that_of_rouge_score(stemmed):
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    words = [*ENGLISH, "running", "runs", "easily", "happiness", "happy\n", "flies", "dying\nrelational", "Ünïcode\n\n"]
    predictions, references = translations(words, 150, 6)
    kinds = ["rouge1", "rouge2", "rouge3", "rougeL", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(kinds, use_stemmer=stemmed)
    split = metrics.stemmed_words if stemmed else metrics.english_words
    ours = metrics.rouge(predictions, references, words=split, kinds=kinds)
    for row, prediction, several in zip(ours.rows, predictions, references, strict=True):
        theirs = scorer.score_multi(several, prediction)
        assert row.tolist() == [value for kind in kinds for value in theirs[kind]], (prediction, several)


def test_the_stem_of_every_word_is_that_of_nltk(summary):
    porter = pytest.importorskip("nltk.stem.porter").PorterStemmer()
    from tinylm.metrics.stemming import stem

    words = _many_words()
    assert len(words) > 20_000
    assert [word for word in words if stem(word) != porter.stem(word)] == []


SUFFIXES = """ational tional enci izer bli alli entli eli ization ator fulness aliti biliti fulli logi icate ative ness
ful al ance er able ement ment ion s es ies sses eed ed ing ied y e ll at bl iz"""


@settings(max_examples=1000)
@given(
    st.text(st.sampled_from(string.ascii_lowercase + "yyy09"), max_size=6),
    st.lists(st.sampled_from(SUFFIXES.split()), max_size=3),
)
def test_the_stem_of_any_word_with_suffixes_is_that_of_nltk(beginning, suffixes):
    porter = pytest.importorskip("nltk.stem.porter").PorterStemmer()
    from tinylm.metrics.stemming import stem

    word = beginning + "".join(suffixes)
    assert stem(word) == porter.stem(word)


def _many_words() -> list[str]:
    """Of CPython's help texts and standard library: names and prose."""
    import re
    import sysconfig
    from pathlib import Path

    from tinylm.data import builtin_corpus

    texts = [*builtin_corpus().documents()]
    texts += [path.read_text("utf-8", "replace") for path in Path(sysconfig.get_path("stdlib")).glob("*.py")]
    texts += [path.read_text("utf-8", "replace") for path in Path(sysconfig.get_path("stdlib")).glob("test/*.py")]
    return sorted({word for text in texts for word in re.findall(r"[a-z]+", text.lower())})


# scikit-learn and scipy ----------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(2, 5), st.integers(1, 60), st.integers(0, 2**32))
def test_the_figures_of_classes_are_those_of_scikit_learn(classes, count, seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(seed)
    labels = [f"l{number}" for number in range(classes)]
    p = draw.dirichlet(np.full(classes, 0.5), count)
    wanted = draw.integers(0, classes, count)
    names, predicted = [labels[at] for at in wanted], [labels[at] for at in p.argmax(axis=1)]
    ours = metrics.classification(p, names, labels).result()
    assert metrics.classification(predicted, names, labels).result().items() <= ours.items()
    assert ours["accuracy"] == sklearn.accuracy_score(names, predicted)
    for average in ("macro", "weighted"):
        theirs = sklearn.precision_recall_fscore_support(names, predicted, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
            assert ours[f"{name}_{average}"] == pytest.approx(value, rel=1e-14)
    numbers = range(classes)
    assert ours["log_loss"] == pytest.approx(sklearn.log_loss(wanted, p, labels=numbers), rel=1e-13)
    if classes > 2:
        assert ours["brier"] == pytest.approx(sklearn.brier_score_loss(wanted, p, labels=numbers), rel=1e-13)
    else:
        assert ours["brier"] == pytest.approx(sklearn.brier_score_loss(wanted, p[:, 1]), rel=1e-13)
        if len(set(names)) == 2:
            assert ours["auc"] == pytest.approx(sklearn.roc_auc_score(wanted, p[:, 1]), rel=1e-13)
    matrix = metrics.confusion_matrix(predicted, names, labels)
    assert (matrix == sklearn.confusion_matrix(names, predicted, labels=labels)).all()
    report = sklearn.classification_report(names, predicted, labels=labels, output_dict=True, zero_division=0)
    for label, scores in metrics.label_scores(predicted, names, labels).items():
        assert scores == metrics.LabelScores(*(pytest.approx(value) for value in report[label].values()))


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32))
def test_the_figures_of_several_labels_are_those_of_scikit_learn(classes, count, seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(seed)
    labels = list("abcde")[:classes]
    p, wanted = draw.random((count, classes)), draw.random((count, classes)) < 0.4
    sets = [{label for label, there in zip(labels, row, strict=True) if there} for row in wanted]
    ours = metrics.multilabel(p, sets, labels).result()
    assert ours["exact_match"] == pytest.approx((wanted == (p > 0.5)).all(axis=1).mean())
    assert ours["hamming_loss"] == pytest.approx(sklearn.hamming_loss(wanted, p > 0.5))
    kinds = ["macro", "weighted", "micro"] + ["samples"] * (classes > 1)
    for average in kinds:
        if classes > 1:
            theirs = sklearn.precision_recall_fscore_support(wanted, p > 0.5, average=average, zero_division=0)
        else:
            theirs = sklearn.precision_recall_fscore_support(
                wanted[:, 0], p[:, 0] > 0.5, labels=[1], average=average, zero_division=0
            )
        for name, value in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
            if f"{name}_{average}" in ours:
                assert ours[f"{name}_{average}"] == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_calibration_error_is_that_of_torchmetrics(classes):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    draw = np.random.default_rng(7)
    p, wanted = draw.dirichlet(np.ones(classes), 500), draw.integers(0, classes, 500)
    theirs = functional.multiclass_calibration_error(
        torch.tensor(p), torch.tensor(wanted), num_classes=classes, n_bins=15, norm="l1"
    )
    assert metrics.calibration_error(p, wanted) == pytest.approx(float(theirs), rel=1e-6)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-9, 9)), min_size=2, max_size=40))
def test_correlations_are_those_of_scipy(pairs):
    stats = pytest.importorskip("scipy.stats")
    x, y = np.array(pairs, float).T
    ours = metrics.correlation(x, y).result()
    if np.ptp(x) == 0 or np.ptp(y) < 1e-6:
        assert math.isnan(ours["spearman"]) or np.ptp(y) > 0
        return
    assert ours["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert ours["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_bootstrap_intervals_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    wanted = np.random.default_rng(8).random(300) < 0.7
    ours = metrics.classification(np.ones(300, bool), wanted).intervals(resamples=4000)["accuracy"]
    theirs = stats.bootstrap((wanted,), np.mean, n_resamples=4000, method="percentile", rng=9).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


# Answers -------------------------------------------------------------------------------------------------


def test_the_figures_of_answers_are_those_of_squads_script():
    functional = pytest.importorskip("torchmetrics.functional.text")
    words = ["The", "the", "a", "Norman", "Normans", "10th", "century", "France.", "an", "«", "it's", "", "(1,000)"]
    predictions, references = translations(words, 300, 10)
    references = [[text or "x" for text in several] for several in references]
    ours = metrics.answers(predictions, references)
    for at, (prediction, several) in enumerate(zip(predictions, references, strict=True)):
        if not all(map(metrics.normalize_answer, [prediction, *several])):
            continue  # where a text has no words left, SQuAD 2.0's script differs from the first one's
        theirs = functional.squad(
            [{"prediction_text": prediction, "id": "1"}],
            [{"answers": {"text": several, "answer_start": [0] * len(several)}, "id": "1"}],
        )
        row = ours.figures(ours.rows[at : at + 1])
        assert row["exact_match"] == float(theirs["exact_match"])
        assert row["f1"] == pytest.approx(float(theirs["f1"]), rel=1e-6)
