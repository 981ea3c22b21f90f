"""Ctrl-C and SIGTERM as a wish that the loop can see, so that it saves before it stops."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupts"]


class Interrupts:
    """While it is entered, the first SIGINT or SIGTERM only sets `requested`; the second ends the process.

        with Interrupts() as interrupts:
            while not interrupts.requested: ...

    requested: "SIGINT" or "SIGTERM", None before. The second signal meets the system's own handler, so it
    works also inside a kernel and the exit status tells of the signal. The handlers that were there before
    come back on exit. Outside the main thread, where Python sets no handlers, it does nothing; a signal that
    the parent had ignored (nohup, a background job) stays ignored.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        self.requested = None
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM"):
                self._take(getattr(signal, name, None))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())

    def _take(self, number: int | None) -> None:
        if number is None:
            return
        previous = signal.getsignal(number)
        if previous not in (signal.SIG_IGN, None):  # None: set outside Python, which could not restore it
            self._previous[number] = previous
            signal.signal(number, self._on_first)

    def _on_first(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        for handled in self._previous:
            signal.signal(handled, signal.SIG_DFL)
