"""What all augmentations are, and how they are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TinylmError

__all__ = ["Augmenter", "Change", "Compose", "OneOf", "Sometimes", "check_rate", "random_of"]

Random = np.random.Generator
Change = Callable[[str, Random], str]  # a text, from a text and where chance comes from

_SITE = 0xA06E  # keeps these draws apart from others of the same seed


def random_of(seed: int, step: int, row: int) -> Random:
    """Chance as a function of these alone."""
    return np.random.Generator(np.random.Philox(key=_SITE << 64 | seed, counter=step << 128 | row << 64))


class Augmenter:
    """Changes some texts of a record and leaves all else as it is: a function of the record, the seed, step and row.

    change: what is done to each text; several go into a `Compose`. fields: of the texts.
    """

    def __init__(self, change: Change, *, seed: int, fields: Sequence[str] = ("text",)):
        if not 0 <= seed < 2**64:
            raise TinylmError(f"seed must be from 0 to 2^64 - 1, received {seed}")
        self.change, self.seed, self.fields = change, seed, tuple(fields)

    def __call__(self, record: Mapping[str, Any], *, step: int, row: int) -> dict[str, Any]:
        """The changed record. row: its number in the batch of all ranks and micro-batches together."""
        if "context" in self.fields and "starts" in record:
            raise TinylmError("a context whose answers stand at given places cannot be changed; augment the question")
        random = random_of(self.seed, step, row)
        return {name: self.change(value, random) if name in self.fields else value for name, value in record.items()}

    def expand(self, records: Iterable[Mapping[str, Any]], copies: int) -> Iterator[dict[str, Any]]:
        """Each record, and then `copies` changed ones: for a trainer that takes records as they are.

        Of the records to train on alone: a changed text must not come to the side of the one it was made from.
        """
        for row, record in enumerate(records):
            yield dict(record)
            for step in range(copies):
                yield self(record, step=step, row=row)


@dataclass(frozen=True)
class Compose:
    """One change after the other."""

    changes: Sequence[Change]

    def __call__(self, text: str, random: Random) -> str:
        for change in self.changes:
            text = change(text, random)
        return text


@dataclass(frozen=True)
class OneOf:
    """One of several changes, each as likely."""

    changes: Sequence[Change]

    def __call__(self, text: str, random: Random) -> str:
        return self.changes[int(random.integers(len(self.changes)))](text, random)


@dataclass(frozen=True)
class Sometimes:
    """A change with a probability; else the text stays as it is."""

    change: Change
    probability: float

    def __post_init__(self) -> None:
        check_rate("Sometimes", self.probability)

    def __call__(self, text: str, random: Random) -> str:
        return self.change(text, random) if random.random() < self.probability else text


def check_rate(name: str, rate: float) -> None:
    """Raise TinylmError for a rate that is no probability."""
    if not 0 <= rate <= 1:
        raise TinylmError(f"{name}: expected a probability from 0 to 1, received {rate}")
