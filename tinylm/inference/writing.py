"""One text that is being written: from logits to tokens, from tokens to text, and why it ends."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from types import TracebackType

import numpy as np

from tinylm.errors import TinylmError
from tinylm.text import TextStream, Tokenizer

from .completion import Candidate, Completion, FinishReason, GenerationSettings, TokenScore, Usage
from .grammar import Constraint
from .logits import log_softmax
from .sampling import Sampler
from .stopping import StopStrings

__all__ = ["Stream", "Writer", "score_token"]


class Writer:
    """Chooses each token from the logits (V,) that the model gives, until the text ends.

    ids: the tokens of the prompt, to which the new ones are added; continues: the text goes on from the prompt's, which
    matters to tokenizers that drop the space before a first word. end_ids: the tokens that end a text. choice: see
    `Sampler`. constraint: the grammar that the text keeps to. cancel: when set, the text ends before the next token.
    Raises TinylmError for an empty prompt.
    """

    def __init__(
        self,
        ids: Sequence[int] | np.ndarray,
        tokenizer: Tokenizer,
        settings: GenerationSettings,
        *,
        end_ids: Collection[int] = (),
        continues: bool = True,
        choice: int = 0,
        constraint: Constraint | None = None,
        cancel: threading.Event | None = None,
    ):
        self.ids = [int(id) for id in ids]
        if not self.ids:
            raise TinylmError("generation needs at least one token to start from; the prompt is empty")
        self.prompt, self.settings, self.accepted = len(self.ids), settings, 0
        self.sampler = Sampler(settings, choice=choice)
        self._tokenizer, self._end_ids = tokenizer, frozenset(end_ids)
        self._cancel = cancel or threading.Event()
        self._constraint, self._state = constraint, 0
        # A grammar speaks of the bytes of tokens, whatever a decoder makes of the first.
        self._stops, self._pieces = StopStrings(settings.stops), tokenizer.stream()
        if constraint is not None:
            self._pieces = TextStream(tokenizer)
        elif continues and not self._pieces.feed(self.ids[-1]):  # a part of a character: it must not come out later
            self._pieces = tokenizer.stream()
        self._text: list[str] = []
        self._scores: list[TokenScore] = []
        self._reason: FinishReason | None = None if settings.max_tokens else "length"

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the text has ended; None while it goes on."""
        if self._reason is None and self._cancel.is_set():
            self._reason = "cancelled"
        return self._reason

    def cancel(self) -> None:
        """End the text before its next token. May be called from any thread."""
        self._cancel.set()

    def distribution(self, logits: np.ndarray) -> np.ndarray:
        """The probabilities (V,) that the next token is drawn with."""
        return self.sampler.distribution(self._allowed(logits), self.ids, self.prompt)

    def take(self, logits: np.ndarray) -> str:
        """Choose the next token; the text that it completes, often "" in the middle of a character or a stop string."""
        return self.append(self.sampler(self._allowed(logits), self.ids, self.prompt), logits)

    def append(self, token: int, logits: np.ndarray) -> str:
        """Go on with this token, chosen from these logits; the text that it completes."""
        if self.settings.logprobs is not None:
            self._scores.append(score_token(self._tokenizer, token, log_softmax(logits), self.settings.logprobs))
        if token in self._end_ids:
            return self._finish("stop")
        self.ids.append(token)
        text = self._out(self._stops.feed(self._pieces.feed(token)))
        if self._stops.found is not None:
            self._reason = "stop"
        elif self._constraint is not None and self._is_complete(token):
            text += self._finish("stop")
        elif len(self.ids) - self.prompt == self.settings.max_tokens:
            text += self._finish("length")
        return text

    def close(self, reason: FinishReason) -> Completion:
        """End the text, unless it has ended."""
        if self._reason is None:
            self._finish(reason)
        return self.completion()

    def completion(self) -> Completion:
        """The text so far."""
        tokens = tuple(self.ids[self.prompt :])
        return Completion(
            "".join(self._text),
            tokens,
            self.finish_reason,
            Usage(self.prompt, len(tokens), self.accepted),
            None if self.settings.logprobs is None else tuple(self._scores),
        )

    def _allowed(self, logits: np.ndarray) -> np.ndarray:
        """The logits (V,), -inf for tokens that the grammar does not allow here."""
        if self._constraint is None:
            return logits
        allowed = np.zeros(len(logits), bool)
        mask = self._constraint.mask(self._state)
        allowed[: len(mask)] = mask
        allowed[list(self._end_ids)] = self._constraint.accepts(self._state)
        if not allowed.any():
            raise TinylmError("the vocabulary of the model cannot go on with a text of this grammar")
        return np.where(allowed, logits, -np.inf)

    def _is_complete(self, token: int) -> bool:
        """Go on in the grammar by a token; whether the text matches, and nothing may follow."""
        assert self._constraint is not None
        self._state = self._constraint.next(self._state, token)
        return self._constraint.accepts(self._state) and not self._constraint.mask(self._state).any()

    def _finish(self, reason: FinishReason) -> str:
        """End the text; what was held back of it."""
        self._reason = reason
        return self._out(self._stops.feed(self._pieces.end()) + self._stops.end())

    def _out(self, text: str) -> str:
        self._text.append(text)
        return text


def score_token(tokenizer: Tokenizer, token: int, log_p: np.ndarray, likeliest: int) -> TokenScore:
    """A token with ln p (V,) of all in its place, and the likeliest of them."""
    best = np.argsort(-log_p, kind="stable")[:likeliest]
    candidates = (Candidate(int(i), tokenizer.token(int(i)), float(np.exp(log_p[i]))) for i in best)
    return TokenScore(token, tokenizer.token(token), float(log_p[token]), tuple(candidates))


class Stream(Iterator[str]):
    """The pieces of a text as they are written, never empty and never a part of a character.

    close() ends the work, as does the end of a `with` block; `completion` is what has been written so far.
    """

    def __init__(self, writer: Writer, pieces: Iterator[str]):
        self.writer, self._pieces = writer, pieces

    def __next__(self) -> str:
        return next(piece for piece in self._pieces if piece)

    @property
    def completion(self) -> Completion:
        """The text so far with its tokens, and why it ended."""
        return self.writer.completion()

    def close(self) -> None:
        """Write no more. May be called from any thread."""
        self.writer.cancel()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
