"""Figures of merit, in NumPy alone: one function a family, each of predictions and references, each giving `Scores`."""

from .answers import answers, best_no_answer_threshold, normalize_answer
from .bleu import bleu
from .chrf import chrf
from .classification import LabelScores, classification, confusion_matrix, label_scores, multilabel
from .direction import higher_is_better
from .language import LanguageMetrics, language
from .probabilities import area_under_curve, brier_score, calibration_error, log_loss
from .rouge import english_words, rouge, stemmed_words, unicode_words
from .scores import Comparison, Figures, Interval, Scores
from .similarity import correlation, retrieval

__all__ = [
    "Comparison",
    "Figures",
    "Interval",
    "LabelScores",
    "LanguageMetrics",
    "Scores",
    "answers",
    "area_under_curve",
    "best_no_answer_threshold",
    "bleu",
    "brier_score",
    "calibration_error",
    "chrf",
    "classification",
    "confusion_matrix",
    "correlation",
    "english_words",
    "higher_is_better",
    "label_scores",
    "language",
    "log_loss",
    "multilabel",
    "normalize_answer",
    "retrieval",
    "rouge",
    "stemmed_words",
    "unicode_words",
]
