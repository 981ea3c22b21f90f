"""tinylm serve: a model behind OpenAI's API."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import tinylm
from tinylm.errors import TinylmError
from tinylm.extras import import_extra

__all__ = ["add_to", "run"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "serve",
        help="answer OpenAI's API and show a chat page",
        description="Serve a model: a chat page at /, OpenAI's API under /v1, /health and /metrics.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, a .gguf or .npz file, owner/name")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="the port; 0 takes a free one (8000)")
    parser.add_argument("--name", metavar="NAME", help="the model's name in requests (the name of its folder or file)")
    parser.add_argument("--api-key", metavar="KEY", help="what clients must send; better in $TINYLM_API_KEY")
    parser.add_argument("--allow-host", action="append", metavar="NAME", help="a further name in the Host header")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="at most so many tokens of one text (4096)")
    parser.add_argument("--max-prompt-tokens", type=int, metavar="N", help="at most so many of a prompt (32768)")
    parser.add_argument("--max-active", type=int, metavar="N", help="requests that are worked on at once (8)")
    parser.add_argument("--max-waiting", type=int, metavar="N", help="requests that wait, before one is refused (128)")
    parser.add_argument("--max-connections", type=int, metavar="N", help="connections open at once (512)")
    parser.add_argument("--max-body", type=int, metavar="BYTES", help="bytes of a request (4194304)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    for package in ("uvicorn", "starlette", "prometheus_client"):
        import_extra(package, "tinylm serve")
    from tinylm.serving import ServerSettings, serve

    limits = {name: value for name, value in vars(options).items() if name.startswith("max_") and value is not None}
    for name, value in limits.items():
        if value < 1:
            raise TinylmError(f"--{name.replace('_', '-')} is {value}, expected at least 1")
    lm = tinylm.load(options.model)
    print(f"loading {options.model} ...", flush=True)
    _ = lm.decoder, lm.tokenizer  # what is wrong with the files shows now
    settings = ServerSettings(
        name=options.name or Path(options.model).resolve().name,
        api_key=options.api_key or os.environ.get("TINYLM_API_KEY") or None,
        hosts=_hosts(options.host, options.allow_host or []),
        **limits,
    )

    def ready(address: str) -> None:
        print(
            f"{settings.name}: a chat page at {address} and OpenAI's API at {address}/v1; Ctrl-C stops it", flush=True
        )

    serve(lm, settings, host=options.host, port=options.port, ready=ready)


def _hosts(host: str, more: list[str]) -> tuple[str, ...] | None:
    """The names under which the server is known; any, where it listens to other machines and none is told."""
    if host in LOOPBACK:
        return ("127.0.0.1", "localhost", "[::1]", *more)
    return tuple(more) or None
