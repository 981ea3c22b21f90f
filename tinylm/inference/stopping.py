"""Ending a text where a stop string begins, without giving out what may be a part of one."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["StopStrings"]


class StopStrings:
    """Lets a text through that arrives in pieces, up to the first stop string.

    What may be the beginning of a stop string waits until it is known not to be. The stop string that is complete
    first ends the text, of several the longest. However the text is cut into pieces, what comes through is the same.
    """

    def __init__(self, stops: Sequence[str]):
        self._stops = stops
        self._waiting = ""
        self.found: str | None = None  # the stop string that ended the text

    def feed(self, piece: str) -> str:
        """The text that may be given out now. After the end, nothing."""
        if self.found is not None:
            return ""
        text = self._waiting + piece
        ends = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            _, at, self.found = min(ends)
            self._waiting = ""
            return text[:at]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._waiting = text[len(text) - kept :]
        return text[: len(text) - kept]

    def end(self) -> str:
        """What still waits, since nothing follows."""
        rest, self._waiting = self._waiting, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of the text that `stop` begins with, and goes on from."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
