"""One token for each character of the training text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import TinylmError
from .base import Tokenizer
from .hugging_face import FUSE, tokenizer_json

__all__ = ["CharTokenizer"]


class CharTokenizer(Tokenizer):
    """Characters (Unicode code points) as tokens; the id is the place in `characters`.

    characters: distinct, at least one, no surrogates. A character that is not among them cannot be encoded.
    """

    kind: ClassVar[str] = "chars"

    def __init__(self, characters: Iterable[str]):
        pieces = list(characters)
        _check_characters(pieces)
        self.characters = "".join(pieces)
        self.vocab_size = len(pieces)
        self._codes = np.frombuffer(self.characters.encode("utf-32-le"), "<u4")
        # One entry for each code point up to the largest, and one more that stands for all beyond it.
        self._ids = np.full(int(self._codes.max()) + 2, -1, np.int32)
        self._ids[self._codes] = np.arange(self.vocab_size, dtype=np.int32)

    @classmethod
    def train(cls, chunks: Iterable[str]) -> CharTokenizer:
        """The characters of a text that arrives in pieces, sorted. Raises TinylmError for an empty text."""
        seen: set[str] = set()
        for chunk in chunks:
            seen.update(chunk)
        return cls(sorted(seen))

    def encode(self, text: str) -> np.ndarray:
        self._check_text(text)
        return self._encode(text, 0)

    def encode_chunks(self, chunks: Iterable[str]) -> Iterator[np.ndarray]:
        start = 0
        for chunk in chunks:
            yield self._encode(chunk, start)
            start += len(chunk)

    def _encode(self, text: str, start: int) -> np.ndarray:
        """start: the position of `text` in the whole, for the message."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        ids = self._ids.take(codes, mode="clip")  # four times as fast as indexing
        if ids.size and ids.min() < 0:
            at = int(ids.argmin())
            raise TinylmError(_unknown(text[at], start + at))
        return ids

    def safe_cut(self, text: str) -> int:
        return len(text)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        return self._codes[self._check_ids(ids)].tobytes().decode("utf-32-le")

    def token(self, id: int) -> str:
        return repr(self.characters[self._check_ids([id])[0]])

    def token_bytes(self, id: int) -> bytes:
        return self.characters[self._check_ids([id])[0]].encode("utf-8")

    def byte_lengths(self) -> np.ndarray:
        longer_from = np.array([0x80, 0x800, 0x10000], "<u4")  # where UTF-8 takes a second, third, fourth byte
        return 1 + np.searchsorted(longer_from, self._codes, side="right").astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        return tokenizer_json(self.characters, pre_tokenizer=None, decoder=FUSE)


def _check_characters(pieces: list[str]) -> None:
    if not pieces:
        raise TinylmError("CharTokenizer: no characters; give it a text that is not empty")
    for piece in pieces:
        if not isinstance(piece, str) or len(piece) != 1:
            raise TinylmError(f"CharTokenizer: expected single characters, received {piece!r}")
        if _is_surrogate(piece):
            raise TinylmError(
                f"CharTokenizer: {piece!r} is a lone surrogate, not a character; read the text as valid UTF-8"
            )
    if len(set(pieces)) < len(pieces):
        twice, _ = Counter(pieces).most_common(1)[0]
        raise TinylmError(f"CharTokenizer: {twice!r} appears twice; a character has one id")


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _unknown(character: str, position: int) -> str:
    where = f"unknown character {character!r} (U+{ord(character):04X}) at position {position}"
    if _is_surrogate(character):
        return f"{where}: a lone surrogate is not a character; read the text as valid UTF-8"
    return f"{where}: it is not in the training text; remove it, or train with the tokenizer 'bytes'"
