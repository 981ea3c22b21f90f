"""Synonyms from thesaurus files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import FileFormatError

__all__ = ["read_mythes", "read_wordnet"]

Synonyms = dict[str, list[str]]

_WORDNET = ("noun", "verb", "adj", "adv")


def read_mythes(path: str | os.PathLike[str]) -> Synonyms:
    """Synonyms of single words from a MyThes file, as LibreOffice uses them (th_en_US_v2.dat, th_de_DE_v2.dat).

    Its first line is the encoding; then "word|meanings", and for each meaning "(part of speech)|synonym|...". Raises
    FileFormatError with the line.
    """
    file = Path(path)
    with open(file, "rb") as opened:
        encoding = opened.readline(64).decode("ascii", "replace").strip()
    found: Synonyms = {}
    try:
        with open(file, encoding=encoding) as opened:
            lines = enumerate(opened, 1)
            next(lines)
            for number, line in lines:
                word, _, count = line.rstrip("\n").partition("|")
                if not count.isdigit():
                    raise FileFormatError(
                        file, f"expected a word and its number of meanings, received {line!r:.60}", line=number
                    )
                meanings = [meaning.split("|")[1:] for _, (_, meaning) in zip(range(int(count)), lines, strict=False)]
                _add(found, word, [other for meaning in meanings for other in meaning])
    except LookupError:
        raise FileFormatError(file, f"expected an encoding in the first line, received {encoding!r}", line=1) from None
    except UnicodeDecodeError as error:
        raise FileFormatError(file, f"not {encoding} text ({error.reason})") from None
    return found


def read_wordnet(folder: str | os.PathLike[str]) -> Synonyms:
    """Synonyms of single words from WordNet's data.noun, data.verb, data.adj and data.adv: those of one synset.

    Source: Miller 1995, "WordNet: a lexical database for English"; the file format is its wndb(5WN).
    """
    found: Synonyms = {}
    for name in _WORDNET:
        file = Path(folder) / f"data.{name}"
        if not file.is_file():
            raise FileFormatError(file, "there is no such file")
        for words in _synsets(file):
            for word in words:
                _add(found, word, words)
    return found


def _synsets(file: Path) -> Iterator[list[str]]:
    with open(file, encoding="utf-8") as opened:
        for number, line in enumerate(opened, 1):
            if line.startswith(" "):  # the licence
                continue
            try:
                parts = line.split()
                count = int(parts[3], 16)
                # A marker such as "(p)" says where an adjective stands; an underscore joins words of one term.
                words = [parts[4 + 2 * at].partition("(")[0].replace("_", " ") for at in range(count)]
            except (ValueError, IndexError):
                raise FileFormatError(file, f"no synset of WordNet: {line!r:.60}", line=number) from None
            yield words


def _add(found: Synonyms, word: str, others: list[str]) -> None:
    """Terms of several words are left out: they seldom fit where one word stood."""
    clean = [other.partition(" (")[0].strip() for other in others]  # MyThes: "big (similar term)"
    kept = [other for other in clean if other and " " not in other and other.lower() != word.lower()]
    if kept and " " not in word:
        found[word.lower()] = list(dict.fromkeys([*found.get(word.lower(), []), *kept]))
