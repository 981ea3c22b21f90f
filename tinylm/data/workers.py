"""Blocks encoded by several processes, in order and with few of them in memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import time
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

__all__ = ["encode_blocks"]

TRIED = 4  # blocks that are encoded here, to see how fast that is, before other processes are started
FAST = 50e6  # characters a second; sending a text to another process and its ids back costs about as much

Label = TypeVar("Label")


def _cpu_count() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def encode_blocks(
    blocks: Iterator[tuple[Label, Block]], tokenizer: Tokenizer, dtype: np.dtype, workers: int
) -> Generator[tuple[Label, Encoded], None, None]:
    """The ids of each block beside its label, in the order of the blocks, encoded by so many processes.

    workers: 1 is this process alone; 0 is one for each processor, or this one alone where the tokenizer is so fast
    that others would not help, or the text is over before they have started. Raises what `encode_block` raises.
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        workers = 1  # of an app that is frozen or embeds Python, the executable is no Python that could be started
    characters, seconds = 0, 0.0
    for label, block in blocks if workers == 1 else islice(blocks, 0 if workers else TRIED):
        begin = time.perf_counter()
        encoded = encode_block(block, tokenizer, dtype)
        seconds += time.perf_counter() - begin
        characters += block.size
        yield label, encoded
    if workers == 0 and characters > FAST * seconds:
        yield from encode_blocks(blocks, tokenizer, dtype, 1)
    elif (first := next(blocks, None)) is not None:
        yield from _encode_elsewhere(chain([first], blocks), tokenizer, dtype, workers or _cpu_count())


def _encode_elsewhere(
    blocks: Iterator[tuple[Label, Block]], tokenizer: Tokenizer, dtype: np.dtype, workers: int
) -> Generator[tuple[Label, Encoded], None, None]:
    with _Pool(tokenizer, dtype, workers) as pool:
        waiting: deque[tuple[Label, Future[Encoded]]] = deque()
        for label, block in blocks:
            waiting.append((label, pool.submit(block)))
            if len(waiting) > 2 * workers:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()


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
