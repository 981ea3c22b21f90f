"""Writing the texts of a request, step by step, for the worker to run."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from tinylm.inference import Decoder, Reader, Stream, TokenScore, Usage, log_softmax, score_token, window_start
from tinylm.lm import LM
from tinylm.models import EncoderDecoder

from .errors import ApiError
from .fields import Prompt
from .requests import ChatRequest, CompletionRequest

__all__ = ["Piece", "Steps", "Text", "check_length", "gather", "write_answers", "write_completions"]

# Tokens that are read in one step: after it, others have their turn, or the work ends because the client has left.
STEP = 128

Steps = Generator["Piece | Usage | None", None, None]


@dataclass(frozen=True)
class Piece:
    """A part of one of the request's texts.

    index: which text. tokens: how many were generated for it. scores: of its tokens, where they were asked for; a
    first token, which nothing goes before, has the log-probability NaN.
    """

    index: int
    text: str
    tokens: int = 0
    scores: tuple[TokenScore, ...] = ()
    finish_reason: str | None = None


@dataclass
class Text:
    """All pieces of a text."""

    text: str
    scores: list[TokenScore]
    finish_reason: str | None = None


def gather(pieces: Sequence[Piece]) -> list[Text]:
    """The texts in their order."""
    texts = [Text("", []) for _ in {piece.index for piece in pieces}]
    for piece in pieces:
        text = texts[piece.index]
        text.text += piece.text
        text.scores += piece.scores
        text.finish_reason = piece.finish_reason or text.finish_reason
    return texts


def write_completions(lm: LM, request: CompletionRequest, max_prompt_tokens: int) -> Steps:
    """The pieces of the texts one after the other; first and last what they take, in tokens."""
    settings, used = vars(request.settings), 0
    prompts = [_ids(lm, prompt, max_prompt_tokens) for prompt in request.prompts]
    given = sum(map(len, prompts))
    yield Usage(given, 0)
    for number, (prompt, ids) in enumerate(zip(request.prompts, prompts, strict=True)):
        reader = None if isinstance(lm.decoder, EncoderDecoder) else Reader(lm.decoder)
        scores: tuple[TokenScore, ...] = ()
        if request.echo and request.settings.logprobs is not None and ids:
            scores = yield from _score(lm, reader, ids, request.settings.logprobs)
        elif reader is not None:
            yield from _read(reader, ids)
        for choice in range(request.n):
            index = number * request.n + choice
            if request.echo:
                yield Piece(index, prompt if isinstance(prompt, str) else lm.tokenizer.decode(prompt), 0, scores)
            source = prompt if reader is None else ids or ""
            used += yield from _write(index, lm.stream(source, reader=reader, choice=choice, **settings))
    yield Usage(given, used)


def write_answers(lm: LM, request: ChatRequest, max_prompt_tokens: int) -> Steps:
    """The pieces of the answers one after the other; first and last what they take, in tokens."""
    ids, used = lm.chat_ids(request.messages), 0
    check_length(len(ids), max_prompt_tokens)
    yield Usage(len(ids), 0)
    reader = Reader(lm.decoder)
    yield from _read(reader, ids)
    for choice in range(request.n):
        stream = lm.chat_stream(request.messages, reader=reader, choice=choice, **vars(request.settings))
        used += yield from _write(choice, stream)
    yield Usage(len(ids), used)


def _write(index: int, stream: Stream) -> Generator[Piece, None, int]:
    """The pieces of one text; returns how many tokens were generated."""
    known = 0
    for text in stream:
        done = stream.completion
        yield Piece(index, text, len(done.tokens) - known, (done.scores or ())[known:])
        known = len(done.tokens)
    done = stream.completion
    yield Piece(index, "", len(done.tokens) - known, (done.scores or ())[known:], done.finish_reason)
    return done.usage.completion_tokens


def _read(reader: Reader, ids: Sequence[int]) -> Generator[None, None, None]:
    """Let the reader know the prompt, in steps, where the model looks at all of it."""
    if window_start(len(ids), reader.model.context) == 0:
        for end in range(STEP, len(ids), STEP):
            reader.logits(ids[:end])
            yield None


def _score(
    lm: LM, reader: Reader | None, ids: Sequence[int], likeliest: int
) -> Generator[None, None, tuple[TokenScore, ...]]:
    """The tokens of a prompt, each with its probability given those before it, as `lm.score` has them."""
    if reader is None:
        raise ApiError(400, f"{lm.decoder.architecture} gives a source no probabilities", param="echo")
    scores = [TokenScore(ids[0], lm.tokenizer.token(ids[0]), math.nan)]
    while (start := len(scores) - 1) < len(ids) - 1:
        end = min(start + _room(reader.model, start), len(ids) - 1)
        log_p = log_softmax(reader.logits(ids[:end], end - start))
        scores += [score_token(lm.tokenizer, ids[at + 1], log_p[at - start], likeliest) for at in range(start, end)]
        yield None
    return tuple(scores)


def _room(model: Decoder, start: int) -> int:
    """How many tokens from `start` on are read in one step: no more than the model sees in the same window."""
    seen = start - window_start(start + 1, model.context)
    return STEP if model.context is None else min(STEP, model.context - seen)


def _ids(lm: LM, prompt: Prompt, most: int) -> list[int]:
    ids: Any = lm.tokenizer.encode(prompt).tolist() if isinstance(prompt, str) else prompt
    check_length(len(ids), most)
    return ids


def check_length(length: int, most: int) -> None:
    """Raises ApiError for a prompt of too many tokens."""
    if length > most:
        raise ApiError(400, f"the prompt has {length} tokens, expected at most {most}", code="context_length_exceeded")
