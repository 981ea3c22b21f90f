"""Learning the merges of a byte-level BPE from text.

Source: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1, with the counts of pairs kept up to date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from ..errors import TinylmError
from .base import check_characters
from .bpe import END_OF_TEXT, AddedToken, BPETokenizer
from .hugging_face import BYTE_CHARACTERS
from .linked_words import LinkedWords
from .split import Splitter
from .word_counts import MAX_LETTERS, count_within

__all__ = ["count_words", "train_bpe"]


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
    words = LinkedWords(*_end_to_end(count_words(chunks), np.argsort(order)))
    merges: list[tuple[int, int]] = []
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
    """How often each word occurs in a text, in bounded memory, as `count_within` says. `<|endoftext|>` is no word."""
    counts = count_within(Splitter([END_OF_TEXT]).stream(map(_checked, chunks)), max_letters)
    del counts[END_OF_TEXT]
    return counts


def _checked(text: str) -> str:
    check_characters(text)
    return text


def _end_to_end(counts: Counter[str], byte_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All words in the ids of their bytes, -1 after each; how often each place occurs in the text."""
    raw = [word.encode() for word in counts]
    lengths = np.array([len(word) + 1 for word in raw], np.int64)
    ids = byte_ids[np.frombuffer(b"\0".join([*raw, b""]), np.uint8)].astype(np.int32)
    ids[np.cumsum(lengths) - 1] = -1
    return ids, np.repeat(np.fromiter(counts.values(), np.int64, len(counts)), lengths)
