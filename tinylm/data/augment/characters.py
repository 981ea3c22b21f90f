"""Noise in characters: slips of the hand, and of the keyboard."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .change import Random, check_rate

__all__ = ["KEYBOARDS", "KeyboardNoise", "Typos"]

# The rows of letters, each half a key to the right of the one above.
KEYBOARDS = {
    "qwerty": ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    "qwertz": ("qwertzuiopü", "asdfghjklöä", "yxcvbnm"),
    "azerty": ("azertyuiop", "qsdfghjklm", "wxcvbn"),
}


def _neighbours(rows: tuple[str, ...]) -> dict[str, str]:
    """The keys that touch each key."""
    found: dict[str, str] = {}
    for at, row in enumerate(rows):
        for place, key in enumerate(row):
            above = rows[at - 1][place : place + 2] if at else ""
            below = rows[at + 1][max(place - 1, 0) : place + 1] if at + 1 < len(rows) else ""
            found[key] = row[max(place - 1, 0) : place] + row[place + 1 : place + 2] + above + below
    return found


@dataclass(frozen=True)
class KeyboardNoise:
    """Each letter becomes one beside it on the keyboard, with the probability `rate`; its case stays.

    keyboard: a name from KEYBOARDS. Letters that it lacks stay. Source: Belinkov and Bisk 2018, arXiv:1711.02173.
    """

    rate: float = 0.05
    keyboard: str = "qwerty"
    _near: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_rate("KeyboardNoise", self.rate)
        object.__setattr__(self, "_near", _neighbours(KEYBOARDS[self.keyboard]))

    def __call__(self, text: str, random: Random) -> str:
        letters = list(text)
        for at in np.flatnonzero(random.random(len(text)) < self.rate):
            if near := self._near.get(letters[at].lower()):
                other = near[int(random.integers(len(near)))]
                letters[at] = other.upper() if letters[at].isupper() else other
        return "".join(letters)


@dataclass(frozen=True)
class Typos:
    """Each letter or digit is, with the probability `rate`, dropped, doubled, or swapped with the one after it.

    In any script; a text of one character stays. Source: Belinkov and Bisk 2018, arXiv:1711.02173.
    """

    rate: float = 0.05

    def __post_init__(self) -> None:
        check_rate("Typos", self.rate)

    def __call__(self, text: str, random: Random) -> str:
        letters = list(text)
        hit = (random.random(len(text)) < self.rate) & np.array([letter.isalnum() for letter in text], bool)
        kinds = random.integers(0, 3, len(text))
        if len(letters) < 2 or (hit & (kinds == 0)).all():
            return text
        for at in np.flatnonzero(hit):
            if kinds[at] == 2 and at + 1 < len(letters) and text[at + 1].isalnum() and not hit[at + 1]:
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
            else:
                letters[at] *= 2 * int(kinds[at] != 0)
        return "".join(letters)
