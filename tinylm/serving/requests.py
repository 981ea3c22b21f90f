"""What clients may ask for. Each request is read, checked and named here, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinylm.inference import GenerationSettings

from .errors import ApiError
from .fields import Fields, Prompt
from .settings import ServerSettings

__all__ = ["ChatRequest", "CompletionRequest", "EmbeddingsRequest", "read_chat", "read_completion", "read_embeddings"]


@dataclass(frozen=True)
class CompletionRequest:
    """Texts that go on from each prompt, n of each. echo: begin with the prompt."""

    prompts: list[Prompt]
    n: int
    echo: bool
    stream: bool
    include_usage: bool
    settings: GenerationSettings


@dataclass(frozen=True)
class ChatRequest:
    """n answers to a conversation."""

    messages: list[dict[str, Any]]
    n: int
    stream: bool
    include_usage: bool
    settings: GenerationSettings


@dataclass(frozen=True)
class EmbeddingsRequest:
    """The vectors of texts. encoding: "float", or "base64" of float32 in little-endian order."""

    texts: list[str]
    encoding: str


def read_completion(fields: Fields, server: ServerSettings, vocabulary: int) -> CompletionRequest:
    """The request of /v1/completions. Raises ApiError."""
    _check_model(fields, server)
    prompts = fields.prompts("prompt", vocabulary, server.max_texts)
    n = fields.integer("n", 1, least=1, most=server.max_texts // len(prompts))
    fields.integer("best_of", n, least=n, most=n)
    request = CompletionRequest(
        prompts,
        n,
        fields.flag("echo"),
        *_stream(fields),
        _settings(
            fields,
            vocabulary,
            max_tokens=fields.integer("max_tokens", min(16, server.max_tokens), least=0, most=server.max_tokens),
            logprobs=fields.integer("logprobs", None, least=0, most=20),
        ),
    )
    fields.end()
    return request


def read_chat(fields: Fields, server: ServerSettings, vocabulary: int) -> ChatRequest:
    """The request of /v1/chat/completions. Raises ApiError."""
    _check_model(fields, server)
    most = fields.integer("max_tokens", server.max_tokens, least=1, most=server.max_tokens)
    most = fields.integer("max_completion_tokens", most, least=1, most=server.max_tokens)
    likeliest = fields.integer("top_logprobs", 0, least=0, most=20)
    logprobs = likeliest if fields.flag("logprobs") else None
    schema = fields.schema()
    request = ChatRequest(
        fields.messages(),
        fields.integer("n", 1, least=1, most=server.max_texts),
        *_stream(fields),
        _settings(fields, vocabulary, max_tokens=most, logprobs=logprobs, json_schema=schema),
    )
    fields.end()
    return request


def read_embeddings(fields: Fields, server: ServerSettings) -> EmbeddingsRequest:
    """The request of /v1/embeddings. Raises ApiError."""
    _check_model(fields, server)
    texts = fields.texts("input", server.max_texts)
    request = EmbeddingsRequest(texts, fields.one_of("encoding_format", "float", ("float", "base64")))
    fields.end()
    return request


def _check_model(fields: Fields, server: ServerSettings) -> None:
    name = fields.text("model", server.name)
    if name != server.name:
        message = f"there is no model {name!r:.80} here, expected {server.name!r}"
        raise ApiError(404, message, param="model", code="model_not_found")


def _stream(fields: Fields) -> tuple[bool, bool]:
    """Whether to stream, and whether its end tells the usage."""
    stream, options = fields.flag("stream"), fields.object("stream_options")
    include_usage = options.flag("include_usage")
    options.end()
    return stream, include_usage


def _settings(fields: Fields, vocabulary: int, *, max_tokens: int, **more: Any) -> GenerationSettings:
    """The settings that all generation has. Raises TinylmError for combinations that make no sense."""
    return GenerationSettings(
        temperature=fields.number("temperature", 1.0, least=0, most=100),
        top_k=fields.integer("top_k", None, least=1, most=vocabulary),
        top_p=fields.number("top_p", None, least=0, most=1),
        min_p=fields.number("min_p", None, least=0, most=1),
        typical_p=fields.number("typical_p", None, least=0, most=1),
        repetition_penalty=fields.number("repetition_penalty", 1.0, least=0.01, most=100),
        presence_penalty=fields.number("presence_penalty", 0.0, least=-100, most=100),
        frequency_penalty=fields.number("frequency_penalty", 0.0, least=-100, most=100),
        logit_bias=fields.biases(vocabulary),
        seed=fields.integer("seed", None, least=0, most=(1 << 63) - 1),
        stop=fields.stops(),
        max_tokens=max_tokens,
        **more,
    )
