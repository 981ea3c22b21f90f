"""Search by meaning: passages and their vectors, and those nearest to a query's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from tinylm.data.records import Passage
from tinylm.errors import FileFormatError, TinylmError
from tinylm.files import parse_json
from tinylm.formats import read_metadata, read_safetensors, write_safetensors
from tinylm.text import Tokenizer, Truncation

from .sentence_vectors import encoder_tokenizer

__all__ = ["PROBE", "Found", "SearchIndex", "passage_windows"]

STRIDE_SHARE = 3  # windows of a long text overlap by a third of what they can hold
PROBE = "A model is known by the vector that it makes of this."
PROBE_TOLERANCE = 1e-3  # of numbers below 1: what processors round differently is far less, another model far more
FORMAT = {"format": "tinylm search index", "version": "1"}


@dataclass(frozen=True)
class Found:
    """A passage, and the cosine of its vector and the query's, -1 to 1."""

    score: float
    passage: Passage


class SearchIndex:
    """Passages with their vectors (N, C), scaled to length 1; `LM.index` makes one.

    probe: the vector (C,) that the model makes of PROBE, by which an index is known to be its own. origin: says what
    the passages were read from, "" where nothing is known.
    """

    def __init__(self, passages: Sequence[Passage], vectors: np.ndarray, probe: np.ndarray, origin: str = ""):
        if vectors.shape != (len(passages), *probe.shape) or not len(passages):
            raise TinylmError(f"an index takes a vector for each passage, received {vectors.shape}, {len(passages)}")
        self.passages, self.probe, self.origin = list(passages), probe, origin
        self.vectors = _scaled(vectors)

    def __len__(self) -> int:
        return len(self.passages)

    def nearest(self, vector: np.ndarray, k: int = 10) -> list[Found]:
        """The k passages whose vectors make the largest cosine with a vector (C,), the largest first."""
        if vector.shape != self.probe.shape or k < 1:
            expected = f"a vector of shape {self.probe.shape} and k of at least 1"
            raise TinylmError(f"nearest: expected {expected}, received {vector.shape} and {k}")
        scores = self.vectors @ _scaled(vector)
        best = np.argsort(-scores, kind="stable")[:k]
        return [Found(float(scores[number]), self.passages[number]) for number in best]

    def is_of(self, probe: np.ndarray) -> bool:
        """Whether the model that makes this vector of PROBE made the index."""
        return probe.shape == self.probe.shape and bool(np.allclose(probe, self.probe, atol=PROBE_TOLERANCE))

    def save(self, path: str | PathLike[str]) -> None:
        """Write a file that `open` reads: safetensors, the passages among them as JSON Lines."""
        lines = "\n".join(json.dumps(dataclasses.astuple(passage), ensure_ascii=False) for passage in self.passages)
        arrays = {
            "vectors": self.vectors,
            "probe": self.probe,
            "passages": np.frombuffer(lines.encode(), np.uint8),
        }
        write_safetensors(path, arrays, {**FORMAT, "origin": self.origin})

    @classmethod
    def open(cls, path: str | PathLike[str]) -> SearchIndex:
        """Read what `save` wrote; vectors are mapped. Raises FileFormatError for any other file."""
        file = Path(path)
        arrays, notes = read_safetensors(file), read_metadata(file)
        if not FORMAT.items() <= notes.items() or set(arrays) != {"vectors", "probe", "passages"}:
            raise FileFormatError(file, "is no index of passages; tinylm search --index makes one")
        passages = [_passage(file, line) for line in bytes(arrays["passages"]).split(b"\n")]
        vectors, probe = arrays["vectors"], arrays["probe"]
        if vectors.dtype != np.float32 or probe.ndim != 1 or vectors.shape != (len(passages), len(probe)):
            raise FileFormatError(file, f"has vectors {vectors.shape} for {len(passages)} passages")
        return cls(passages, vectors, probe, notes.get("origin", ""))


def _passage(file: Path, line: bytes) -> Passage:
    match parse_json(line, file):
        case [str(text), str(source), int(number), int(start)]:
            return Passage(text, source, number, start)
    raise FileFormatError(file, f"expected a passage, received {line[:60]!r}")


def _scaled(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def passage_windows(
    tokenizer: Tokenizer, passages: Sequence[Passage], max_tokens: int
) -> tuple[list[Passage], list[np.ndarray]]:
    """Passages of at most max_tokens, and the ids of each: of a longer one as many as it needs, which overlap."""
    own, parts, rows = encoder_tokenizer(tokenizer), [], []
    room = max_tokens - len(own.inputs("", truncation=None, padding=None).ids)
    cut = Truncation(max_tokens, stride=max(room // STRIDE_SHARE, 0))
    for passage in passages:
        ids = own.inputs(passage.text, truncation=None, padding=None).ids
        if len(ids) <= max_tokens:
            parts.append(passage)
            rows.append(ids)
            continue
        for window in own.windows(passage.text, truncation=cut, padding=None):
            places = window.offsets[window.texts == 0]
            start, end = int(places[0, 0]), int(places[-1, 1])
            text = passage.text[start:end]
            parts.append(dataclasses.replace(passage, text=text, start=passage.start + start))
            rows.append(window.ids)
    return parts, rows
