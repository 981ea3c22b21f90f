"""Small models, and servers of them, for the tests of the server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tinylm
from tinylm.formats import save_model
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer

__all__ = ["byte_model", "running"]


def byte_model(folder: Path, *, context: int = 512, width: int = 12) -> tinylm.LM:
    """A GPT-2 of bytes with weights that are large enough for texts that vary, saved as a model folder."""
    config = GPT2Config(256, n_positions=context, n_embd=width, n_layer=1, n_head=2, initializer_range=0.3)
    save_model(folder, GPT2(config, Initializer(0)), ByteTokenizer())
    return tinylm.load(folder)


SCRIPT = """
import json, sys, tinylm
from tinylm.serving import ServerSettings, serve
settings = ServerSettings("tiny", **json.loads(sys.argv[2]))
lm = tinylm.load(sys.argv[1], **json.loads(sys.argv[3]))
serve(lm, settings, host="127.0.0.1", port=0, ready=lambda address: print(address, flush=True))
"""


@contextmanager
def running(
    folder: Path, *, load: dict[str, Any] | None = None, **settings: Any
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of its own process for the model in a folder, loaded with the settings `load`, and its address."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(folder), json.dumps(settings), json.dumps(load or {})]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address, process.stderr and process.stderr.read()
        yield process, address
    finally:
        process.kill()
        process.communicate()
