"""Learning the tokens of a WordPiece model from text.

Source: the tokens are those that merging the most frequent pairs gives (Sennrich et al. 2016, arXiv:1508.07909), as in
Hugging Face's `tokenizers`; Schuster and Nakajima 2012 choose pairs by likelihood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from ..errors import TinylmError
from .linked_words import LinkedWords
from .pipeline import PipelineTokenizer
from .vocabulary_files import BERT_SPECIAL, bert_fields
from .word_counts import count_words_of

__all__ = ["train_wordpiece"]

PREFIX = "##"  # of tokens that go on with a word
# Characters that become tokens, the most frequent first; words with others are unknown.
MAX_ALPHABET = 1000


def train_wordpiece(chunks: Iterable[str], vocab_size: int, *, lowercase: bool = True) -> PipelineTokenizer:
    """A BERT's tokenizer of at most vocab_size tokens: its special ones, characters, and what merges make of them.

    lowercase: without capitals and accents. White space is no token: `decode` puts a space between words. Raises
    TinylmError for a size that leaves no merge.
    """
    words = count_words_of(chunks, PipelineTokenizer(bert_fields(_numbered(BERT_SPECIAL), lowercase=lowercase)))
    tokens = [*BERT_SPECIAL, *_alphabet(words)]
    if vocab_size <= len(tokens):
        raise TinylmError(
            f"vocab_size is {vocab_size}, expected more than {len(tokens)}: the special tokens and the characters of "
            "the text, at the start of words and within"
        )
    ids = _numbered(tokens)
    linked = LinkedWords(*_spelt(words, ids))
    while len(tokens) < vocab_size and (pair := linked.most_frequent()) is not None:
        token = tokens[pair[0]] + tokens[pair[1]].removeprefix(PREFIX)
        id = ids.setdefault(token, len(tokens))
        if id == len(tokens):
            tokens.append(token)
        linked.merge(pair, id)
    return PipelineTokenizer(bert_fields(ids, lowercase=lowercase))


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: id for id, token in enumerate(tokens)}


def _alphabet(words: Counter[str]) -> list[str]:
    """The most frequent characters, as they are at the start of words and as they are within."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    frequent = {character for character, _ in counts.most_common(MAX_ALPHABET)}
    first = {word[0] for word in words} & frequent
    within = {character for word in words for character in word[1:]} & frequent
    return [*sorted(first), *(PREFIX + character for character in sorted(within))]


def _spelt(words: Counter[str], ids: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """All words end to end in the ids of their characters, -1 after each; how often each place occurs in the text."""
    spelt: list[int] = []
    weights: list[int] = []
    for word, count in words.items():
        characters = [ids.get(word[0]), *(ids.get(PREFIX + character) for character in word[1:])]
        if None not in characters:
            spelt += [*characters, -1]  # type: ignore[list-item]
            weights += [count] * (len(characters) + 1)
    return np.array(spelt, np.int32), np.array(weights, np.int64)
