"""The tokens of a model by their ids, and what a model is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from tinylm.errors import TinylmError

from ..hugging_face import BYTE_CHARACTERS
from .part import Part

__all__ = ["MAX_ID", "Model", "Place", "byte_ids", "check_ids", "read_vocabulary"]

Place = tuple[int, int, int]  # a token: its id, and where it begins and ends
MAX_ID = 1 << 22  # real vocabularies end far below; tables of a model are as long as the largest id


class Model(ABC):
    """Turns one word into the ids of its tokens.

    ids: the id of each token. Raises TinylmError for a word that it cannot express.
    """

    ids: dict[str, int]

    @abstractmethod
    def __call__(self, word: str) -> list[int]:
        """The ids of a word that is not empty."""

    @abstractmethod
    def places(self, word: str) -> Iterable[Place]:
        """The same ids, each with the characters of the word that it stands for; bytes stand for the whole of one."""

    def words(self, text: str) -> list[str]:
        """A text that no pre-tokenizer cuts, in words that can be encoded one by one."""
        return [text]

    def unknown(self, character: str) -> TinylmError:
        """The error for a character that has neither a token nor a token that stands for unknown ones."""
        what = f"{character!r:.60} (U+{ord(character[0]):04X})"
        if ord(character[0]) >= 0x100 and character in BYTE_CHARACTERS:
            what += f", or byte 0x{BYTE_CHARACTERS.index(character):02X} where bytes are spelt,"
        return TinylmError(
            f"{what} is not in the vocabulary, which has no token for what is unknown; remove it from the text"
        )


def read_vocabulary(part: Part) -> dict[str, int]:
    """The ids by token of a field `vocab` that is an object."""
    vocab = part.table("vocab")
    check_ids(part, vocab.items())
    return vocab


def check_ids(part: Part, entries: Iterable[tuple[str, Any]]) -> None:
    """Refuse ids that are no whole numbers from 0 to MAX_ID, or belong to two tokens."""
    seen: dict[int, str] = {}
    for token, id in entries:
        if type(id) is not int:  # True is an int to isinstance
            part.refuse(f"field vocab: the id of {token!r:.60} must be a whole number, not {id!r:.60}")
        if not 0 <= id < MAX_ID:
            part.refuse(f"field vocab: the id of {token!r:.60} is {id}, expected 0..{MAX_ID - 1:,}")
        if id in seen:
            part.refuse(f"field vocab: {seen[id]!r:.60} and {token!r:.60} have the same id, {id}")
        seen[id] = token


def byte_ids(ids: dict[str, int]) -> list[int | None]:
    """The ids of the tokens <0x00> to <0xFF>, None for those that there are not."""
    return [ids.get(f"<0x{byte:02X}>") for byte in range(256)]
