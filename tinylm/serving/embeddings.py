"""The vectors of texts, in the form of OpenAI's /v1/embeddings."""

from __future__ import annotations

import base64
from collections.abc import Generator
from typing import Any, TypeAlias

import numpy as np
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from tinylm.inference import Usage
from tinylm.lm import LM

from .answers import unless_gone
from .metrics import Metrics, Watch
from .requests import EmbeddingsRequest
from .texts import check_length
from .worker import Job

__all__ = ["EmbeddingsAnswer", "embed"]

# Texts that go through the model in one step, before others have their turn.
BATCH = 8

Vectors: TypeAlias = Usage | np.ndarray


def embed(lm: LM, request: EmbeddingsRequest, max_prompt_tokens: int) -> Generator[Vectors | None, None, None]:
    """First what the texts take, in tokens, then their vectors, (N, C) for some at a time."""
    lengths = [len(lm.tokenizer.encode(text)) for text in request.texts]
    check_length(max(lengths), max_prompt_tokens)
    yield Usage(sum(lengths), 0)
    for first in range(0, len(lengths), BATCH):
        yield lm.embed(request.texts[first : first + BATCH])


class EmbeddingsAnswer:
    """A response, as ASGI has it, of the vectors that a job brings forth."""

    def __init__(self, job: Job[Vectors], request: EmbeddingsRequest, model: str, metrics: Metrics):
        self._job, self._request, self._model, self._watch = job, request, model, Watch(metrics, job)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._job:
            await unless_gone(receive, self._send(scope, receive, send))

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        usage, rows = Usage(0, 0), []
        async for value in self._job:
            if isinstance(value, Usage):
                usage = value
            else:
                rows += [self._encoded(row) for row in value]
        self._watch.note_prompt(usage)
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        tokens = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
        body = {"object": "list", "data": data, "model": self._model, "usage": tokens}
        await JSONResponse(body)(scope, receive, send)

    def _encoded(self, row: np.ndarray) -> Any:
        if self._request.encoding == "base64":
            return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
        return row.tolist()
