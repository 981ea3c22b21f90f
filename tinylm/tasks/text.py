"""What the tasks on plain text share: its sources, their tokens, and a tokenizer learnt from them."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tinylm.data import (
    Batches,
    Corpus,
    MixedBatches,
    Progress,
    TokenSplit,
    builtin_corpus,
    open_corpus,
    tokenize_corpus,
)
from tinylm.errors import TinylmError
from tinylm.files import cache_folder
from tinylm.text import Tokenizer

from .kind import Paths, TaskKind
from .settings import INFINITY, TrainSettings, check_range
from .tokenizers import build_tokenizer

__all__ = ["Source", "TextKind", "TextSettings", "draw_batches", "load_sources", "read_corpora", "read_split"]


@dataclass(frozen=True)
class TextSettings(TrainSettings):
    """The settings of tasks on plain text. Without `data`, it is the text that every Python carries."""

    weights: tuple[float, ...] = ()  # one for each of `data`, how often a row is of it; all are one text where empty
    workers: int = 0  # processes that tokenize large data; 0 for as many as help

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights and (len(self.weights) != len(self.data) or min(self.weights) <= 0):
            raise TinylmError(f"weights is {self.weights}, expected a positive number for each of {self.data}")
        check_range("workers", self.workers, 0, INFINITY)


@dataclass(frozen=True)
class Source:
    """A text that is trained on, the share of it that is held out, and how often its turn comes.

    name: for messages and metrics; weight: of its rows among those of all sources.
    """

    name: str
    train: TokenSplit
    validation: TokenSplit
    weight: float = 1.0


class TextKind(TaskKind):
    """A task on plain text."""

    settings: TextSettings

    def read_data(self) -> None:
        self.corpus, self.corpora = read_corpora(self.settings, notify=self.notify, progress=self.progress)

    @property
    def fingerprint(self) -> str:
        return self.corpus.fingerprint()

    def learn_tokenizer(self) -> Tokenizer:
        return build_tokenizer(self.settings, self.corpus, notify=self.notify, progress=self.progress)

    def load_sources(self, tokenizer: Tokenizer) -> list[Source]:
        """The sources, their tokens from the cache or made now; kept to be described."""
        cache = cache_folder() / "tokens"
        self.sources = load_sources(self.corpora, tokenizer, self.settings, cache, progress=self.progress)
        return self.sources

    def describe(self, tokenizer: Tokenizer) -> str:
        n_tokens = sum(len(source.train) + len(source.validation) for source in self.sources)
        return f"{self.corpus.name}, {n_tokens:,} tokens of {tokenizer.vocab_size} kinds"

    def headline(self, tokenizer: Tokenizer, metrics: Mapping[str, float]) -> str:
        return f"loss {metrics['val_loss']:.4f}, accuracy {metrics['val_accuracy']:.1%}"


def read_corpora(
    settings: TextSettings, *, notify: Callable[[str], None], progress: Progress | None = None
) -> tuple[Corpus, list[Corpus]]:
    """The whole text, and the sources that batches are drawn from: itself, or with weights one for each of `data`.

    The text is read through once; notify is told what had to be left out.
    """
    open_ = partial(
        open_corpus,
        text_column=settings.text_column,
        strict=settings.strict,
        deduplicate=settings.deduplicate,
    )
    corpus = open_(settings.data) if settings.data else builtin_corpus()
    for message in corpus.survey(progress).omissions:
        notify(message)
    return corpus, [open_(path, name=path) for path in settings.data] if settings.weights else [corpus]


def read_split(
    data: Paths, tokenizer: Tokenizer, columns: Mapping[str, str | None], progress: Progress | None
) -> tuple[TokenSplit, str]:
    """All the tokens of other data, to measure a model on, and what tells them from any others.

    columns: "text_column" alone. Warns of records that are left out.
    """
    if unknown := columns.keys() - {"text_column"}:
        raise TinylmError(f"plain text has no {', '.join(sorted(unknown))}, only a text_column")
    corpus = open_corpus(data, text_column=columns.get("text_column") or "text")
    for message in corpus.survey(progress).omissions:
        warnings.warn(message, RuntimeWarning, stacklevel=4)
    tokens = tokenize_corpus(corpus, tokenizer, cache_folder() / "tokens", progress=progress)
    split, _ = tokens.split(0.0)
    digest = hashlib.blake2b(json.dumps(tokenizer.to_json(), sort_keys=True).encode(), digest_size=16)
    return split, f"{corpus.fingerprint()} by {digest.hexdigest()}"


def load_sources(
    corpora: Sequence[Corpus],
    tokenizer: Tokenizer,
    settings: TextSettings,
    cache: Path | None = None,
    *,
    progress: Progress | None = None,
) -> list[Source]:
    """A source for each corpus: its tokens, from the cache or made now, the last share held out."""
    sources = []
    for corpus, weight in zip(corpora, settings.weights or [1.0], strict=True):
        tokens = tokenize_corpus(corpus, tokenizer, cache, workers=settings.workers, progress=progress)
        sources.append(Source(corpus.name, *tokens.split(settings.validation), weight))
    return sources


def draw_batches(
    sources: Sequence[Source], make: Callable[..., Any], *, batch_size: int, context: int, seed: int
) -> tuple[Batches, list[Any]]:
    """The batches of the sources by their weights, and those of each, which `make` makes of its training split."""
    each = []
    for source in sources:
        try:
            each.append(make(source.train, batch_size=batch_size, context=context, seed=seed))
        except TinylmError as error:
            raise TinylmError(f"{source.name}: {error}") from None
    weights = [source.weight for source in sources]
    return each[0] if len(each) == 1 else MixedBatches(each, weights, batch_size=batch_size, seed=seed), each
