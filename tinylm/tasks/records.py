"""What tasks on records share: examples with named fields, some of them held out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tinylm.data import Progress
from tinylm.data.records import Records, open_records
from tinylm.errors import TinylmError

from .kind import Paths, TaskKind
from .settings import TrainSettings

__all__ = ["EncoderSettings", "RecordKind", "RecordSettings", "columns_of"]

SPLIT_SEED = 0  # of what is held out: the same whatever the seed of a run, so that runs compare


@dataclass(frozen=True)
class RecordSettings(TrainSettings):
    """The settings of tasks on records. Each task adds those that name columns; they are guessed where empty."""

    header: tuple[str, ...] = ()  # names of the columns of tables that do not begin with them
    deduplicate: bool = True


@dataclass(frozen=True)
class EncoderSettings(RecordSettings):
    """The settings of tasks on records that a small encoder learns, with what suits it."""

    model: str = "bert"
    tokenizer: str = "wordpiece"
    context: int = 128
    layers: int = 2
    dropout: float = 0.1
    batch_size: int = 32
    learning_rate: float = 1e-3
    final_learning_rate: float = 3e-5
    warmup: float = 0.1
    beta2: float = 0.999
    validate_every: int = 100
    checkpoint_every: int = 250


class RecordKind(TaskKind):
    """A task on records; its settings are `RecordSettings`.

    columns: the fields of a record, and for each the setting that names its column, where empty it is guessed;
    optional: fields that records may lack. All records are in `records`, those to train on in `train`, and those held
    out in `validation`, which may be none.
    """

    columns: Mapping[str, str]
    optional: tuple[str, ...] = ()
    records: Records
    train: Records
    validation: Records

    def read_data(self) -> None:
        settings = self.settings
        if not settings.data:
            needed = " and ".join(field for field in self.columns if field not in self.optional)
            raise TinylmError(f"the task {self.name} needs data: files with {needed}")
        columns = {field: getattr(settings, name) or None for field, name in self.columns.items()}
        self.records = open_records(
            settings.data,
            columns,
            optional=_unnamed(self.optional, columns),
            header=settings.header or None,
            strict=settings.strict,
            deduplicate=settings.deduplicate,
            progress=self.progress,
        )
        for line in self.records.summary().splitlines():
            self.notify(line)
        self.train, self.validation = self.records, self.records.select(slice(0, 0))
        if settings.validation:
            self.train, self.validation = self.records.split(settings.validation, seed=SPLIT_SEED)

    @classmethod
    def open_other(cls, data: Paths, progress: Progress | None = None, **columns: str | None) -> Records:
        """Other records, to measure a model on all of them. It warns of what cannot be used. columns: by setting."""
        named = {field: columns.pop(name, None) for field, name in cls.columns.items()}
        if columns:
            raise TinylmError(f"records of {', '.join(cls.columns)} have no {', '.join(columns)}")
        optional = _unnamed(cls.optional, named)
        records = open_records(data, named, optional=optional, deduplicate=False, progress=progress)
        for message in records.omissions.messages():
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        return records

    @property
    def fingerprint(self) -> str:
        return self.records.fingerprint()


def columns_of(*fields: str) -> Mapping[str, str]:
    """The `columns` of a kind whose settings are called as its fields are: source_column and so on."""
    return MappingProxyType({field: f"{field}_column" for field in fields})


def _unnamed(optional: Sequence[str], columns: Mapping[str, str | None]) -> list[str]:
    """The fields that records may lack: not those whose column is named."""
    return [field for field in optional if not columns[field]]
