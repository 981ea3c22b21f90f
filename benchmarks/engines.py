"""Processes that take training steps when asked, so that engines can take turns in one benchmark.

Each engine runs with the environment it is used with; while one works, the others sleep.
"""

from __future__ import annotations

import multiprocessing
import platform
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Engine", "keep_freed_memory", "peak_megabytes", "serve"]


class Engine:
    """A worker process that takes steps when asked."""

    def __init__(self, worker: Callable[..., None], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=worker, args=(theirs, *arguments), daemon=True)
        self._process.start()

    def ask(self, steps: int) -> dict[str, Any]:
        """Take that many steps; what came of them."""
        self._pipe.send(steps)
        return self._pipe.recv()

    def close(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join()


def serve(pipe: Any, step: Callable[[], float]) -> None:
    """Answer questions until there are no more; the first answer warms up."""
    while (steps := pipe.recv()) is not None:
        losses, seconds = [], []
        for _ in range(steps):
            begin = time.perf_counter()
            losses.append(step())
            seconds.append(time.perf_counter() - begin)
        pipe.send({"losses": losses, "seconds": seconds, "peak_mb": peak_megabytes()})


def peak_megabytes() -> float:
    """The most memory the process has held, where the system says."""
    try:
        import resource
    except ImportError:
        return float("nan")
    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20


def keep_freed_memory() -> None:
    """Tune the C library's allocator as `tinylm.prepare_process` does, for whichever engine runs here."""
    from tinylm.process import prepare_process

    prepare_process()
