"""What every tokenizer can do."""

from __future__ import annotations

import codecs
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..errors import TinylmError
from ..files import write_atomically
from .tokenizer_config import TokenizerConfig

__all__ = ["TextStream", "Tokenizer", "check_characters"]


class Tokenizer(ABC):
    """Text to ids 0..vocab_size-1 and back.

    `decode(encode(text)) == text` for all text it can encode, unless a normalizer changes the text before, as those of
    some published models do.
    """

    config = TokenizerConfig()  # what stands in tokenizer_config.json
    kind: ClassVar[str]  # how users choose it: "chars", "bytes", "bpe"
    vocab_size: int
    end_of_text: int | None = None  # the id that stands between two documents, where there is one

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, (T,) int32. Raises TinylmError for text that the tokenizer cannot express."""

    @abstractmethod
    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids, (T,) of any integer type. Raises TinylmError for an id that does not exist."""

    @abstractmethod
    def token(self, id: int) -> str:
        """A token as tables show it: printable, in quotes or angle brackets."""

    @abstractmethod
    def token_bytes(self, id: int) -> bytes:
        """The UTF-8 bytes that a token stands for; they need not be whole characters."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The content of tokenizer.json, in the format of Hugging Face's `tokenizers`."""

    def safe_cut(self, text: str) -> int:
        """The last place where a text may be cut so that the ids of both parts, joined, are those of the whole.

        It holds whatever follows `text`. 0 where there is no such place: a long text is then encoded in one piece.
        Large documents are cut here to be encoded by several processes.
        """
        return 0

    def encode_chunks(self, chunks: Iterable[str]) -> Iterator[np.ndarray]:
        """The ids of a text that arrives in pieces. Where tokens span characters, this must be overridden."""
        return map(self.encode, chunks)

    def byte_lengths(self) -> np.ndarray:
        """UTF-8 bytes of each token, (V,) int64: what bits per byte are counted with."""
        return np.array([len(self.token_bytes(id)) for id in range(self.vocab_size)], np.int64)

    def stream(self) -> TextStream:
        """A decoder for ids that arrive one by one."""
        return TextStream(self)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write tokenizer.json into a folder, made where it is missing, and return its path.

        And tokenizer_config.json where there is anything to say in it.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        path = Path(folder) / "tokenizer.json"
        write_atomically(path, json.dumps(self.to_json(), ensure_ascii=False, indent=1).encode("utf-8"))
        self.config.save(folder)
        return path

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"

    def _check_text(self, text: str) -> None:
        if not isinstance(text, str):
            raise TinylmError(f"{type(self).__name__}.encode: expected a str, received {type(text).__name__}")

    def _check_ids(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        array = np.asarray(ids)
        if array.size == 0:
            return np.zeros(0, np.int64)
        operation = f"{type(self).__name__}.decode"
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise TinylmError(f"{operation}: expected a row of integers, received shape {array.shape} of {array.dtype}")
        wrong = (array < 0) | (array >= self.vocab_size)
        if wrong.any():
            at = int(wrong.argmax())
            raise TinylmError(
                f"{operation}: id {array[at]} at position {at} is not one of 0..{self.vocab_size - 1}; "
                "decode with the tokenizer that made the ids"
            )
        return array


class TextStream:
    """Turns ids into text one at a time and never splits a character: its bytes wait until they are whole.

    The pieces joined are `decode` of all the ids; bytes that are not UTF-8 become U+FFFD there and here.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, id: int) -> str:
        """The text that this id completes, often "" in the middle of a character."""
        return self._decoder.decode(self._tokenizer.token_bytes(id))

    def end(self) -> str:
        """U+FFFD for a character that never became whole, else ""; after it the stream starts anew."""
        rest = self._decoder.decode(b"", True)
        self._decoder.reset()
        return rest


def check_characters(text: str, start: int = 0) -> None:
    """Raises TinylmError for what is no text, and for a lone surrogate in it.

    start: the position of the text in the whole, for the message.
    """
    if not isinstance(text, str):
        raise TinylmError(f"expected a str, received {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TinylmError(
            f"{text[error.start]!r} at position {start + error.start} is a lone surrogate, not a character; "
            "read the text as valid UTF-8"
        ) from None
