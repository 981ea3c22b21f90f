"""Porter's stemmer, with the extensions that the ROUGE packages of today use."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

__all__ = ["stem"]

# Forms that the rules get wrong, and short words to be left alone. Source: NLTK's list.
_IRREGULAR = {
    "skies": "sky", "sky": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news",
    "innings": "inning", "inning": "inning", "outings": "outing", "outing": "outing", "cannings": "canning",
    "canning": "canning", "howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}  # fmt: skip

Rules = list[tuple[str, str]]


def _rules(text: str) -> Rules:
    """Suffixes and what takes their place, in the order in which they are tried."""
    return [(suffix, replacement) for suffix, _, replacement in (rule.partition(">") for rule in text.split())]


_STEP_1A = _rules("sses>ss ies>i ss>ss s>")
_STEP_2 = _rules(
    "ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e ousli>ous ization>ize "
    "ation>ate ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive biliti>ble fulli>ful"
)
_STEP_3 = _rules("icate>ic ative> alize>al iciti>ic ical>ic ful> ness>")
_STEP_4 = _rules("al> ance> ence> er> ic> able> ible> ant> ement> ment> ent> ion> ou> ism> ate> iti> ous> ive> ize>")


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The stem of a lower-case English word: "relational" and "relate" have the same, "relat".

    Source: Porter 1980, "An algorithm for suffix stripping"; the rules that NLTK adds are marked as such.
    """
    if word in _IRREGULAR or len(word) <= 2:
        return _IRREGULAR.get(word, word)
    word = _step_1c(_step_1b(_step_1a(word)))
    word = _apply(_STEP_3, _step_2(word), lambda stem: _measure(stem) > 0)
    before = "st" if word.endswith("ion") else word  # the letters that "ion" is dropped after; other suffixes after any
    return _step_5(_apply(_STEP_4, word, lambda stem: _measure(stem) > 1 and stem[-1] in before))


def _shape(word: str) -> str:
    """A c for each consonant and a v for each vowel; y is a vowel after a consonant."""
    shape = ""
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and shape[-1:] == "c")
        shape += "v" if vowel else "c"
    return shape


def _measure(stem: str) -> int:
    """Porter's m: how often vowels are followed by consonants."""
    return _shape(stem).count("vc")


def _ends_short(stem: str) -> bool:
    """Porter's *o: consonant, vowel, consonant at the end, the last not w, x or y; NLTK adds words like "ow"."""
    shape = _shape(stem)
    return shape == "vc" or (shape.endswith("cvc") and stem[-1] not in "wxy")


def _apply(rules: Rules, word: str, allowed: Callable[[str], bool]) -> str:
    """The first suffix that fits decides: it is replaced, or the word stays where the stem is not allowed."""
    for suffix, replacement in rules:
        if word.endswith(suffix):
            stem = word.removesuffix(suffix)
            return stem + replacement if allowed(stem) else word
    return word


def _step_1a(word: str) -> str:
    if len(word) == 4 and word.endswith("ies"):  # NLTK: "dies" to "die"
        return word[:-1]
    return _apply(_STEP_1A, word, lambda stem: True)


def _step_1b(word: str) -> str:
    if word.endswith("ied"):  # NLTK: "died" to "die", "spied" to "spi"
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    suffix = next((suffix for suffix in ("ed", "ing") if word.endswith(suffix)), None)
    if suffix is None or "v" not in _shape(word.removesuffix(suffix)):
        return word
    stem = word.removesuffix(suffix)
    if stem.endswith(("at", "bl", "iz")):
        return stem + "e"
    if len(stem) > 1 and stem[-1] == stem[-2] and _shape(stem)[-1] == "c":
        return stem if stem[-1] in "lsz" else stem[:-1]
    return stem + "e" if _measure(stem) == 1 and _ends_short(stem) else stem


def _step_1c(word: str) -> str:
    """NLTK: y becomes i after a consonant that does not begin the word, whether or not a vowel comes before."""
    return word[:-1] + "i" if len(word) > 2 and word[-1] == "y" and _shape(word[:-1])[-1] == "c" else word


def _step_2(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:  # NLTK: what is left is looked at once more
        return _step_2(word[:-2])
    if word.endswith("logi"):  # NLTK: the l belongs to the stem
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _apply(_STEP_2, word, lambda stem: _measure(stem) > 0)


def _step_5(word: str) -> str:
    if word.endswith("e"):
        m = _measure(word[:-1])
        if m > 1 or (m == 1 and not _ends_short(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
