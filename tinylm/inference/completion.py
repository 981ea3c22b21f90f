"""What a request asks for, and what came of it, under the names that OpenAI's API made familiar."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tinylm.errors import TinylmError, nearest

from .sampling import Sampling

__all__ = ["Candidate", "Completion", "FinishReason", "GenerationSettings", "TokenScore", "Usage"]

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class GenerationSettings(Sampling):
    """How a text is generated: the settings of `Sampling`, and

    max_tokens: how many tokens at most. stop: a text, or several, before which generation ends. logprobs: report the
    log-probability of each token, and so many of the likeliest in its place. regex, json_schema: the text matches, as
    by re.fullmatch or as a value of the schema, unless max_tokens cut it off (`tinylm.inference.grammar` says what of
    both is supported). speculate: "lookup" guesses tokens from what is there already, a smaller model of the same
    vocabulary by writing ahead: the same distribution, faster where the guesses are right. use_cache: False computes
    all anew for each token: the same text, slower.
    """

    max_tokens: int = 200
    stop: str | Sequence[str] = ()
    logprobs: int | None = None
    regex: str | None = None
    json_schema: Mapping[str, Any] | None = None
    speculate: Any = None
    use_cache: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_tokens", "logprobs"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 0):
                raise TinylmError(f"{name} is {value}, expected 0 or more")
        if self.regex is not None and self.json_schema is not None:
            raise TinylmError("a text keeps to a regex or to a json_schema, not to both")
        if not all(isinstance(stop, str) and stop for stop in self.stops):
            raise TinylmError(f"stop is {self.stop!r:.80}, expected texts of at least one character")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> GenerationSettings:
        """From settings by name. Raises TinylmError for one that does not exist."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in names:
                raise TinylmError(f"there is no setting {name!r} of generation{nearest(name, names)}")
        return cls(**settings)

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


@dataclass(frozen=True)
class Candidate:
    """A token that may come next: its id, its text, and its probability."""

    id: int
    text: str
    probability: float


@dataclass(frozen=True)
class TokenScore:
    """A token that was generated, and ln p of it, as the model has it before any setting of sampling.

    likeliest: the tokens that had the highest probability in its place, the highest first.
    """

    id: int
    text: str
    log_probability: float
    likeliest: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Usage:
    """What was computed. accepted_tokens: those of the completion that speculation had guessed."""

    prompt_tokens: int
    completion_tokens: int
    accepted_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Completion:
    """A generated text.

    tokens: its ids, with those of a stop string and without the token that ended it. finish_reason: "stop" for a token
    or a string that ends a text, "length" for max_tokens, "cancelled", or None while it is being written. scores: one
    for each token and for the one that ended the text, where logprobs asked for them. beam_score: what beam search
    found the text to be worth.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason | None
    usage: Usage
    scores: tuple[TokenScore, ...] | None = None
    beam_score: float | None = None
