"""Records on disk, read back by number: data larger than memory is shuffled without being held."""

from __future__ import annotations

import json
import mmap
import tempfile
import weakref
from array import array
from bisect import bisect_right
from pathlib import Path
from typing import Any

from ...files import cache_folder

__all__ = ["Store"]


class Store:
    """Records one after another in a temporary file without a name, which the system removes with the process.

    Memory: 16 bytes a record; what is read stays in the system's cache of files as long as there is room.
    """

    def __init__(self) -> None:
        cache_folder().mkdir(parents=True, exist_ok=True)  # where there is room for data: /tmp may be memory
        file = self._file = tempfile.TemporaryFile(dir=cache_folder(), buffering=1 << 20)  # noqa: SIM115 # until we end
        weakref.finalize(self, file.close)
        self._ends = array("q", [0])
        self._lines = array("q")
        self._firsts: list[int] = []  # where the records of a file begin
        self._paths: list[Path] = []
        self._map: mmap.mmap | None = None

    def add(self, packed: bytes, path: Path, line: int) -> None:
        """Append what `pack` made of a record. path, line: where it comes from; a line of 0 for a whole file."""
        if not self._paths or path != self._paths[-1]:
            self._firsts.append(len(self))
            self._paths.append(path)
        self._file.write(packed)
        self._ends.append(self._ends[-1] + len(packed))
        self._lines.append(line)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> dict[str, Any]:
        if self._map is None or len(self._map) < self._ends[-1]:
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return json.loads(self._map[self._ends[number] : self._ends[number + 1]])

    def place(self, number: int) -> tuple[Path, int]:
        """The file and the line that a record comes from, as `add` was told."""
        return self._paths[bisect_right(self._firsts, number) - 1], self._lines[number]

    @staticmethod
    def pack(record: dict[str, Any]) -> bytes:
        """A record in bytes; equal records have equal ones."""
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
