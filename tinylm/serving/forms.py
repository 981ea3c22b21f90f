"""The answers in the forms of OpenAI's two APIs for texts: whole, or in chunks."""

from __future__ import annotations

import math
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from tinylm.inference import TokenScore, Usage
from tinylm.text import Tokenizer

from .texts import Piece, Text

__all__ = ["ChatForm", "CompletionForm", "Form", "model_object"]

# What OpenAI writes for a token that cannot be: JSON has no infinity.
NEVER = -9999.0


def model_object(name: str, created: int) -> dict[str, Any]:
    """An entry of /v1/models."""
    return {"id": name, "object": "model", "created": created, "owned_by": "tinylm"}


class Form(ABC):
    """How one request is answered. whole, chunk: what the object calls itself; scored: logprobs were asked for."""

    prefix: str
    whole: str
    chunk: str

    def __init__(self, model: str, tokenizer: Tokenizer, *, scored: bool):
        self._tokenizer, self._scored = tokenizer, scored
        self._common = {"id": f"{self.prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}

    def answer(self, texts: Sequence[Text], usage: Usage) -> dict[str, Any]:
        """All texts in one."""
        choices = [
            self._choice(index, self._message(text.text), text.scores, text.finish_reason)
            for index, text in enumerate(texts)
        ]
        return {"object": self.whole, **self._common, "choices": choices, "usage": usage_object(usage)}

    def piece(self, piece: Piece) -> dict[str, Any]:
        """A chunk of one text."""
        choice = self._choice(piece.index, self._delta(piece), piece.scores, piece.finish_reason)
        return {"object": self.chunk, **self._common, "choices": [choice]}

    def usage(self, usage: Usage) -> dict[str, Any]:
        """The last chunk, of no text."""
        return {"object": self.chunk, **self._common, "choices": [], "usage": usage_object(usage)}

    def _choice(
        self, index: int, content: dict[str, Any], scores: Sequence[TokenScore], finish_reason: str | None
    ) -> dict[str, Any]:
        logprobs = self._logprobs(index, scores) if self._scored else None
        return {"index": index, **content, "logprobs": logprobs, "finish_reason": finish_reason}

    @abstractmethod
    def _message(self, text: str) -> dict[str, Any]:
        """A whole text."""

    @abstractmethod
    def _delta(self, piece: Piece) -> dict[str, Any]:
        """A part of a text."""

    @abstractmethod
    def _logprobs(self, index: int, scores: Sequence[TokenScore]) -> dict[str, Any]:
        """Tokens of the text `index` with their log-probabilities; a stream asks for those of each part in turn."""


class CompletionForm(Form):
    """/v1/completions."""

    prefix, whole, chunk = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, tokenizer: Tokenizer, *, scored: bool):
        super().__init__(model, tokenizer, scored=scored)
        self._offsets: dict[int, int] = {}  # how long each text is so far

    def _message(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _delta(self, piece: Piece) -> dict[str, Any]:
        return {"text": piece.text}

    def _logprobs(self, index: int, scores: Sequence[TokenScore]) -> dict[str, Any]:
        tokens, offsets, offset = [], [], self._offsets.get(index, 0)
        for score in scores:
            tokens.append(self._text(score.id))
            offsets.append(offset)
            offset += len(self._tokenizer.token_bytes(score.id).decode("utf-8", "ignore"))
        self._offsets[index] = offset
        return {
            "tokens": tokens,
            "token_logprobs": [log_probability(score) for score in scores],
            "top_logprobs": [self._likeliest(score) for score in scores],
            "text_offset": offsets,
        }

    def _likeliest(self, score: TokenScore) -> dict[str, float] | None:
        """By their texts, the token's own as well."""
        if math.isnan(score.log_probability):
            return None
        own = {self._text(score.id): max(score.log_probability, NEVER)}
        return {self._text(other.id): log_of(other.probability) for other in score.likeliest} | own

    def _text(self, id: int) -> str:
        """The text of a token; of a part of a character its bytes, since several tokens would look the same."""
        raw = self._tokenizer.token_bytes(id)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


class ChatForm(Form):
    """/v1/chat/completions."""

    prefix, whole, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, model: str, tokenizer: Tokenizer, *, scored: bool):
        super().__init__(model, tokenizer, scored=scored)
        self._begun: set[int] = set()

    def _message(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _delta(self, piece: Piece) -> dict[str, Any]:
        role = {} if piece.index in self._begun else {"role": "assistant"}
        self._begun.add(piece.index)
        return {"delta": role | ({"content": piece.text} if piece.text or role else {})}

    def _logprobs(self, index: int, scores: Sequence[TokenScore]) -> dict[str, Any]:
        return {"content": [self._entry(score) for score in scores], "refusal": None}

    def _entry(self, score: TokenScore) -> dict[str, Any]:
        likeliest = [self._token(other.id, log_of(other.probability)) for other in score.likeliest]
        return self._token(score.id, max(score.log_probability, NEVER)) | {"top_logprobs": likeliest}

    def _token(self, id: int, logprob: float) -> dict[str, Any]:
        raw = self._tokenizer.token_bytes(id)
        return {"token": raw.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(raw)}


def usage_object(usage: Usage) -> dict[str, int]:
    """What a request took, in tokens."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def log_probability(score: TokenScore) -> float | None:
    """ln p of a token; None for a first one."""
    return None if math.isnan(score.log_probability) else max(score.log_probability, NEVER)


def log_of(probability: float) -> float:
    """ln p."""
    return math.log(probability) if probability > 0 else NEVER
