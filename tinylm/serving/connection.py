"""Connections of clients that are too many, too slow, or gone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import error_body

__all__ = ["connection_class"]


def connection_class(*, most: int, patience: float) -> type[H11Protocol]:
    """A protocol for uvicorn: at most so many connections, and of each a whole request in so many seconds.

    One that takes nothing of its answer for as long is cut off, too: its request then ends like that of a client that
    has left. uvicorn itself bounds only the time between two requests.
    """
    body = json.dumps(error_body(429, f"{most} connections are open; try again later", code="too_many_connections"))
    refusal = (
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()

    class Connection(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            if len(self.connections) < most:
                super().connection_made(transport)
                self._await_client()
            else:
                self.transport = transport
                transport.write(refusal)
                transport.close()

        def connection_lost(self, error: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(error)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
                self._await_client()
            else:
                self._stop_waiting()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._await_client()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_waiting()

        def _await_client(self) -> None:
            """Cut the connection unless the client does something within its time."""
            if self._deadline is None:
                self._deadline = self.loop.call_later(patience, self.transport.abort)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Connection
