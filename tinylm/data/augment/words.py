"""Changes of whole words; of scripts without spaces, of single characters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .change import Random, check_rate
from .units import split_units

__all__ = ["BackTranslation", "Candidates", "DeleteWords", "ReplaceByContext", "ReplaceBySynonym", "SwapWords"]

Place = tuple[int, int]  # where a word begins in a text, and where it ends
# Of a text, words that could stand at each of some places, all of them hidden.
Candidates = Callable[[str, Sequence[Place]], Sequence[Sequence[str]]]


@dataclass(frozen=True)
class SwapWords:
    """Each word changes places with another one, with the probability `rate`; what stands between words stays.

    Source: Wei and Zou 2019, arXiv:1901.11196.
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        check_rate("SwapWords", self.rate)

    def __call__(self, text: str, random: Random) -> str:
        units = split_units(text)
        count = len(units.words)
        for at in _chosen(count, self.rate, random) if count > 1 else ():
            other = (at + int(random.integers(1, count))) % count
            units.words[at], units.words[other] = units.words[other], units.words[at]
        return units.join()


@dataclass(frozen=True)
class DeleteWords:
    """Each word is left out, with the probability `rate`, with the spaces on one side of it; one word at least stays.

    Source: Wei and Zou 2019, arXiv:1901.11196.
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        check_rate("DeleteWords", self.rate)

    def __call__(self, text: str, random: Random) -> str:
        units = split_units(text)
        chosen = _chosen(len(units.words), self.rate, random)
        if len(chosen) == len(units.words):
            chosen = chosen[1:]
        for at in chosen:
            units.words[at] = ""
            space = at if units.gaps[at].isspace() else at + 1
            units.gaps[space] = "" if units.gaps[space].isspace() else units.gaps[space]
        return units.join()


@dataclass(frozen=True)
class ReplaceBySynonym:
    """Each word that has synonyms becomes one of them, with the probability `rate`; a first capital stays one.

    synonyms: of words in lower case; see `read_mythes` and `read_wordnet`. Source: Zhang et al. 2015, arXiv:1509.01626.
    """

    synonyms: Mapping[str, Sequence[str]]
    rate: float = 0.1

    def __post_init__(self) -> None:
        check_rate("ReplaceBySynonym", self.rate)

    def __call__(self, text: str, random: Random) -> str:
        units = split_units(text)
        for at in _chosen(len(units.words), self.rate, random):
            word = units.words[at]
            if others := self.synonyms.get(word) or self.synonyms.get(word.lower()):
                units.words[at] = _as_written(word, others[int(random.integers(len(others)))])
        return units.join()


@dataclass(frozen=True)
class ReplaceByContext:
    """Each word becomes what a model finds likely in its place, with the probability `rate`; a first capital stays one.

    candidates: given a text and the places of the words to replace, others for each, such as the likeliest ones of a
    masked language model that sees none of these words; each is as likely, and where there is none the word stays.
    Source: Kobayashi 2018, arXiv:1805.06201; several places at once as Wu et al. 2019, arXiv:1812.06705.
    """

    candidates: Candidates
    rate: float = 0.1

    def __post_init__(self) -> None:
        check_rate("ReplaceByContext", self.rate)

    def __call__(self, text: str, random: Random) -> str:
        units = split_units(text)
        chosen = _chosen(len(units.words), self.rate, random)
        places = units.places()
        found = self.candidates(text, [places[at] for at in chosen]) if chosen else []
        for at, others in zip(chosen, found, strict=True):
            word = units.words[at]
            if others := [other for other in others if other.lower() != word.lower()]:
                units.words[at] = _as_written(word, others[int(random.integers(len(others)))])
        return units.join()


@dataclass(frozen=True)
class BackTranslation:
    """The text in another language and back. Where nothing comes back, it stays.

    there, back: translate one text, such as two models' methods. Source: Sennrich et al. 2016, arXiv:1511.06709.
    """

    there: Callable[[str], str]
    back: Callable[[str], str]

    def __call__(self, text: str, random: Random) -> str:
        returned = self.back(self.there(text))
        return returned if returned.strip() else text


def _chosen(count: int, rate: float, random: Random) -> list[int]:
    return np.flatnonzero(random.random(count) < rate).tolist()


def _as_written(word: str, other: str) -> str:
    """The other word, with a first capital where the word has one."""
    return other[:1].upper() + other[1:] if word[:1].isupper() else other
