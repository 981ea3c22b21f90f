"""The texts of all requests, written side by side: a step reads the weights once, for a token of each."""

from __future__ import annotations

from collections.abc import Generator

from tinylm.inference import BatchWriter, Decoder, Reader, Writer

__all__ = ["SharedBatch"]


class SharedBatch:
    """One batch for all jobs of a worker, which calls `step` after each of its rounds. rows: texts at once."""

    def __init__(self, model: Decoder, *, rows: int):
        self._model, self._rows = model, rows
        self._batch = BatchWriter(model, rows=rows)
        self._error: Exception | None = None

    def step(self) -> None:
        """Write a token of each text."""
        try:
            if self._batch:
                self._batch.step()
        except Exception as error:  # in the middle of a step: nobody knows what each of the texts has seen
            self._error, self._batch = error, BatchWriter(self._model, rows=self._rows)

    def write(self, writer: Writer, reader: Reader) -> Generator[None, None, None]:
        """A turn for each token until the text has ended; closing it ends the text. reader: has read of the prompt."""
        batch = self._batch
        batch.add(writer, reader)
        try:
            while writer.finish_reason is None:
                yield
                if self._batch is not batch:
                    assert self._error is not None
                    raise self._error
        finally:
            writer.cancel()
