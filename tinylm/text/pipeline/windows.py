"""Long texts as a model takes them: in windows that overlap, each token with the characters it stands for.

Source: https://huggingface.co/docs/tokenizers, truncation with a stride, and offsets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from tinylm.errors import TinylmError

from ..hugging_face import BYTE_CHARACTERS
from .added import AddedFinder
from .patterns import WHITE_SPACE
from .post_processors import Template
from .pre_tokenizers import PreTokenizer
from .sequences import Inputs, Padding, Truncation, kept_lengths
from .traced import Traced
from .tracing import TracedNormalizer
from .vocabulary import Model

__all__ = ["PlaceFinder", "Window", "make_windows"]

SPACES = BYTE_CHARACTERS[ord(" ")] + WHITE_SPACE


@dataclass(frozen=True)
class Window(Inputs):
    """Inputs that know where their tokens come from.

    offsets: (T, 2) int32, the characters start up to end of its text that a token stands for. texts: (T,) int8, 0 for
    tokens of the first text, 1 for those of the second; -1 for special tokens and padding, whose offsets are 0.
    """

    offsets: np.ndarray
    texts: np.ndarray

    def padded(self, missing: tuple[int, int], how: Padding) -> Self:
        offsets, texts = np.pad(self.offsets, (missing, (0, 0))), np.pad(self.texts, missing, constant_values=-1)
        return dataclasses.replace(super().padded(missing, how), offsets=offsets, texts=texts)


@dataclass(frozen=True)
class PlaceFinder:
    """The ids of a text, each with the characters it stands for: what a tokenizer does, step by step and slower.

    find, find_normalized: of added tokens; normalize, steps, model: what happens to the text between them; tokens: how
    each is spelt.
    """

    find: AddedFinder
    normalize: TracedNormalizer
    find_normalized: AddedFinder
    steps: list[PreTokenizer]
    model: Model
    tokens: Mapping[int, str]

    def __call__(self, text: str) -> np.ndarray:
        """(T, 5) int32: id, start, end, and how many spaces the token begins and ends with."""
        rows: list[Row] = []
        at_start = True
        for stretch, id in _split(self.find, Traced(text)):
            if id is not None:
                rows.append(_row(id, stretch, stretch.text))
            else:
                for part, added in _split(self.find_normalized, self.normalize(stretch)):
                    rows += self._words(part, at_start) if added is None else [_row(added, part, part.text)]
                    at_start = False
            at_start = False
        return np.array(rows, np.int32).reshape(-1, 5)

    def _words(self, text: Traced, at_start: bool) -> list[Row]:
        words = [text]
        for step in self.steps:
            words = [
                piece
                for number, word in enumerate(words)
                for piece in step.traced(word, at_start and number == 0)
                if piece.text
            ]
        return [
            _row(id, word.part(start, end), self.tokens[id])
            for word in words
            for id, start, end in self.model.places(word.text)
        ]


Row = tuple[int, int, int, int, int]


def _row(id: int, place: Traced, token: str) -> Row:
    return id, *place.whole, len(token) - len(token.lstrip(SPACES)), len(token) - len(token.rstrip(SPACES))


def _split(find: AddedFinder, traced: Traced) -> list[tuple[Traced, int | None]]:
    """The stretches of a text, added tokens with their id."""
    found, at = [], 0
    for stretch, id in find.split(traced.text):
        found.append((traced.part(at, at + len(stretch)), id))
        at += len(stretch)
    return found


def make_windows(
    template: Template,
    first: np.ndarray,
    second: np.ndarray | None,
    how: Truncation | None,
    *,
    special_tokens: bool,
) -> list[Window]:
    """All windows of one text or two, as a `PlaceFinder` gives them; of two that are both cut, each with each.

    Raises TinylmError where a window would not get beyond its overlap with the one before it.
    """
    texts = [first] if second is None else [first, second]
    cuts = [[(0, len(text))] for text in texts]
    if how:
        n_special = template.n_special(pair=second is not None) if special_tokens else 0
        lengths = kept_lengths(len(first), None if second is None else len(second), how, n_special)
        cuts = [_cuts(len(text), kept, how) for text, kept in zip(texts, lengths, strict=False)]
    parts = [
        [_places(text[start:end], template) for start, end in found] for text, found in zip(texts, cuts, strict=True)
    ]
    build = partial(_window, template, special_tokens=special_tokens)
    if second is None:
        return [build(part, None) for part in parts[0]]
    # The first of both, then the others of the first text, then those of the second.
    order = [(0, 0), *((i, j) for i in range(1, len(parts[0])) for j in range(len(parts[1])))]
    order += [(0, j) for j in range(1, len(parts[1]))]
    return [build(parts[0][i], parts[1][j]) for i, j in order]


def _cuts(length: int, kept: int, how: Truncation) -> list[tuple[int, int]]:
    """Where windows of `kept` tokens begin and end, from the side that keeps its tokens."""
    if kept >= length:
        return [(0, length)]
    if how.stride >= kept:
        raise TinylmError(f"a window has room for {kept} tokens of the text, and overlaps by {how.stride}: no way on")
    steps = range(0, length - how.stride, kept - how.stride)
    if how.side == "right":
        return [(start, min(start + kept, length)) for start in steps]
    return [(max(length - end - kept, 0), length - end) for end in steps]


def _places(rows: np.ndarray, template: Template) -> np.ndarray:
    """(T, 3): id, start, end; where the template says so without the spaces at the ends of a token."""
    if not template.trims:
        return rows[:, :3]
    id, start, end, leading, trailing = rows.T
    if template.keeps_first:
        leading = leading - ((leading > 0) & ((start == 0) | (np.arange(len(rows)) == 0)))
    start = np.minimum(start + leading, end)
    return np.stack([id, start, np.where(end >= trailing, np.maximum(end - trailing, start), end)], axis=1)


def _window(template: Template, first: np.ndarray, second: np.ndarray | None, *, special_tokens: bool) -> Window:
    """The places with what the template puts around them."""
    texts = {"A": (0, first), "B": (1, second)}
    rows: list[np.ndarray] = [np.zeros((0, 5), np.int32)]  # id, start, end, type, text
    for item in template.items(pair=second is not None, special_tokens=special_tokens):
        number, places = (-1, np.array([(id, 0, 0) for id in item.ids])) if item.text is None else texts[item.text]
        if places is None:
            raise TinylmError("the template for one text asks for a second one")
        rows.append(np.insert(places.reshape(-1, 3), 3, [[item.type_id], [number]], axis=1))
    table = np.concatenate(rows).astype(np.int32)
    mask = np.ones(len(table), bool)
    return Window(table[:, 0], table[:, 3], mask, table[:, 1:3], table[:, 4].astype(np.int8))
