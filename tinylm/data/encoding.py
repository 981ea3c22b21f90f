"""From documents to ids, block by block.

A document is encoded by itself, followed by the tokenizer's end-of-text token, or where there is none by a newline if
another document follows. A long one is cut where its tokenizer says that the ids stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import TinylmError
from ..text import Tokenizer
from .readers import Piece

__all__ = ["BLOCK", "Block", "Encoded", "cut_into_blocks", "encode_block"]

BLOCK = 1 << 20  # characters that are encoded together, about

Encoded = tuple[np.ndarray, np.ndarray]  # ids, and how many there are up to the end of each document


@dataclass
class Block:
    """Parts of documents, encoded together. document, offset: the number of the first, and where in it this begins."""

    document: int = 0
    offset: int = 0
    pieces: list[Piece] = field(default_factory=list)
    size: int = 0  # characters, and one for each piece


def cut_into_blocks(pieces: Iterable[Piece], tokenizer: Tokenizer) -> Iterator[Block]:
    """The documents as blocks, which depend on their text alone and not on the pieces it arrives in."""
    block = Block()
    document = offset = 0
    for piece in _cut_documents(_with_newlines(pieces) if tokenizer.end_of_text is None else pieces, tokenizer):
        block.pieces.append(piece)
        block.size += len(piece.text) + 1
        document, offset = (document + 1, 0) if piece.ends else (document, offset + len(piece.text))
        if block.size >= BLOCK:
            yield block
            block = Block(document, offset)
    if block.pieces:
        yield block


def _cut_documents(pieces: Iterable[Piece], tokenizer: Tokenizer) -> Iterator[Piece]:
    """Whole documents, and long ones in pieces of at most `BLOCK` characters, or more where none is a safe cut."""
    held, wanted = "", BLOCK
    for text, ends in pieces:
        held += text
        while len(held) >= wanted:
            if cut := tokenizer.safe_cut(held[:wanted]):
                yield Piece(held[:cut], False)
                held, wanted = held[cut:], BLOCK
            else:
                wanted *= 2
        if ends:
            yield Piece(held, True)
            held, wanted = "", BLOCK


def _with_newlines(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces with a newline at the end of each document but the last."""
    held: Piece | None = None
    for piece in pieces:
        if held is not None:
            yield Piece(held.text + "\n", True) if held.ends else held
        held = piece
    if held is not None:
        yield held


def encode_block(block: Block, tokenizer: Tokenizer, dtype: np.dtype) -> Encoded:
    """The ids of a block, and where its documents end. Raises TinylmError naming the document it cannot express."""
    parts, ends, count = [np.zeros(0, dtype)], [], 0
    document, offset = block.document, block.offset
    end_of_text = [] if tokenizer.end_of_text is None else [np.array([tokenizer.end_of_text], dtype)]
    for text, is_last in block.pieces:
        try:
            ids = tokenizer.encode(text)
        except TinylmError as error:
            place = f", after {offset:,} characters" if offset else ""
            raise TinylmError(f"document {document + 1:,}{place}: {error}") from None
        parts.append(ids.astype(dtype))
        count += len(ids)
        offset += len(text)
        if is_last:
            parts += end_of_text
            count += len(end_of_text)
            ends.append(count)
            document, offset = document + 1, 0
    return np.concatenate(parts), np.array(ends, np.uint64)
