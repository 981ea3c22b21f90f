"""One thread that owns the model, and works on the jobs of many clients in rounds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

from .errors import ApiError

__all__ = ["Job", "Worker"]

T = TypeVar("T")


class Worker:
    """Runs generators step by step: a step of each that is active, in rounds, so that a short job passes a long one.

    after_round: what the jobs have done for all of them together, after each of them has had its step.
    A job beyond `active` waits, first come, first served; beyond `waiting` of those, one is refused. All of a job, from
    its first step to its closing, happens in this thread.
    """

    def __init__(self, *, active: int, waiting: int, after_round: Callable[[], None] | None = None):
        self._most_active, self._most_waiting, self._after_round = active, waiting, after_round
        self._waiting: deque[Job[Any]] = deque()
        self._active: list[Job[Any]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="tinylm-model", daemon=True)
        self._thread.start()

    def submit(self, steps: Generator[T | None, None, None]) -> Job[T]:
        """A job of these steps; what a step yields, unless None, comes out of it. Raises ApiError 429 when all wait.

        Must be called in the event loop that reads the job.
        """
        job: Job[T] = Job(steps, self)
        with self._changed:
            if self._closed:
                raise ApiError(503, "the server is stopping")
            if len(self._waiting) >= self._most_waiting:
                raise ApiError(429, f"{self._most_waiting} requests are waiting; try again later", code="queue_full")
            self._waiting.append(job)
            self._changed.notify()
        return job

    @property
    def active(self) -> int:
        """How many jobs are worked on."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        """How many jobs wait to be worked on."""
        return len(self._waiting)

    def close(self) -> None:
        """End all jobs, and the thread after its step."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def withdraw(self, job: Job[Any]) -> None:
        """Take a cancelled job out of those that wait; an active one ends before its next step."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)

    def _run(self) -> None:
        while self._admit():
            going_on = [job for job in self._active if job.step()]
            with self._changed:
                self._active = going_on
            if self._after_round is not None:
                self._after_round()
        for job in [*self._active, *self._waiting]:
            job.fail(ApiError(503, "the server is stopping"))

    def _admit(self) -> bool:
        """Wait until there is something to do, and let in what has room; False when the worker is closed."""
        with self._changed:
            while not (self._closed or self._active or self._waiting):
                self._changed.wait()
            while self._waiting and len(self._active) < self._most_active:
                self._active.append(self._waiting.popleft())
            return not self._closed


class Job(Generic[T]):
    """What comes out of a generator that the worker runs, for one reader in an event loop.

        async with worker.submit(steps) as job:
            async for value in job: ...

    Leaving the block ends the work: before the next step, or before the first one where the job still waits.
    """

    def __init__(self, steps: Generator[T | None, None, None], worker: Worker):
        self._steps, self._worker = steps, worker
        self._loop = asyncio.get_running_loop()
        self._values: asyncio.Queue[T | BaseException] = asyncio.Queue()
        self._cancelled = threading.Event()
        self.submitted = time.monotonic()
        self.started: float | None = None  # when the worker came to it

    async def __aenter__(self) -> Job[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._cancelled.set()
        self._worker.withdraw(self)

    def __aiter__(self) -> Job[T]:
        return self

    async def __anext__(self) -> T:
        value = await self._values.get()
        if isinstance(value, BaseException):
            self._values.put_nowait(value)  # for whoever asks again
            raise value
        return value

    def step(self) -> bool:
        """Work on it once, in the worker's thread; False when there is no more to do."""
        self.started = self.started or time.monotonic()
        try:
            if self._cancelled.is_set():
                self._steps.close()
                return False
            value = next(self._steps)
        except StopIteration:
            return self.fail(StopAsyncIteration())
        except Exception as error:  # of this job alone: the others go on
            return self.fail(error)
        return value is None or self._give(value)

    def fail(self, error: BaseException) -> bool:
        """Tell the reader of an error; False."""
        self._give(error)
        return False

    def _give(self, value: T | BaseException) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._values.put_nowait, value)
        except RuntimeError:  # the loop is closed: nobody reads any more
            return False
        return True
