"""Augmentation as settings: which changes a task makes in the texts that it learns from, and what they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from tinylm.baselines import split_sentences
from tinylm.data import pad_rows
from tinylm.data.augment import (
    BackTranslation,
    Change,
    Compose,
    DeleteWords,
    KeyboardNoise,
    ReplaceByContext,
    ReplaceBySynonym,
    Sometimes,
    SwapWords,
    Typos,
    read_mythes,
    read_wordnet,
)
from tinylm.data.augment.units import split_units
from tinylm.errors import TinylmError, nearest
from tinylm.formats import open_model, read_card, read_generation_config
from tinylm.inference import find_format, masked_head, masked_logits, write_targets
from tinylm.models import Encoder
from tinylm.text import Tokenizer, require_special

from .masked import begins_words

__all__ = ["MIXUP", "WordCandidates", "read_augment", "text_change", "translator"]

MIXUP = "mixup"  # not of texts, but of their embeddings
# How strongly each changes a text where the user does not say. Of mixup it is alpha, of back-translation the share of
# texts, of the others the share of letters or words.
STRENGTHS = MappingProxyType(
    {
        "keyboard": 0.05,
        "typos": 0.05,
        "swap": 0.1,
        "delete": 0.1,
        "synonyms": 0.1,
        "context": 0.1,
        "back-translation": 0.5,
        MIXUP: 0.2,
    }
)
NEEDS = {"synonyms": "thesaurus", "context": "masked_model", "back-translation": "translators"}  # a setting each
CANDIDATES = 10  # the likeliest words, of which a context offers each alike


def read_augment(parts: Sequence[str]) -> dict[str, float]:
    """{"delete": 0.2, "swap": 0.1} from ["delete:0.2", "swap"]: the strength of each change, in the order given.

    "none" stands for no change. Raises TinylmError for a name that does not exist, and for a strength that is none.
    """
    found: dict[str, float] = {}
    for part in parts:
        name, colon, strength = part.strip().partition(":")
        if name in ("", "none") and not colon:
            continue
        if name not in STRENGTHS:
            raise TinylmError(f"augment: there is no change {name!r}{nearest(name, STRENGTHS)}")
        if name in found:
            raise TinylmError(f"augment names {name} twice")
        try:
            found[name] = float(strength) if colon else STRENGTHS[name]
        except ValueError:
            raise TinylmError(f"augment: expected NAME:STRENGTH with a number, received {part!r}") from None
        if not 0 < found[name] <= (np.inf if name == MIXUP else 1):
            raise TinylmError(f"augment: {name} takes a strength above 0{'' if name == MIXUP else ' and up to 1'}")
    return found


def text_change(settings: Any) -> Change | None:
    """What the settings have done to a text, None for nothing.

    Raises TinylmError for a change without what it needs, FileFormatError for a file that is not what it should be.
    """
    made: dict[str, Callable[[float], Change]] = {
        "keyboard": KeyboardNoise,
        "typos": Typos,
        "swap": SwapWords,
        "delete": DeleteWords,
        "synonyms": lambda rate: ReplaceBySynonym(_read_thesaurus(settings.thesaurus), rate),
        "context": lambda rate: ReplaceByContext(_masked_words(settings.masked_model), rate),
        "back-translation": lambda share: Sometimes(_back_translation(settings.translators), share),
    }
    strengths = read_augment(settings.augment)
    for name, setting in NEEDS.items():
        if name in strengths and not getattr(settings, setting):
            raise TinylmError(f"augment={name} needs the setting {setting} (docs/augmentation.md)")
    changes = [made[name](strength) for name, strength in strengths.items() if name != MIXUP]
    return Compose(changes) if changes else None


def _read_thesaurus(path: str) -> Mapping[str, Sequence[str]]:
    """Of WordNet a folder, otherwise a MyThes file."""
    if Path(path).is_dir():
        return read_wordnet(path)
    try:
        return read_mythes(path)
    except FileNotFoundError:
        raise TinylmError(f"thesaurus: there is no {path}") from None


def _masked_words(path: str) -> WordCandidates:
    source = open_model(path)
    return WordCandidates(source.build(), source.tokenizer())


class WordCandidates:
    """What a masked language model finds likely at places of a text, all of which are hidden: see `ReplaceByContext`.

    Whole words alone, the likeliest of them at each place. A text that is longer than the model can look at is read in
    parts. Raises TinylmError for a model that predicts no masked tokens.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, count: int = CANDIDATES):
        masked_head(model)
        self.model: Encoder = model
        self.tokenizer, self.mask = require_special(tokenizer, "mask_token")
        self.count = count
        self._special = len(self.tokenizer.surround(np.zeros(0, np.int32)).ids)
        self._words = [self._word(id) for id in range(self.tokenizer.vocab_size)]
        begins = begins_words(self.tokenizer)
        self._possible = np.flatnonzero(begins & np.array([split_units(w).words == [w] for w in self._words], bool))

    def _word(self, id: int) -> str:
        return self.tokenizer.decode([id]).strip()

    def __call__(self, text: str, places: Sequence[tuple[int, int]]) -> list[list[str]]:
        parts, end = [], 0
        for start, stop in places:
            parts += [text[end:start], self.tokenizer.token(self.mask)]
            end = stop
        ids = self.tokenizer.encode("".join([*parts, text[end:]]))
        if (ids == self.mask).sum() != len(places):  # the text itself writes the masked token
            return [[] for _ in places]
        room = self.model.context - self._special
        windows = [ids[first : first + room] for first in range(0, len(ids), room)]
        rows = [self.tokenizer.surround(window).ids for window in windows if self.mask in window]
        batch, seen = pad_rows(rows, self.model.config.pad_token_id or 0)
        logits = masked_logits(self.model, batch, np.flatnonzero(seen & (batch == self.mask)), seen)
        best = np.argsort(-logits[:, self._possible], axis=1, kind="stable")[:, : self.count]
        return [[self._words[id] for id in self._possible[row]] for row in best]


def _back_translation(paths: Sequence[str]) -> Change:
    """A text comes back the same each time it is asked for, and is translated once."""
    if len(paths) != 2:
        raise TinylmError(f"translators takes two models, there and back, received {len(paths)}")
    change = BackTranslation(*map(translator, paths))
    returned = cache(lambda text: change(text, np.random.default_rng(0)))
    return lambda text, random: returned(text)


def translator(path: str) -> Callable[[str], str]:
    """Translates texts sentence by sentence with a model of the task translation, the likeliest token each time."""
    source = open_model(path)
    model, card = source.build(), read_card(source.path)
    made, most = find_format(model, source.tokenizer(), card.get("task", {}), "translation")
    config = read_generation_config(source)

    def translate(text: str) -> str:
        sources = [made.source({"source": part}, made.room(most))[0] for part in split_sentences(text)]
        return " ".join(write_targets(model, made, sources, max_tokens=most, config=config))

    return translate
