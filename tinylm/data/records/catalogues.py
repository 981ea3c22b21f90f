"""gettext catalogues: what a program says, and its translation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import FileFormatError
from ...extras import import_extra
from ..readers.base import Row, Skipped, TextFile

__all__ = ["catalogue_rows"]


def catalogue_rows(file: TextFile) -> Iterator[Row | Skipped]:
    """source and target of each entry of a .po or .mo file that is translated, and that no one marked as doubtful."""
    polib = import_extra("polib", "reading gettext catalogues")
    read = polib.mofile if file.path.suffix.lower() == ".mo" else polib.pofile
    try:
        entries = list(read(str(file.path)))
    except Exception as error:  # polib raises what its parsing runs into: OSError, ValueError, struct.error, ...
        raise FileFormatError(file.path, f"damaged or not a gettext catalogue: {error!s:.200}") from None
    file.on_read(file.path.stat().st_size)
    for number, entry in enumerate(entries, 1):
        line = getattr(entry, "linenum", number)  # .mo files have no lines
        if reason := _unusable(entry):
            yield Skipped(line, reason)
        else:
            yield Row(line, {"source": entry.msgid, "target": entry.msgstr, "message_context": entry.msgctxt or ""})


def _unusable(entry: Any) -> str:
    if entry.obsolete:
        return "an entry that is no longer in use"
    if entry.msgid_plural:
        return "an entry with forms of a plural"
    if not entry.msgstr:
        return "an entry that is not translated"
    return "an entry marked as fuzzy: its translation was not checked" if "fuzzy" in entry.flags else ""
