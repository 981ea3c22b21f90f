"""Byte-level byte pair encoding: any text in any language, in tokens as long as a vocabulary has learnt them.

Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import TinylmError
from .base import Tokenizer, check_characters
from .hugging_face import BYTE_LEVEL, byte_level_text, tokenizer_json
from .merging import Merges
from .split import LONGEST_WORD, Splitter
from .words import KnownWords

__all__ = ["END_OF_TEXT", "AddedToken", "BPETokenizer"]

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class AddedToken:
    """A text that is one token wherever it appears.

    special: it stands for no text but for something about it, such as its end; it counts no bytes.
    """

    text: str
    id: int
    special: bool = True


class BPETokenizer(Tokenizer):
    """Splits text into words, and merges the bytes of each into tokens.

    tokens: the bytes of each id, those of an added token its text; merges: pairs of ids, the earliest first, whose
    joined bytes are a token; added: found in a text before anything else. `<|endoftext|>`, where it is among them, is
    `end_of_text`. prefix_space: encode as if a space came first, where none does; `decode` leaves it there. A row of
    more than LONGEST_WORD letters (or digits, or other characters) is cut after so many.
    """

    kind: ClassVar[str] = "bpe"

    def __init__(
        self,
        tokens: Sequence[bytes],
        merges: Sequence[tuple[int, int]],
        *,
        added: Sequence[AddedToken] = (),
        prefix_space: bool = False,
    ):
        self.tokens, self.merges, self.added = tuple(tokens), tuple(merges), tuple(added)
        self.prefix_space = prefix_space
        self.vocab_size = len(self.tokens)
        self._added = {token.id: token for token in self.added}
        ids = self._check_vocabulary()
        self.end_of_text = next((token.id for token in self.added if token.text == END_OF_TEXT), None)
        self._splitter = Splitter([token.text for token in self.added], prefix_space=prefix_space)
        self._byte_ids = [ids.get(bytes([byte]), -1) for byte in range(256)]
        self._missing = frozenset(byte for byte, id in enumerate(self._byte_ids) if id < 0)
        self._merges = Merges(self.merges, [ids[self.tokens[left] + self.tokens[right]] for left, right in self.merges])
        self._ids_of_added = {token.text: token.id for token in self.added}
        self._words = KnownWords(self._encode_word)

    def _check_vocabulary(self) -> dict[bytes, int]:
        """The ids by their bytes, without those of the added tokens that no merge can make."""
        ids: dict[bytes, int] = {}
        for id, token in enumerate(self.tokens):
            if id in self._added and self._added[id].text.encode() != token:
                raise TinylmError(f"BPETokenizer: {self._added[id].text!r} is not the text of token {id}, {token!r}")
            if id in self._added and byte_level_text(token) != self._added[id].text:
                continue  # the vocabulary tells it from a token of the same bytes
            if ids.setdefault(token, id) != id:
                raise TinylmError(f"BPETokenizer: {token!r} is both token {ids[token]} and token {id}")
        if len(self._added) < len(self.added) or not all(0 <= id < len(self.tokens) for id in self._added):
            raise TinylmError("BPETokenizer: each added token needs an id of its own, below the number of tokens")
        if len(set(self.merges)) < len(self.merges):
            raise TinylmError("BPETokenizer: a merge appears twice")
        for left, right in self.merges:
            if self.tokens[left] + self.tokens[right] not in ids:
                pair = f"{self.tokens[left]!r} and {self.tokens[right]!r}"
                raise TinylmError(f"BPETokenizer: the merge of {pair} makes no token of the vocabulary")
        return ids

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as what it was made from: a process that encodes a part of the text builds the rest."""
        return _rebuild, (self.tokens, self.merges, self.added, self.prefix_space)

    def encode(self, text: str) -> np.ndarray:
        self._check_text(text)
        if len(text) > LONGEST_WORD:
            return np.concatenate(list(self.encode_chunks([text])))
        self._check_characters(text)
        return np.frombuffer(bytearray(self._pack(self._splitter.split(text))), np.int32)

    def safe_cut(self, text: str) -> int:
        return self._splitter.safe_cut(text)

    def encode_chunks(self, chunks: Iterable[str]) -> Iterator[np.ndarray]:
        """The ids of a text that arrives in pieces: `encode` of the whole, whatever the pieces, in bounded memory."""
        for words in self._splitter.stream(self._checked(chunks)):
            yield np.frombuffer(self._pack(words), np.int32)

    def _pack(self, words: list[str]) -> bytes:
        """The ids of words, as the bytes of int32."""
        return b"".join(map(self._words.__getitem__, words))

    def _encode_word(self, word: str) -> bytes:
        """The ids of a word, or of an added token, as the bytes of int32."""
        if word in self._ids_of_added:
            ids = [self._ids_of_added[word]]
        else:
            ids = self._merges.apply([self._byte_ids[byte] for byte in word.encode()])
        return np.array(ids, np.int32).tobytes()

    def _checked(self, chunks: Iterable[str]) -> Iterator[str]:
        start = 0
        for chunk in chunks:
            self._check_characters(chunk, start)
            yield chunk
            start += len(chunk)

    def _check_characters(self, text: str, start: int = 0) -> None:
        """Raises TinylmError for the first character that is none, or needs a byte which is no token."""
        check_characters(text, start)
        if not self._missing or not self._missing.intersection(text.encode()):
            return
        at = next(at for at, character in enumerate(text) if self._missing.intersection(character.encode()))
        raise TinylmError(
            f"unknown character {text[at]!r} (U+{ord(text[at]):04X}) at position {start + at}: this vocabulary lacks "
            f"{len(self._missing)} of the 256 bytes; remove it, or train a tokenizer with all of them"
        )

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        tokens = self.tokens
        return b"".join([tokens[id] for id in self._check_ids(ids).tolist()]).decode("utf-8", "replace")

    def token(self, id: int) -> str:
        raw = self.token_bytes(id)
        if id in self._added and self._added[id].text.isprintable():
            return self._added[id].text
        try:
            return repr(raw.decode("utf-8"))
        except UnicodeDecodeError:
            return f"<0x{raw.hex().upper()}>"

    def token_bytes(self, id: int) -> bytes:
        return self.tokens[self._check_ids([id])[0]]

    def byte_lengths(self) -> np.ndarray:
        """UTF-8 bytes of each token, (V,) int64: of a special token 0, since it stands for no text."""
        special = {token.id for token in self.added if token.special}
        return np.array([0 if id in special else len(token) for id, token in enumerate(self.tokens)], np.int64)

    def to_json(self) -> dict[str, Any]:
        texts = [
            self._added[id].text if id in self._added else byte_level_text(token)
            for id, token in enumerate(self.tokens)
        ]
        return tokenizer_json(
            texts,
            pre_tokenizer={**BYTE_LEVEL, "add_prefix_space": self.prefix_space, "use_regex": True},
            decoder=BYTE_LEVEL,
            merges=[f"{texts[left]} {texts[right]}" for left, right in self.merges],
            added=[(token.id, token.text, token.special) for token in self.added],
        )


def _rebuild(tokens: Any, merges: Any, added: Any, prefix_space: bool) -> BPETokenizer:
    return BPETokenizer(tokens, merges, added=added, prefix_space=prefix_space)
