"""The app: OpenAI's API and the chat page over one model."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tinylm.lm import LM

from .answers import Answer
from .embeddings import EmbeddingsAnswer, Vectors, embed
from .errors import ApiError, handlers
from .fields import read_fields
from .forms import ChatForm, CompletionForm, Form, model_object
from .guard import Guard
from .metrics import Metrics
from .page import page_response
from .requests import ChatRequest, CompletionRequest, read_chat, read_completion, read_embeddings
from .settings import ServerSettings
from .texts import Author, Steps
from .worker import Job, Worker

__all__ = ["create_app"]


def create_app(lm: LM, settings: ServerSettings) -> Starlette:
    """An ASGI app over a model, to be run by itself or mounted in another app; it answers until that one stops.

    A mounted app learns of no end: its thread then ends with the process.
    """
    return _Api(lm, settings).app


class _Api:
    """What the routes share."""

    def __init__(self, lm: LM, settings: ServerSettings):
        self._lm, self._settings, self._created = lm, settings, int(time.time())
        self._author = Author(lm, rows=settings.max_active, max_prompt_tokens=settings.max_prompt_tokens)
        limits = {"active": settings.max_active, "waiting": settings.max_waiting}
        self._worker = Worker(**limits, after_round=self._author.step)
        self._metrics = Metrics(self._worker)
        self.app = Starlette(
            routes=[
                Route("/", page_response),
                Route("/health", self._health),
                Route("/metrics", self._show_metrics),
                Route("/v1/models", self._models),
                Route("/v1/models/{name:path}", self._model),
                Route("/v1/completions", self._complete, methods=["POST"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/embeddings", self._embed, methods=["POST"]),
            ],
            middleware=[Middleware(Guard, settings=settings, metrics=self._metrics)],
            exception_handlers=handlers,
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        self._worker.close()

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "active": self._worker.active, "waiting": self._worker.waiting})

    async def _show_metrics(self, request: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [model_object(self._settings.name, self._created)]})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name != self._settings.name:
            raise ApiError(404, f"there is no model {name!r:.80} here", param="model", code="model_not_found")
        return JSONResponse(model_object(name, self._created))

    async def _complete(self, request: Request) -> Answer:
        asked = read_completion(await read_fields(request), self._settings, self._lm.tokenizer.vocab_size)
        return self._answer(asked, self._author.completions(asked), CompletionForm)

    async def _chat(self, request: Request) -> Answer:
        asked = read_chat(await read_fields(request), self._settings, self._lm.tokenizer.vocab_size)
        return self._answer(asked, self._author.answers(asked), ChatForm)

    def _answer(self, asked: CompletionRequest | ChatRequest, steps: Steps, form: type[Form]) -> Answer:
        return Answer(
            self._worker.submit(steps),
            form(self._settings.name, self._lm.tokenizer, scored=asked.settings.logprobs is not None),
            self._metrics,
            stream=asked.stream,
            include_usage=asked.include_usage,
        )

    async def _embed(self, request: Request) -> EmbeddingsAnswer:
        asked = read_embeddings(await read_fields(request), self._settings)
        job: Job[Vectors] = self._worker.submit(embed(self._lm, asked, self._settings.max_prompt_tokens))
        return EmbeddingsAnswer(job, asked, self._settings.name, self._metrics)
