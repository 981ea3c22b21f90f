"""What tasks on records share: examples with named fields, some of them held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tinylm.data.records import Records, open_records
from tinylm.errors import TinylmError

from .kind import TaskKind

__all__ = ["RecordKind"]

SPLIT_SEED = 0  # of what is held out: the same whatever the seed of a run, so that runs compare


class RecordKind(TaskKind):
    """A task on records.

    columns: the fields of a record, and for each the setting that names its column, where empty it is guessed;
    optional: fields that records may lack. A subclass has all records in `records`, those to train on in `train`, and
    those held out in `validation`.
    """

    columns: ClassVar[Mapping[str, str]]
    optional: ClassVar[tuple[str, ...]] = ()
    records: Records
    train: Records
    validation: Records

    def read_data(self) -> None:
        settings = self.settings
        if not settings.data:
            raise TinylmError(f"the task {self.name} needs data: files with {', '.join(self.columns)}")
        columns = {field: getattr(settings, name) or None for field, name in self.columns.items()}
        self.records = open_records(
            settings.data,
            columns,
            optional=[field for field in self.optional if not columns[field]],
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

    @property
    def fingerprint(self) -> str:
        return self.records.fingerprint()
