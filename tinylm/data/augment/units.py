"""The words of a text, and what stands between them."""

from __future__ import annotations

from dataclasses import dataclass

import regex

__all__ = ["Units", "split_units"]

_NO_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}"  # scripts without spaces: each character is a unit
_UNIT = regex.compile(rf"[{_NO_SPACES}]\p{{M}}*|[^\W_{_NO_SPACES}]+(?:['\u2019-][^\W_{_NO_SPACES}]+)*", regex.VERSION0)


@dataclass
class Units:
    """A text is gaps[0] words[0] gaps[1] words[1] ... gaps[-1]: one gap more than words."""

    words: list[str]
    gaps: list[str]

    def places(self) -> list[tuple[int, int]]:
        """Where in the text each word begins and ends."""
        found, end = [], 0
        for gap, word in zip(self.gaps, self.words, strict=False):
            found.append((end + len(gap), end + len(gap) + len(word)))
            end = found[-1][1]
        return found

    def join(self) -> str:
        """The text."""
        return self.gaps[0] + "".join(word + gap for word, gap in zip(self.words, self.gaps[1:], strict=True))


def split_units(text: str) -> Units:
    """Words with their inner apostrophes and hyphens; of scripts without spaces between words, single characters."""
    words, gaps, end = [], [], 0
    for match in _UNIT.finditer(text):
        gaps.append(text[end : match.start()])
        words.append(match[0])
        end = match.end()
    return Units(words, [*gaps, text[end:]])
