"""Examples with named fields, wherever they came from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import FileFormatError, TinylmError
from ..omissions import Omissions
from ..statistics import LengthDistribution
from .splitting import split_numbers
from .store import Store

__all__ = ["Records"]


class Records(Sequence[dict[str, Any]]):
    """Records by number, each a dict of its fields; made by `open_records` and `make_records`.

    name: for messages. fields: their names, in order. omissions: what was left out, each with its place and reason.
    notes: what was guessed, in words. Records lie on disk: any number of them is shuffled in little memory.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        fields: tuple[str, ...],
        omissions: Omissions,
        notes: tuple[str, ...] = (),
        numbers: np.ndarray | None = None,
    ):
        self.name, self.fields, self.omissions, self.notes = name, fields, omissions, notes
        self._store = store
        self._numbers = np.arange(len(store)) if numbers is None else numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: Any) -> Any:
        """One record, or the records of a slice."""
        return self.select(number) if isinstance(number, slice) else self._store[int(self._numbers[number])]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._store[number] for number in self._numbers.tolist())

    def select(self, numbers: slice | Sequence[int] | np.ndarray) -> Records:
        """These records, in this order."""
        return Records(self.name, self._store, self.fields, self.omissions, self.notes, self._numbers[numbers])

    def column(self, field: str) -> Iterator[Any]:
        """The values of one field. Raises TinylmError for one that is not there."""
        if field not in self.fields:
            raise TinylmError(f"{self.name}: no field {field!r}; there are {', '.join(self.fields)}")
        return (record[field] for record in self)

    def refuse(self, number: int, reason: str) -> FileFormatError:
        """The error that says, with its file and line, why a record cannot be used."""
        path, line = self._store.place(int(self._numbers[number]))
        return FileFormatError(path, reason, line=line or None)

    def fingerprint(self) -> str:
        """What tells these records from any other."""
        digest = hashlib.sha256()
        for record in self:
            digest.update(json.dumps(record, sort_keys=True).encode())
        return digest.hexdigest()

    def labels(self, field: str = "label") -> dict[str, int]:
        """How many records have each label, the labels sorted; of several labels a record counts for each."""
        counts = Counter(
            label for value in self.column(field) for label in ([value] if isinstance(value, str) else value)
        )
        return dict(sorted(counts.items()))

    def class_weights(self, field: str = "label") -> dict[str, float]:
        """Weights that make all labels count alike: N / (C n), with a mean of 1 over the records.

        Source: King and Zeng 2001, "Logistic regression in rare events data"; as scikit-learn's "balanced".
        """
        counts = self.labels(field)
        return {label: len(self) / (len(counts) * count) for label, count in counts.items()}

    def lengths(self, field: str, measure: Callable[[str], int] = len) -> LengthDistribution:
        """How long the texts of a field are: in characters, or as `measure` says."""
        return LengthDistribution.of(np.array([measure(text) for text in self.column(field)]))

    def split(
        self, *shares: float, seed: int = 0, stratify: str | None = "label", group: str | None = None
    ) -> tuple[Records, ...]:
        """The records to train on, and a part for each share, held out: `train, validation = records.split(0.1)`.

        stratify: the field of which each part has its share of every value, if it is there; of several labels the
        rarest counts. group: the field whose equal values stay on one side, whatever their case and spaces; unless
        told, "context", or else the first field. The same records and seed give the same parts.
        """
        group = group or ("context" if "context" in self.fields else self.fields[0])
        groups = np.unique([_digest(value) for value in self.column(group)], return_inverse=True)[1]
        parts = split_numbers(groups, self._strata(stratify), shares, seed)
        if empty := [share for share, part in zip((None, *shares), parts, strict=True) if not len(part)]:
            raise TinylmError(
                f"{self.name}: {len(self)} records are too few to hold out {empty[0] or shares}: a record of each "
                "label stays, and records of the same text stay together"
            )
        return tuple(self.select(part) for part in parts)

    def _strata(self, field: str | None) -> np.ndarray:
        if field is None or field not in self.fields:
            return np.zeros(len(self), int)
        counts = self.labels(field)
        rank = {label: at for at, label in enumerate(sorted(counts, key=lambda label: counts[label]), 1)}
        values = ([value] if isinstance(value, str) else value for value in self.column(field))
        return np.array([min((rank[label] for label in several), default=0) for several in values])

    def summary(self) -> str:
        """What there is, what was guessed and what was left out, in lines."""
        told = [
            f"{self.name}: {len(self):,} records of {', '.join(self.fields)}",
            *self.notes,
            *self.omissions.messages(),
        ]
        if "label" in self.fields:
            counts = sorted(self.labels().items(), key=lambda item: -item[1])
            more = f" and {len(counts) - 10} more" if len(counts) > 10 else ""
            told.append("label: " + ", ".join(f"{label} {count:,}" for label, count in counts[:10]) + more)
        for field in self.fields:
            if field != "label" and isinstance(self[0][field], str):
                lengths = self.lengths(field)
                told.append(
                    f"{field}: {lengths.min:,} to {lengths.max:,} characters, median {lengths.median:,}, "
                    f"99 % up to {lengths.p99:,}"
                )
        return "\n".join(told)

    def __repr__(self) -> str:
        return f"Records({self.name!r}, {len(self):,} of {', '.join(self.fields)})"


def _digest(value: Any) -> bytes:
    """The same for texts that differ in case and spaces alone."""
    text = value if isinstance(value, str) else repr(value)
    return hashlib.blake2b(" ".join(text.casefold().split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()
