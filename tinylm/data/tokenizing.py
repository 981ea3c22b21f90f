"""A corpus as token ids in a folder, made once: in bounded memory, by several processes, and kept whatever stops it.

    KEY/00000.tokens, 00001.tokens, ...   the shards, each of the ids of so many characters (see `shards.py`)
    KEY/index.json                        written last: the count of ids, the sizes and times of the shards

KEY goes by the documents and the tokenizer. What a kill leaves are whole shards: the next start makes those that lack.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from ..errors import FileFormatError, TinylmError
from ..files import cache_folder, read_json, write_atomically
from ..text import Tokenizer
from .corpora import Corpus
from .encoding import BLOCK, Block, Encoded, cut_into_blocks, encode_block
from .readers.archives import OnRead
from .shards import VERSION, Shard, open_shard, write_shard
from .survey import Progress, reporter
from .tokens import CorpusTokens, ShardedIds
from .workers import encode_blocks

__all__ = ["tokenize_corpus"]

SHARD = 1 << 26  # characters of a shard
MAX_IN_MEMORY = 64 << 20  # bytes of ids that are kept in memory where the cache cannot be written


def tokenize_corpus(
    corpus: Corpus,
    tokenizer: Tokenizer,
    cache: Path | None = None,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> CorpusTokens:
    """The tokens of a corpus: from the cache, or made in bounded memory and kept there.

    cache: a folder, made where it is missing; None is `cache_folder()`/tokens. What is there goes by the content of the
    corpus and the tokenizer, so a change in either makes another; a damaged shard is made anew. workers: processes that
    encode, 0 for as many as help. progress: told of the bytes that are read.
    Where the cache cannot be written, up to 64 MiB of ids stay in memory, with a RuntimeWarning; more is a
    TinylmError. Raises TinylmError for text that the tokenizer cannot express.
    """
    if workers < 0:
        raise TinylmError(f"workers must be 0 or more, received {workers}")
    corpus.survey(progress)
    made = _Folder(cache_folder() / "tokens" if cache is None else Path(cache), corpus, tokenizer)
    try:
        shards = made.open() or made.make(workers, progress)
    except OSError as error:
        shards = [_in_memory(corpus, tokenizer, made.dtype, error)]
    return _joined(shards, tokenizer)


class _Folder:
    """The shards of a corpus as one tokenizer makes them."""

    def __init__(self, cache: Path, corpus: Corpus, tokenizer: Tokenizer):
        self.corpus, self.tokenizer = corpus, tokenizer
        self.dtype = np.min_scalar_type(tokenizer.vocab_size - 1).newbyteorder("<")
        parts = [VERSION, SHARD, BLOCK, corpus.fingerprint(), tokenizer.to_json()]
        self.key = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode("utf-8"), digest_size=16).digest()
        self.path = cache / self.key.hex()

    def open(self) -> list[Shard] | None:
        """The shards where all are there; one whose size or time is not as it was written is read and verified."""
        try:
            index = read_json(self.path / "index.json")
            shards = [
                self._open_shard(number, verify=self._state(number) != state)
                for number, state in enumerate(index["shards"])
            ]
            return shards if _count(shards) == index["tokens"] else None
        except (OSError, FileFormatError, TypeError, KeyError):
            return None  # not there yet, or damaged

    def make(self, workers: int, progress: Progress | None) -> list[Shard]:
        """Write the shards that are not there whole, then the index. Raises OSError where the disk fails."""
        self.path.mkdir(parents=True, exist_ok=True)
        there = [int(path.stem) for path in self.path.glob("*.tokens") if path.stem.isdigit()]
        numbers = {number for number in there if self._is_whole(number)}
        missing = self._missing_blocks(frozenset(numbers), reporter(progress, "tokenizing", self.corpus.n_bytes))
        with closing(encode_blocks(missing, self.tokenizer, self.dtype, workers)) as encoded:
            for number, labelled in groupby(encoded, key=itemgetter(0)):
                parts = (part for _, part in labelled)
                write_shard(self._name(number), parts, self.dtype, number, self.key, self.corpus.check_unchanged)
                numbers.add(number)
        shards = [self._open_shard(number, verify=False) for number in sorted(numbers)]
        states = [self._state(number) for number in sorted(numbers)]
        index = {"format": "tinylm tokens", "version": VERSION, "tokens": _count(shards), "shards": states}
        write_atomically(self.path / "index.json", json.dumps(index, indent=1).encode("ascii"))
        return shards

    def _missing_blocks(self, whole: frozenset[int], on_read: OnRead) -> Iterator[tuple[int, Block]]:
        """The blocks of the text with the number of their shard, without those of shards that are whole."""
        number = filled = 0
        for block in cut_into_blocks(self.corpus.pieces(on_read=on_read), self.tokenizer):
            if filled >= SHARD:
                number, filled = number + 1, 0
            filled += block.size
            if number not in whole:
                yield number, block

    def _is_whole(self, number: int) -> bool:
        try:
            self._open_shard(number, verify=True)
        except (OSError, FileFormatError):
            return False
        return True

    def _open_shard(self, number: int, *, verify: bool) -> Shard:
        return open_shard(self._name(number), self.dtype, number, self.key, verify=verify)

    def _name(self, number: int) -> Path:
        return self.path / f"{number:05}.tokens"

    def _state(self, number: int) -> dict[str, int]:
        """What shows that a shard is as it was when it was written."""
        stat = self._name(number).stat()
        return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _count(shards: list[Shard]) -> int:
    return sum(len(shard.ids) for shard in shards)


def _joined(shards: list[Shard], tokenizer: Tokenizer) -> CorpusTokens:
    """The shards as one row of ids."""
    starts = np.cumsum([0, *(len(shard.ids) for shard in shards[:-1])])
    ends = [shard.ends.astype(np.int64) + start for shard, start in zip(shards, starts, strict=True)]
    ids = shards[0].ids if len(shards) == 1 else ShardedIds([shard.ids for shard in shards])
    return CorpusTokens(ids, tokenizer.byte_lengths(), np.concatenate(ends))


def _in_memory(corpus: Corpus, tokenizer: Tokenizer, dtype: np.dtype, error: OSError) -> Shard:
    parts: list[Encoded] = []
    count = size = 0
    for block in cut_into_blocks(corpus.pieces(), tokenizer):
        ids, ends = encode_block(block, tokenizer, dtype)
        parts.append((ids, ends + np.uint64(count)))
        count, size = count + len(ids), size + ids.nbytes
        if size > MAX_IN_MEMORY:
            raise TinylmError(
                f"the tokens of {corpus.name} cannot be cached ({error}) and are too many to keep in memory; "
                "free some space, or choose another cache folder"
            ) from error
    message = f"the tokens of {corpus.name} cannot be cached ({error}); they are made again in each run"
    warnings.warn(message, RuntimeWarning, stacklevel=3)
    ids, ends = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    ids.flags.writeable = False
    return Shard(ids, ends)
