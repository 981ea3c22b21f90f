"""The tokenizer of a run: trained on its text, one that exists already, or the run's own when it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path

from tinylm.data import Corpus, Progress
from tinylm.data.survey import reporter
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import MODEL_FILES, open_model
from tinylm.text import (
    END_OF_TEXT,
    ByteTokenizer,
    CharTokenizer,
    Tokenizer,
    load_tokenizer,
    train_bpe,
    train_unigram,
    train_wordpiece,
)

from .settings import TOKENIZERS, TrainSettings

__all__ = ["LEARNT", "build_tokenizer", "find_tokenizer"]

# What learns a vocabulary of a size that is asked for, and what stands between two documents meanwhile.
LEARNT: dict[str, tuple[Callable[[Iterable[str], int], Tokenizer], str]] = {
    "bpe": (train_bpe, END_OF_TEXT),
    "unigram": (train_unigram, END_OF_TEXT),
    "wordpiece": (train_wordpiece, "\n"),
}


def build_tokenizer(
    settings: TrainSettings,
    corpus: Corpus,
    *,
    notify: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> Tokenizer:
    """The tokenizer that the settings name, trained on the corpus where it needs that.

    notify: told where the text gives fewer tokens than were asked for; progress: how far its reading is.
    """
    if settings.tokenizer == "chars":
        return CharTokenizer(corpus.survey().characters)
    if settings.tokenizer == "bytes":
        return ByteTokenizer()
    if settings.tokenizer not in LEARNT:
        return find_tokenizer(settings.tokenizer)
    learn, between = LEARNT[settings.tokenizer]
    tokenizer = learn(_documents(corpus, progress, between), settings.vocab_size)
    if tokenizer.vocab_size < settings.vocab_size:
        notify(
            f"the text gives a vocabulary of {tokenizer.vocab_size:,} tokens, fewer than vocab_size="
            f"{settings.vocab_size:,}: nothing else occurs twice within words"
        )
    return tokenizer


def _documents(corpus: Corpus, progress: Progress | None, between: str) -> Iterator[str]:
    """The text in pieces, with what no word crosses after each document."""
    for text, ends in corpus.pieces(on_read=reporter(progress, "learning the tokenizer", corpus.n_bytes)):
        yield text + between if ends else text


def find_tokenizer(path: str | PathLike[str]) -> Tokenizer:
    """The tokenizer in a tokenizer.json, or of a model, wherever `tinylm.formats.open_model` finds one."""
    place = Path(path)
    if place.exists() and place.suffix not in MODEL_FILES:
        in_best = place / "best" / "tokenizer.json"
        return load_tokenizer(in_best if in_best.exists() else place)
    try:
        return open_model(path).tokenizer()
    except FileFormatError:
        if place.exists():
            raise
        names = ", ".join(TOKENIZERS)
        raise TinylmError(
            f"tokenizer is {str(path)!r}: neither one of {names} nor a file or folder that exists"
        ) from None
