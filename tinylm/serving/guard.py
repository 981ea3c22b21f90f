"""What every request passes: who may ask, how much, and how long it took."""

from __future__ import annotations

import hmac
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError, error_response
from .metrics import Metrics
from .settings import ServerSettings

__all__ = ["Guard"]

# Without a key one sees only the page, and whether the server is there.
OPEN = ("/", "/health")
PATHS = ("/", "/health", "/metrics", "/v1/models", "/v1/completions", "/v1/chat/completions", "/v1/embeddings")


class Guard:
    """Refuses hosts that are not the server's, wrong keys and large bodies; measures the rest. Wraps an ASGI app."""

    def __init__(self, app: ASGIApp, *, settings: ServerSettings, metrics: Metrics):
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        status, begin = "gone", time.monotonic()

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            if refusal := self._refusal(path, Headers(scope=scope)):
                await error_response(refusal)(scope, receive, noting_status)
            else:
                await self._app(scope, self._bounded(receive), noting_status)
        finally:
            self._metrics.note_request(path if path in PATHS else "other", status, time.monotonic() - begin)

    def _refusal(self, path: str, headers: Headers) -> ApiError | None:
        """Why a request is not even read."""
        hosts, key, length = self._settings.hosts, self._settings.api_key, headers.get("content-length", "0")
        if hosts is not None and (host := _host(headers)) not in hosts:
            return ApiError(400, f"the Host is {host!r:.80}, expected {' or '.join(hosts)}", code="wrong_host")
        if key is not None and path not in OPEN and not _is_key(headers, key):
            return ApiError(401, "expected the API key in 'Authorization: Bearer KEY'", code="invalid_api_key")
        if not length.isdigit() or int(length) > self._settings.max_body:
            return self._too_large()
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """A `receive` that raises ApiError when the body grows too large: its length need not be told before."""
        size = 0

        async def receive_some() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._settings.max_body:
                raise self._too_large()
            return message

        return receive_some

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the body is too large, expected at most {self._settings.max_body:,} bytes")


def _host(headers: Headers) -> str:
    """The Host header without its port."""
    host, colon, port = headers.get("host", "").rpartition(":")
    return (host if colon and port.isdigit() else headers.get("host", "")).lower()


def _is_key(headers: Headers, key: str) -> bool:
    kind, _, given = headers.get("authorization", "").partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), key.encode())
