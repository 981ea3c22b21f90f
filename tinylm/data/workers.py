"""Blocks encoded by several processes, in order and with few of them in memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from queue import SimpleQueue
from typing import IO, Any, TypeVar, cast

import numpy as np

from ..errors import TinylmError
from ..text import Tokenizer
from .encoding import Block, Encoded, encode_block

__all__ = ["cpu_count", "encode_blocks"]

PARALLEL_FROM = 4  # blocks; fewer are encoded before another process has started

Label = TypeVar("Label")
T = TypeVar("T")


def cpu_count() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def encode_blocks(
    blocks: Iterator[tuple[Label, Block]], tokenizer: Tokenizer, dtype: np.dtype, workers: int
) -> Generator[tuple[Label, Encoded], None, None]:
    """The ids of each block beside its label, in the order of the blocks, encoded by so many processes.

    A few blocks, and one worker, are encoded in this process. Raises what `encode_block` raises.
    """
    first = deque(islice(blocks, PARALLEL_FROM))
    few = len(first) < PARALLEL_FROM
    blocks = chain(_drained(first), blocks)
    if workers == 1 or few:
        for label, block in blocks:
            yield label, encode_block(block, tokenizer, dtype)
        return
    with _Pool(tokenizer, dtype, workers) as pool:
        waiting: deque[tuple[Label, Future[Encoded]]] = deque()
        for label, block in blocks:
            waiting.append((label, pool.submit(block)))
            if len(waiting) > 2 * workers:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()


def _drained(queue: deque[T]) -> Iterator[T]:
    while queue:
        yield queue.popleft()


class _Pool:
    """Processes, and a thread for each that talks to it."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype, workers: int):
        try:
            start = pickle.dumps((tokenizer, dtype), pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TinylmError(f"{tokenizer!r} cannot be sent to another process ({error}); use workers=1") from None
        self._processes = [_Process(start) for _ in range(workers)]
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(workers)

    def submit(self, block: Block) -> Future[Encoded]:
        return self._threads.submit(self._encode, block)

    def _encode(self, block: Block) -> Encoded:
        process = self._idle.get()
        try:
            return process.encode(block)
        finally:
            self._idle.put(process)

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown(wait=error[0] is None, cancel_futures=True)
        for process in self._processes:
            process.end()


class _Process:
    def __init__(self, start: bytes):
        search = os.pathsep.join(path for path in sys.path if path)  # what this process can import, the other can
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tinylm.data.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search},
        )
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)
        with contextlib.suppress(BrokenPipeError):  # it has ended: the first answer tells
            self._requests.write(start)

    def encode(self, block: Block) -> Encoded:
        try:
            pickle.dump(block, self._requests, pickle.HIGHEST_PROTOCOL)
            self._requests.flush()
            answer: Any = pickle.load(self._answers)
        except (EOFError, OSError, pickle.UnpicklingError):
            status = self._process.wait()
            raise TinylmError(
                f"a process that tokenizes ended with status {status}: there may be too little memory; what is done is "
                "kept: start again, with fewer workers"
            ) from None
        if isinstance(answer, str):
            raise TinylmError(answer)
        return cast(Encoded, answer)

    def end(self) -> None:
        """A process ends when its input does; one that is still at work is ended."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._answers.close()
