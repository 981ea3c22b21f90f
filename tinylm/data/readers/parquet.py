"""Parquet: a table in columns, read row group by row group through pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from ...errors import FileFormatError
from ...extras import import_extra
from .archives import ARCHIVES
from .base import Piece, Row, Skipped, TextFile, check_column, record

__all__ = ["parquet_rows", "read_parquet"]

_ROWS = 1024  # rows decoded at a time


def read_parquet(file: TextFile) -> Iterator[Piece | Skipped]:
    """A document for each row, in order; a row whose text is null, empty or not UTF-8 is skipped.

    Raises FileFormatError for a file that is cut short or damaged (checksums of pages are compared where it holds
    them), and for a column that is not there or holds no text. Memory: about one row group.
    """
    for row in _rows(file, lambda arrow, schema: _check_schema(file, arrow, schema), [file.column]):
        yield record(row.fields[file.column], row.line, file.column)


def parquet_rows(file: TextFile) -> Iterator[Row]:
    """Each row with all of its fields, in order. Raises FileFormatError as `read_parquet` does."""
    return _rows(file, lambda arrow, schema: None, None)


def _rows(file: TextFile, check: Callable[[Any, Any], None], columns: list[str] | None) -> Iterator[Row]:
    """check: of pyarrow and the schema, before anything is read; columns: those to read, None for all."""
    arrow, parquet = (import_extra(name, "reading Parquet") for name in ("pyarrow", "pyarrow.parquet"))
    row = 0
    with _seekable(file) as opened:
        try:
            table = parquet.ParquetFile(opened, pre_buffer=False, buffer_size=1 << 16, page_checksum_verification=True)
            check(arrow, table.schema_arrow)
            for batch in table.iter_batches(_ROWS, columns=columns, use_threads=False):
                names = batch.schema.names
                for values in zip(*(_values(arrow, column) for column in batch.columns), strict=True):
                    row += 1
                    yield Row(row, dict(zip(names, values, strict=True)))
            rows = table.metadata.num_rows
        except (arrow.ArrowException, OSError, EOFError) as error:
            raise FileFormatError(file.path, f"damaged or not Parquet: {str(error).strip():.200}") from None
    if row != rows:
        raise FileFormatError(file.path, f"damaged: it holds {row:,} rows and says {rows:,}")


def _values(arrow: Any, column: Any) -> list[Any]:
    """As in CSV: text that is not UTF-8 gets lone surrogates, which `record` refuses."""
    if not _is_text(arrow, column.type):
        return column.to_pylist()
    texts = column.cast(arrow.binary()).to_pylist()
    return [text if text is None else text.decode("utf-8", "surrogateescape") for text in texts]


def _is_text(arrow: Any, kind: Any) -> bool:
    kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
    return arrow.types.is_string(kind) or arrow.types.is_large_string(kind)


def _check_schema(file: TextFile, arrow: Any, schema: Any) -> None:
    check_column(file.path, file.column, schema.names)
    kind = schema.field(file.column).type
    if not _is_text(arrow, kind):
        raise FileFormatError(file.path, f"the column {file.column!r} holds {kind}, expected strings")


@contextmanager
def _seekable(file: TextFile) -> Iterator[BinaryIO]:
    """The file itself, or what an archive holds in a temporary file: Parquet begins to be read at its end."""
    if file.path.suffix.lower() not in ARCHIVES:
        with open(file.path, "rb") as opened:
            yield opened
        file.on_read(file.path.stat().st_size)
        return
    import shutil  # at first use: they take a while to load
    import tempfile

    with file.open() as packed, tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(packed, unpacked, 1 << 20)
        unpacked.seek(0)
        yield unpacked
