"""Writing the texts of a request, step by step, for the worker to run."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from tinylm.inference import Decoder, Engine, Reader, Stream, TokenScore, Usage, log_softmax, score_token, window_start
from tinylm.lm import LM
from tinylm.models import CausalLanguageModel

from .batch import SharedBatch
from .errors import ApiError
from .fields import Prompt
from .requests import ChatRequest, CompletionRequest

__all__ = ["Author", "Piece", "Steps", "Text", "check_length", "gather"]

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


class Author:
    """Writes the texts of requests with one model. rows: texts at once. Its `step` is to be called after each round."""

    def __init__(self, lm: LM, *, rows: int, max_prompt_tokens: int):
        self._lm, self._most = lm, max_prompt_tokens
        decoder = self._decoder = lm.decoder
        causal = isinstance(decoder, (CausalLanguageModel, Engine))
        self._batch = SharedBatch(decoder, rows=rows) if causal else None

    def step(self) -> None:
        """Write a token of each text that is in the batch."""
        if self._batch is not None:
            self._batch.step()

    def completions(self, request: CompletionRequest) -> Steps:
        """The pieces of the texts one after the other; first and last what they take, in tokens."""
        lm, settings, used = self._lm, vars(request.settings), 0
        prompts = [_ids(lm, prompt, self._most) for prompt in request.prompts]
        given = sum(map(len, prompts))
        yield Usage(given, 0)
        for number, (prompt, ids) in enumerate(zip(request.prompts, prompts, strict=True)):
            reader = None if self._batch is None else Reader(self._decoder)
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
                stream = lm.stream(source, reader=reader, choice=choice, **settings)
                used += yield from self._write(index, stream, reader)
        yield Usage(given, used)

    def answers(self, request: ChatRequest) -> Steps:
        """The pieces of the answers one after the other; first and last what they take, in tokens."""
        lm, used = self._lm, 0
        if self._batch is None:
            raise ApiError(400, f"{self._decoder.architecture} does not chat, expected a causal language model")
        ids = lm.chat_ids(request.messages)
        check_length(len(ids), self._most)
        yield Usage(len(ids), 0)
        reader = Reader(self._decoder)
        yield from _read(reader, ids)
        for choice in range(request.n):
            stream = lm.chat_stream(request.messages, reader=reader, choice=choice, **vars(request.settings))
            used += yield from self._write(choice, stream, reader)
        yield Usage(len(ids), used)

    def _write(self, index: int, stream: Stream, reader: Reader | None) -> Generator[Piece | None, None, int]:
        """The pieces of one text; returns how many tokens were generated."""
        known, shown = 0, 0  # tokens and characters that have been given out
        turns = stream if self._batch is None or reader is None else self._batch.write(stream.writer, reader)
        for _ in turns:
            done = stream.completion
            if len(done.text) == shown:
                yield None
                continue
            yield Piece(index, done.text[shown:], len(done.tokens) - known, (done.scores or ())[known:])
            known, shown = len(done.tokens), len(done.text)
        done = stream.completion
        tokens = len(done.tokens)
        yield Piece(index, done.text[shown:], tokens - known, (done.scores or ())[known:], done.finish_reason)
        return tokens


def _read(reader: Reader, ids: Sequence[int]) -> Generator[None, None, None]:
    """Let the reader know the prompt, in steps, where the model looks at all of it; what is known is not read again."""
    if window_start(len(ids), reader.model.context) == 0:
        for end in range(reader.recall(ids[:-1]) + STEP, len(ids), STEP):
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
