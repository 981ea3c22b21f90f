"""What a corpus is made of: counts, lengths, repeats and scripts, in one pass and bounded memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .characters import CharacterCounts
from .corpora import Corpus
from .omissions import Omissions
from .repeats import DIGEST_BYTES, Repeats
from .survey import Progress, reporter
from .tokens import TokenSplit

__all__ = ["CorpusStatistics", "LengthDistribution", "TokenStatistics", "measure_corpus", "measure_tokens"]

# Source: Unicode Standard Annex 31, table 5, "recommended scripts"; characters of all others are counted together.
SCRIPTS = (
    "Arabic", "Armenian", "Bengali", "Bopomofo", "Cyrillic", "Devanagari", "Ethiopic", "Georgian", "Greek", "Gujarati",
    "Gurmukhi", "Han", "Hangul", "Hebrew", "Hiragana", "Kannada", "Katakana", "Khmer", "Lao", "Latin", "Malayalam",
    "Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu", "Thaana", "Thai", "Tibetan",
)  # fmt: skip


@dataclass(frozen=True)
class LengthDistribution:
    """The lengths of documents: so many percent of them are at most this long."""

    min: int
    median: int
    p90: int
    p99: int
    max: int

    @classmethod
    def of(cls, lengths: np.ndarray) -> LengthDistribution:
        """lengths: (D,), at least one. Each figure is one of them: the smallest that so many do not exceed."""
        return cls(*np.quantile(lengths, [0, 0.5, 0.9, 0.99, 1], method="inverted_cdf").astype(int).tolist())


@dataclass(frozen=True)
class CorpusStatistics:
    """A corpus in figures.

    characters: code points; bytes: of UTF-8; lines: by their ends, or the end of the document; lengths: of documents,
    in characters; repeats: documents that are exactly an earlier one; scripts: characters by Unicode script, the most
    frequent first, "Common" being those of all scripts, such as spaces, digits and punctuation; control_characters: but
    for tab, newline and return; replacement_characters: U+FFFD, what is left of bytes that were not text; omissions:
    what was left out, in words.
    """

    documents: int
    characters: int
    distinct_characters: int
    bytes: int
    lines: int
    lengths: LengthDistribution
    repeats: int
    scripts: dict[str, int]
    control_characters: int
    replacement_characters: int
    omissions: tuple[str, ...]


@dataclass(frozen=True)
class TokenStatistics:
    """The tokens of a corpus: how many, how many a byte of text, and the lengths of documents in tokens."""

    tokens: int
    tokens_per_byte: float
    lengths: LengthDistribution


def measure_corpus(corpus: Corpus, *, progress: Progress | None = None) -> CorpusStatistics:
    """Count a corpus in one pass. Raises what reading it raises.

    Memory: 20 MB, and about 50 bytes a document: its length, and the hash by which repeats are found.
    """
    omissions = Omissions()
    tally = _Tally()
    for text, ends in corpus.pieces(on_read=reporter(progress, "counting", corpus.n_bytes), omissions=omissions):
        tally.add(text, ends)
    counts = tally.characters.counts()
    return CorpusStatistics(
        documents=len(tally.lengths),
        characters=int(counts.sum()),
        distinct_characters=int((counts > 0).sum()),
        bytes=int(sum(counts[start:].sum() for start in (0, 0x80, 0x800, 0x10000))),  # where UTF-8 takes a byte more
        lines=int(counts[ord("\n")]) + tally.unended,
        lengths=LengthDistribution.of(np.frombuffer(tally.lengths, np.int64)),
        repeats=tally.repeats,
        scripts=_scripts(counts),
        control_characters=int(counts[:0x20].sum() + counts[0x7F:0xA0].sum() - counts[list(b"\t\n\r")].sum()),
        replacement_characters=int(counts[0xFFFD]),
        omissions=tuple(omissions.messages()),
    )


def measure_tokens(tokens: TokenSplit, statistics: CorpusStatistics) -> TokenStatistics:
    """Count the tokens that `tokenize_corpus` made of a corpus; each document has those that end it."""
    lengths = np.diff(tokens.ends, prepend=0) if tokens.ends is not None else np.array([len(tokens)])
    return TokenStatistics(len(tokens), len(tokens) / statistics.bytes, LengthDistribution.of(lengths))


class _Tally:
    """The counts of one pass."""

    def __init__(self) -> None:
        self.lengths = array("q")  # of each document, in characters
        self.repeats = 0
        self.unended = 0  # documents that do not end with a newline
        self._seen = Repeats()
        self.characters = CharacterCounts()
        self._begin()

    def _begin(self) -> None:
        self._hash, self._length, self._last = hashlib.blake2b(digest_size=DIGEST_BYTES), 0, "\n"

    def add(self, text: str, ends: bool) -> None:
        """Count a piece, and its document where it ends."""
        self._hash.update(text.encode("utf-8", "surrogatepass"))
        self._length += len(text)
        self._last = text[-1:] or self._last
        self.characters.add(text)
        if ends:
            self.lengths.append(self._length)
            self.repeats += self._seen.seen(self._hash.digest())
            self.unended += self._last != "\n"
            self._begin()


def _scripts(counts: np.ndarray) -> dict[str, int]:
    """Characters by script, the most frequent first."""
    import regex  # at first use: only this needs Unicode's scripts

    present = "".join(chr(code) for code in np.flatnonzero(counts))

    def count(pattern: str) -> int:
        return int(sum(counts[ord(character)] for character in regex.findall(pattern, present)))

    found = {name: count(rf"\p{{Script={name}}}") for name in SCRIPTS}
    found["Common"] = count(r"[\p{Script=Common}\p{Script=Inherited}]")
    found["other"] = int(counts.sum()) - sum(found.values())
    ordered: Iterator[tuple[str, int]] = iter(sorted(found.items(), key=lambda item: -item[1]))
    return {name: number for name, number in ordered if number}
