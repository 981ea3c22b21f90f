"""What a pass over data left out: nothing is dropped in silence."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import FileFormatError

__all__ = ["Omissions"]

_NAMED = 100  # what is skipped beyond this is counted alone


@dataclass
class Omissions:
    """records: all there were; named: those that were skipped, with their place and why, the first of them."""

    records: int = 0
    skipped: int = 0
    repeated: int = 0
    named: list[FileFormatError] = field(default_factory=list)

    def skip(self, error: FileFormatError) -> None:
        """Count a record that cannot be used."""
        self.skipped += 1
        if len(self.named) < _NAMED:
            self.named.append(error)

    @property
    def first(self) -> FileFormatError | None:
        """The first that was skipped."""
        return self.named[0] if self.named else None

    def messages(self) -> list[str]:
        """What to tell the user."""
        told = []
        if self.skipped:
            told.append(f"skipped {self.skipped:,} of {self.records:,} records: first at {self.first}")
        if self.repeated:
            told.append(f"left out {self.repeated:,} of {self.records:,} records that repeat an earlier one")
        return told
