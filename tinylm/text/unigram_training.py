"""Learning the tokens of a Unigram model from text.

Source: Kudo 2018, arXiv:1804.10959, section 3.2; the start from frequent substrings, and the shrinking by the loss of
what a token is replaced by: Kudo and Richardson 2018, arXiv:1808.06226.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import TinylmError
from .bpe import END_OF_TEXT
from .lattice import Lattice
from .pipeline import PipelineTokenizer
from .pipeline.compose import MARK, added_token, compose
from .word_counts import count_words_of

__all__ = ["train_unigram"]

LONGEST_TOKEN = 16
LONGEST_WORD = 64  # longer ones are cut after so many characters, to count in them
SEEDS = 10  # times as many tokens as are wanted to begin with
KEPT = 0.75  # of the tokens, each time that they are made fewer
ROUNDS = 2  # of expectation and maximization in between
LEAST_COUNT = 0.5  # expected occurrences below which a token is dropped at once
UNKNOWN = "<unk>"

# After a space: letters, digits, or other characters, with at most one space before them; line breaks by themselves.
WORDS = rf"[\r\n]+|{MARK}?\p{{N}}+|{MARK}?[^\s{MARK}\p{{L}}\p{{M}}\p{{N}}]+"


def train_unigram(chunks: Iterable[str], vocab_size: int) -> PipelineTokenizer:
    """A tokenizer of at most vocab_size tokens that give the text the largest probability, each token by itself.

    Among them are the unknown token, the 256 bytes, for characters that are rare or not in the text, `<|endoftext|>`,
    and the characters that make up all but a ten-thousandth of the text. `decode` gives back any text but the sign
    U+2581, which stands for a space. Raises TinylmError for a size that leaves no room for words.
    """
    empty = PipelineTokenizer(_fields([(UNKNOWN, 0.0)]))
    words = _cut_long(count_words_of(chunks, empty))
    characters = _alphabet(words)
    room = vocab_size - 2 - 256
    if room <= len(characters):
        raise TinylmError(
            f"vocab_size is {vocab_size}, expected more than {2 + 256 + len(characters)}: {UNKNOWN}, {END_OF_TEXT}, "
            f"256 bytes and the {len(characters)} characters of the text"
        )
    tokens, scores = _learn(words, characters, room)
    least = min(scores)
    entries = [(UNKNOWN, 0.0), *((f"<0x{byte:02X}>", least - 1) for byte in range(256))]
    entries += sorted(zip(tokens, scores, strict=True), key=lambda entry: -entry[1])
    return PipelineTokenizer(_fields(entries))


def _fields(entries: list[tuple[str, float]]) -> dict[str, Any]:
    """tokenizer.json of a Unigram with these tokens."""
    at_spaces = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "never", "split": True}
    cut = {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Isolated", "invert": False}
    spaces = {"type": "Replace", "pattern": {"String": MARK}, "content": " "}
    return compose(
        {"type": "Unigram", "unk_id": 0, "vocab": [list(entry) for entry in entries], "byte_fallback": True},
        added_tokens=[
            added_token(0, UNKNOWN, special=True),
            added_token(len(entries), END_OF_TEXT, special=True),
        ],
        pre_tokenizer={"type": "Sequence", "pretokenizers": [at_spaces, cut]},
        decoder={"type": "Sequence", "decoders": [spaces, {"type": "ByteFallback"}, {"type": "Fuse"}]},
    )


def _cut_long(counts: Counter[str]) -> Counter[str]:
    cut: Counter[str] = Counter()
    for word, count in counts.items():
        for start in range(0, len(word), LONGEST_WORD):
            cut[word[start : start + LONGEST_WORD]] += count
    return cut


def _alphabet(words: Counter[str]) -> list[str]:
    """The most frequent characters, as many as it takes for all but a ten-thousandth of the text."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    wanted = (1 - 1e-4) * counts.total()
    chosen, covered = [], 0
    for character, count in counts.most_common():
        if covered >= wanted:
            break
        chosen.append(character)
        covered += count
    return chosen


def _learn(words: Counter[str], characters: list[str], size: int) -> tuple[list[str], list[float]]:
    """The tokens and their log-probabilities."""
    tokens, counts = _seeds(words, characters, SEEDS * size)
    required = np.array([len(token) == 1 for token in tokens])
    weights = np.array(list(words.values()), np.float64)
    lattice = Lattice(list(words), tokens, longest=LONGEST_TOKEN)
    inner = Lattice(tokens, tokens, longest=LONGEST_TOKEN, proper=True)  # how each token could be made of others
    scores = _log_probabilities(counts)
    while True:
        for _ in range(ROUNDS):
            counts = lattice.expected_counts(scores, weights)
            counts[required] = np.maximum(counts[required], LEAST_COUNT)
            scores = _log_probabilities(np.where(counts < LEAST_COUNT, 0, counts))
        alive = np.isfinite(scores)
        if alive.sum() <= size:
            break
        keep = max(size, int(KEPT * alive.sum()))
        loss = np.full(len(tokens), -np.inf)
        loss[alive] = counts[alive] * (scores[alive] - inner.best(scores)[alive])
        loss[required] = np.inf
        scores[np.argsort(-loss, kind="stable")[keep:]] = -np.inf
    chosen = np.flatnonzero(np.isfinite(scores))
    return [tokens[i] for i in chosen], scores[chosen].tolist()


def _seeds(words: Counter[str], characters: list[str], size: int) -> tuple[list[str], np.ndarray]:
    """The characters, and the substrings of words that cover most of the text; and how often each occurs."""
    counts: Counter[str] = Counter()
    allowed = set(characters)
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + LONGEST_TOKEN) + 1):
                counts[word[start:end]] += count
    several = [
        (token, count) for token, count in counts.items() if len(token) > 1 < count and allowed.issuperset(token)
    ]
    several.sort(key=lambda entry: (-entry[1] * len(entry[0]), entry[0]))
    chosen = [*((character, counts[character]) for character in characters), *several[:size]]
    return [token for token, _ in chosen], np.array([count for _, count in chosen], np.float64)


def _log_probabilities(counts: np.ndarray) -> np.ndarray:
    """Sparse estimates of a Dirichlet posterior: exp(digamma(count)) takes a little from what is rare."""
    with np.errstate(divide="ignore"):
        return np.where(counts > 0, _digamma(np.maximum(counts, 1e-9)) - math.log(counts.sum()), -np.inf)


def _digamma(x: np.ndarray) -> np.ndarray:
    """The derivative of log gamma, by its asymptotic series from 6 on and the recurrence below."""
    result = np.zeros_like(x)
    x = x.copy()
    for _ in range(6):
        small = x < 6
        result[small] -= 1 / x[small]
        x[small] += 1
    squared = 1 / (x * x)
    return result + np.log(x) - 0.5 / x - squared * (1 / 12 - squared * (1 / 120 - squared / 252))
