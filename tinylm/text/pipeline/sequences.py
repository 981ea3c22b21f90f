"""Ids as models take them: cut to a length, with special tokens, filled up to a common length."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np

from tinylm.errors import TinylmError

from .part import Part
from .post_processors import Template

__all__ = [
    "Inputs",
    "Padding",
    "Truncation",
    "assemble",
    "kept_lengths",
    "pad",
    "read_padding",
    "read_truncation",
    "truncate",
]


@dataclass(frozen=True)
class Inputs:
    """What a model is given: ids and types of tokens, int32, and where they are none but padding.

    ids, type_ids, mask: (T,) for one sequence, (B, T) for a batch; mask is True at tokens, False at padding.
    """

    ids: np.ndarray
    type_ids: np.ndarray
    mask: np.ndarray

    def padded(self, missing: tuple[int, int], how: Padding) -> Self:
        """Filled up by so many before and after."""
        fill = {"ids": how.id, "type_ids": how.type_id, "mask": False}
        filled = {name: np.pad(getattr(self, name), missing, constant_values=value) for name, value in fill.items()}
        return dataclasses.replace(self, **filled)


@dataclass(frozen=True)
class Truncation:
    """How many tokens a sequence may have at most, special ones included, and where the rest is cut off.

    strategy: of two texts, the longer one is cut first, or the first or the second alone ("longest", "first",
    "second"); side: the one that loses tokens, "right" or "left". stride: how many tokens of a text a window has in
    common with the one before it, where all of them are asked for.
    """

    max_length: int
    strategy: str = "longest"
    side: str = "right"
    stride: int = 0


@dataclass(frozen=True)
class Padding:
    """What fills a sequence up.

    length: of all sequences, or None for that of the longest in the batch; multiple_of: the length is rounded up to
    one; side: where the filling goes, "right" or "left".
    """

    id: int
    type_id: int = 0
    length: int | None = None
    multiple_of: int = 1
    side: str = "right"


STRATEGIES = {"LongestFirst": "longest", "OnlyFirst": "first", "OnlySecond": "second"}


def read_truncation(part: Part | None) -> Truncation | None:
    """The setting of a tokenizer.json."""
    if part is None:
        return None
    strategy = STRATEGIES[part.choice("strategy", STRATEGIES, "LongestFirst")]
    side = part.choice("direction", ("Left", "Right"), "Right").lower()
    truncation = Truncation(part.whole("max_length"), strategy, side, part.whole("stride", 0))
    part.close()
    return truncation


def read_padding(part: Part | None) -> Padding | None:
    """The setting of a tokenizer.json."""
    if part is None:
        return None
    part.text("pad_token", "[PAD]")
    padding = Padding(
        part.whole("pad_id", 0),
        part.whole("pad_type_id", 0),
        length=_fixed_length(part),
        multiple_of=1 if part.any("pad_to_multiple_of", None) is None else max(1, part.whole("pad_to_multiple_of")),
        side=part.choice("direction", ("Left", "Right"), "Right").lower(),
    )
    part.close()
    return padding


def _fixed_length(part: Part) -> int | None:
    """ "BatchLongest" or {"Fixed": length}."""
    strategy = part.any("strategy", "BatchLongest")
    if strategy == "BatchLongest":
        return None
    fixed = strategy.get("Fixed") if isinstance(strategy, dict) and len(strategy) == 1 else None
    if type(fixed) is not int or not 0 <= fixed <= MAX_LENGTH:
        part.refuse(f'field strategy must be "BatchLongest" or {{"Fixed": 0..{MAX_LENGTH}}}, not {strategy!r:.60}')
    return fixed


MAX_LENGTH = 1 << 24


def truncate(
    first: np.ndarray, second: np.ndarray | None, how: Truncation, n_special: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The ids of one text or two, cut so that with n_special more they are max_length at most."""
    n_first, n_second = kept_lengths(len(first), None if second is None else len(second), how, n_special)
    return _cut(first, n_first, how), None if second is None else _cut(second, n_second, how)


def kept_lengths(n_first: int, n_second: int | None, how: Truncation, n_special: int) -> tuple[int, int]:
    """How many tokens each of two texts keeps, 0 where there is no second."""
    room, n_both = how.max_length - n_special, n_first + (n_second or 0)
    if room < 0:
        raise TinylmError(f"max_length is {how.max_length}, and special tokens alone take {n_special}")
    excess = n_both - room
    if excess <= 0:
        return n_first, n_second or 0
    if how.strategy == "longest":
        return (room, 0) if n_second is None else _share(n_first, n_second, room)
    cut = n_first if how.strategy == "first" else n_second
    if cut is None or cut <= excess:
        has = "there is none" if cut is None else f"it has {cut}"
        raise TinylmError(f"the {how.strategy} text alone is to lose {excess} tokens, but {has}")
    return (n_first - excess, n_second or 0) if how.strategy == "first" else (n_first, cut - excess)


def _share(n_first: int, n_second: int, room: int) -> tuple[int, int]:
    """How much each of two texts keeps: the shorter one all of it, if it takes no more than half."""
    shorter = min(n_first, n_second)
    longer = shorter if shorter > room else max(shorter, room - shorter)
    if shorter + longer > room:
        shorter, longer = room // 2, room // 2 + room % 2
    return (longer, shorter) if n_first > n_second else (shorter, longer)


def _cut(ids: np.ndarray, length: int, how: Truncation) -> np.ndarray:
    return ids[:length] if how.side == "right" else ids[len(ids) - length :]


def assemble(template: Template, first: np.ndarray, second: np.ndarray | None, *, special_tokens: bool) -> Inputs:
    """The texts with what the template puts around them."""
    texts = {"A": first, "B": second}
    ids, types = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for item in template.items(pair=second is not None, special_tokens=special_tokens):
        part = np.array(item.ids, np.int32) if item.text is None else texts[item.text]
        if part is None:
            raise TinylmError("the template for one text asks for a second one")
        ids.append(part)
        types.append(np.full(len(part), item.type_id, np.int32))
    row = np.concatenate(ids)
    return Inputs(row, np.concatenate(types), np.ones(len(row), bool))


def pad(sequences: Sequence[Filled], how: Padding) -> list[Filled]:
    """The sequences, each filled up to the common length; a longer one stays as it is."""
    length = how.length if how.length is not None else max((len(inputs.ids) for inputs in sequences), default=0)
    length += -length % how.multiple_of
    missing = [max(0, length - len(inputs.ids)) for inputs in sequences]
    places = [(n, 0) if how.side == "left" else (0, n) for n in missing]
    return [inputs.padded(place, how) for inputs, place in zip(sequences, places, strict=True)]


Filled = TypeVar("Filled", bound=Inputs)
