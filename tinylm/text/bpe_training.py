"""Learning the merges of a byte-level BPE from text.

Source: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1, with the counts of pairs kept up to date.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Iterable

import numpy as np

from ..errors import TinylmError
from .base import check_characters
from .bpe import END_OF_TEXT, AddedToken, BPETokenizer
from .hugging_face import BYTE_CHARACTERS
from .split import Splitter

__all__ = ["count_words", "train_bpe"]

Pair = tuple[int, int]

# A pair that occurs once says nothing about other texts.
LEAST_COUNT = 2
# Characters in the distinct words that are kept: some 200 MB while the pairs are counted, more text than a
# vocabulary of this kind needs.
MAX_LETTERS = 1 << 23


def train_bpe(chunks: Iterable[str], vocab_size: int) -> BPETokenizer:
    """A tokenizer of at most vocab_size tokens: the 256 bytes, what the merges make, and `<|endoftext|>`.

    Each merge joins the pair of neighbours that is then the most frequent, counted within words; of equally frequent
    ones the pair with the smaller left id, then the smaller right id. The ids of the bytes are in the order of
    `BYTE_CHARACTERS`' code points, as in GPT-2. It ends early, with fewer tokens, where no pair occurs twice. The
    result depends on the text alone, not on its pieces. Raises TinylmError for a size that leaves no merge.
    """
    smallest = 256 + 2
    if vocab_size < smallest:
        raise TinylmError(
            f"vocab_size is {vocab_size}, expected at least {smallest}: the 256 bytes, a merge and {END_OF_TEXT}"
        )
    order = sorted(range(256), key=BYTE_CHARACTERS.__getitem__)
    tokens = [bytes([byte]) for byte in order]
    ids = {token: id for id, token in enumerate(tokens)}
    words = _LinkedWords(count_words(chunks), np.argsort(order))
    merges: list[Pair] = []
    while len(tokens) < vocab_size - 1 and (pair := words.most_frequent()) is not None:
        token = tokens[pair[0]] + tokens[pair[1]]
        # Two ways can lead to the same bytes: "a" + "bc" after "ab" + "c".
        id = ids.setdefault(token, len(tokens))
        if id == len(tokens):
            tokens.append(token)
        merges.append(pair)
        words.merge(pair, id)
    return BPETokenizer([*tokens, END_OF_TEXT.encode()], merges, added=[AddedToken(END_OF_TEXT, len(tokens))])


def count_words(chunks: Iterable[str], *, max_letters: int = MAX_LETTERS) -> Counter[str]:
    """How often each word occurs in a text, in bounded memory.

    When the distinct words have more than max_letters letters in all, the rarest so far are forgotten until half of
    that is free. `<|endoftext|>` is no word.
    """
    counts: Counter[str] = Counter()
    letters = 0
    for words in Splitter([END_OF_TEXT]).stream(map(_checked, chunks)):
        letters += sum(map(len, set(words).difference(counts)))
        counts.update(words)
        if letters > max_letters:
            letters = _forget_rarest(counts, max_letters // 2)
    del counts[END_OF_TEXT]
    return counts


def _checked(text: str) -> str:
    check_characters(text)
    return text


def _forget_rarest(counts: Counter[str], max_letters: int) -> int:
    """Drop words until max_letters are left or fewer; returns how many."""
    least = 1
    while (letters := sum(map(len, counts))) > max_letters:
        for word in [word for word, count in counts.items() if count <= least]:
            del counts[word]
        least *= 2
    return letters


class _LinkedWords:
    """All distinct words end to end, as a linked list of ids, and the places and counts of their pairs.

    A merge visits only the places of its pair, so that a long word costs no more than many short ones.
    """

    def __init__(self, counts: Counter[str], byte_ids: np.ndarray):
        raw = [word.encode() for word in counts]
        lengths = np.array([len(word) + 1 for word in raw], np.int64)
        ids = byte_ids[np.frombuffer(b"\0".join([*raw, b""]), np.uint8)].astype(np.int32)
        ids[np.cumsum(lengths) - 1] = -1  # the end of a word: it merges with nothing
        weights = np.repeat(np.fromiter(counts.values(), np.int64, len(counts)), lengths)
        self._counts, self._places = _count_pairs(ids, weights)
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)
        self._ids, self._weights = array("i", ids.tobytes()), array("q", weights.tobytes())
        self._after, self._before = array("i", range(1, len(ids) + 1)), array("i", range(-1, len(ids) - 1))

    def most_frequent(self) -> Pair | None:
        """The pair to merge next, None where none is frequent enough.

        The heap keeps a count that has fallen since: it is put right when it comes up.
        """
        while self._heap:
            negative, pair = heapq.heappop(self._heap)
            count = self._counts.get(pair, 0)
            if count < LEAST_COUNT:
                continue
            if count == -negative:
                return pair
            heapq.heappush(self._heap, (-count, pair))
        return None

    def merge(self, pair: Pair, product: int) -> None:
        """Put the product in the place of the pair wherever it stands, from left to right in each word."""
        ids, after, before, weights = self._ids, self._after, self._before, self._weights
        changes: dict[Pair, int] = {}
        for place in sorted(self._places.pop(pair)):
            second = after[place]
            if (ids[place], ids[second]) != pair:  # an overlapping pair was merged before
                continue
            weight, previous, following = weights[place], before[place], after[second]
            if (left := ids[previous]) >= 0:
                self._replace((left, pair[0]), (left, product), previous, weight, changes)
            if (right := ids[following]) >= 0:
                self._replace((pair[1], right), (product, right), place, weight, changes)
            ids[place], ids[second] = product, -2
            after[place], before[following] = following, place
        changes.pop(pair, None)
        del self._counts[pair]
        for changed, change in changes.items():
            count = self._counts[changed] = self._counts.get(changed, 0) + change
            if change > 0:
                heapq.heappush(self._heap, (-count, changed))

    def _replace(self, old: Pair, new: Pair, place: int, weight: int, changes: dict[Pair, int]) -> None:
        changes[old] = changes.get(old, 0) - weight
        changes[new] = changes.get(new, 0) + weight
        if (places := self._places.get(new)) is None:
            self._places[new] = array("i", (place,))
        else:
            places.append(place)


def _count_pairs(ids: np.ndarray, weights: np.ndarray) -> tuple[dict[Pair, int], dict[Pair, array[int]]]:
    """The weight and the places of each pair of neighbours within words."""
    places = np.flatnonzero((ids[:-1] >= 0) & (ids[1:] >= 0)).astype(np.int32)
    keys = ids[places].astype(np.int64) << 32 | ids[places + 1]
    order = np.argsort(keys, kind="stable")
    keys, places = keys[order], places[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    counts, where = {}, {}
    sums = np.add.reduceat(weights[places], starts) if len(starts) else starts
    for key, count, start, end in zip(
        keys[starts].tolist(), sums.tolist(), starts, [*starts[1:], len(keys)], strict=False
    ):
        pair = (key >> 32, key & 0xFFFFFFFF)
        counts[pair], where[pair] = count, array("i", places[start:end].tobytes())
    return counts, where
