"""Sending what a job brings forth: at once, or as server-sent events, and no longer than the client is there."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from tinylm.inference import Usage

from .errors import error_response
from .forms import Form
from .metrics import Metrics, Watch
from .texts import Piece, gather
from .worker import Job

__all__ = ["Answer", "unless_gone"]

# A comment goes out after so many seconds without a piece: proxies keep the connection, and one that is dead shows.
HEARTBEAT = 15.0
STREAM_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work; when the client leaves, or this is cancelled, cancel it. The body must have been read."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()  # raises what it raised
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Answer:
    """A response, as ASGI has it: the texts of a job in a form, and last what they took.

    Errors before the first step is done are raised, so that they become a status; later ones become an event.
    """

    def __init__(self, job: Job[Piece | Usage], form: Form, metrics: Metrics, *, stream: bool, include_usage: bool):
        self._job, self._form, self._watch = job, form, Watch(metrics, job)
        self._stream, self._include_usage = stream, include_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._job:
            await unless_gone(receive, self._send_stream(send) if self._stream else self._send_whole(scope, send))

    async def _begin(self) -> None:
        """Wait until the prompt is understood: what is wrong with it is raised here."""
        usage = await anext(self._job)
        assert isinstance(usage, Usage)
        self._watch.note_prompt(usage)

    async def _send_whole(self, scope: Scope, send: Send) -> None:
        await self._begin()
        pieces: list[Piece] = []
        async for value in self._job:
            if isinstance(value, Piece):
                self._watch.note_piece(value)
                pieces.append(value)
            else:
                await JSONResponse(self._form.answer(gather(pieces), value))(scope, _nothing, send)

    async def _send_stream(self, send: Send) -> None:
        await self._begin()
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        try:
            while (value := await self._next()) is not None:
                await _send_part(send, self._event(value))
            await _send_part(send, b"data: [DONE]\n\n")
        except Exception as error:
            response = error_response(error)
            if response.status_code == 500:
                logging.getLogger("tinylm").exception("a stream failed")
            await _send_part(send, b"data: %b\n\n" % bytes(response.body))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _event(self, value: Piece | Usage | bytes) -> bytes:
        """What stands in the stream for a value."""
        if isinstance(value, bytes):
            return value
        if isinstance(value, Piece):
            self._watch.note_piece(value)
            return _event(self._form.piece(value))
        return _event(self._form.usage(value)) if self._include_usage else b""

    async def _next(self) -> Piece | Usage | bytes | None:
        """What comes next: a part of the answer, a heartbeat, or None at the end."""
        try:
            async with asyncio.timeout(HEARTBEAT):
                return await anext(self._job, None)
        except TimeoutError:
            return b": still there\n\n"


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


async def _send_part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _nothing() -> Any:
    raise AssertionError("a JSON response reads nothing")
