"""How often each word occurs in a text, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .pipeline import PipelineTokenizer

__all__ = ["count_within", "count_words_of"]

# Characters in the distinct words that are kept: some 200 MB while the pairs are counted, more text than a
# vocabulary of this kind needs.
MAX_LETTERS = 1 << 23


def count_within(words: Iterable[list[str]], max_letters: int = MAX_LETTERS) -> Counter[str]:
    """How often each word occurs in all the lists.

    When the distinct words have more than max_letters letters in all, the rarest so far are forgotten until half of
    that is free.
    """
    counts: Counter[str] = Counter()
    letters = 0
    for some in words:
        letters += sum(map(len, set(some).difference(counts)))
        counts.update(some)
        if letters > max_letters:
            letters = _forget_rarest(counts, max_letters // 2)
    return counts


def count_words_of(chunks: Iterable[str], tokenizer: PipelineTokenizer) -> Counter[str]:
    """How often each word that a tokenizer gives its model occurs in a text that arrives in pieces."""
    return count_within(map(tokenizer.words, tokenizer.safe_pieces(chunks)))


def _forget_rarest(counts: Counter[str], max_letters: int) -> int:
    """Drop words until max_letters are left or fewer; returns how many."""
    least = 1
    while (letters := sum(map(len, counts))) > max_letters:
        for word in [word for word, count in counts.items() if count <= least]:
            del counts[word]
        least *= 2
    return letters
