"""Running the app, until a signal comes."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from tinylm.lm import LM

from .app import create_app
from .connection import connection_class
from .settings import ServerSettings

__all__ = ["serve"]


def serve(lm: LM, settings: ServerSettings, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer requests until SIGTERM or Ctrl-C; then those that have begun end, if they do within the grace.

    port: 0 takes a free one. ready: told the address when clients can connect. Raises OSError where the address cannot
    be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=settings.max_connections)
    config = uvicorn.Config(
        create_app(lm, settings),
        http=connection_class(most=settings.max_connections, patience=settings.patience),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=round(settings.grace),
    )
    name = f"[{host}]" if ":" in host else host
    with _stopping_quietly():
        ready(f"http://{name}:{listening.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def _stopping_quietly() -> Iterator[None]:
    """uvicorn raises the signals that stopped it once more, for handlers of ours: they have done their work by then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
