"""What a model has to beat: simple methods of the field, each fitted in seconds."""

from .lead import lead, split_sentences
from .naive_bayes import BernoulliNaiveBayes, MultinomialNaiveBayes, count_words
from .retrieval import TfIdfSearch, TranslationMemory, character_grams
from .spans import SpanBaseline

__all__ = [
    "BernoulliNaiveBayes",
    "MultinomialNaiveBayes",
    "SpanBaseline",
    "TfIdfSearch",
    "TranslationMemory",
    "character_grams",
    "count_words",
    "lead",
    "split_sentences",
]
