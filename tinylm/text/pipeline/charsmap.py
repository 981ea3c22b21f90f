"""SentencePiece's precompiled normalisation: replacements of characters, kept as a trie in a double array.

Source: the format is Darts-clone's (Yata 2008), as SentencePiece writes it (Kudo and Richardson 2018,
arXiv:1808.06226): a little-endian u32 with the size of the trie in bytes, the trie's units of 4 bytes, and the
replacements, each ended by a zero byte. A key is the bytes of one or several characters; its value is where its
replacement begins.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..words import KnownWords

__all__ = ["Charsmap"]


class Charsmap:
    """Replaces each grapheme (what a reader sees as one character) that begins with a key of the table.

    raw: the content of `precompiled_charsmap`. A grapheme of 6 bytes or more is looked at character by character. The
    shortest key that begins it replaces all of it, as it does in Hugging Face's `tokenizers`. Raises ValueError for a
    table that is cut short or leads outside itself.
    """

    def __init__(self, raw: bytes):
        size = int.from_bytes(raw[:4], "little")
        if len(raw) < 4 or size % 4 or not 0 < size <= len(raw) - 4:
            raise ValueError(f"a trie of {size} bytes does not fit into {len(raw)} bytes")
        self._units = np.frombuffer(raw, "<u4", size // 4, 4).tolist()
        self._replacements = raw[4 + size :]
        self._known = KnownWords(self._normalize)

    def __call__(self, text: str) -> str:
        import regex

        return "".join(map(self._known.__getitem__, regex.findall(r"\X", text)))

    def replacements(self, text: str) -> Iterator[tuple[str, str]]:
        """The pieces of a text, each with what takes its place."""
        import regex

        for grapheme in regex.findall(r"\X", text):
            yield from self._pieces(grapheme)

    def _normalize(self, grapheme: str) -> str:
        return "".join(new for _, new in self._pieces(grapheme))

    def _pieces(self, grapheme: str) -> list[tuple[str, str]]:
        if len(grapheme.encode()) < 6 and (found := self._find(grapheme)) is not None:
            return [(grapheme, found)]
        found_each = ((character, self._find(character)) for character in grapheme)
        return [(character, character if found is None else found) for character, found in found_each]

    def _find(self, text: str) -> str | None:
        """The replacement of the shortest key that begins the text, None where there is none."""
        units = self._units
        try:
            at = _offset(units[0])
            for byte in text.encode():
                at ^= byte
                unit = units[at]
                if unit & 0x800000FF != byte:  # the unit of another letter, or a leaf
                    return None
                at ^= _offset(unit)
                if unit >> 8 & 1:  # a key ends here
                    return self._replacement(units[at] & 0x7FFFFFFF)
        except IndexError:
            raise ValueError(f"the trie of precompiled_charsmap leads outside itself for {text!r}") from None
        return None

    def by_longest_key(self, text: str) -> Iterator[str]:
        """What takes the place of the longest key at each place, or of a character; as SentencePiece itself does it."""
        raw, at = text.encode(), 0
        while at < len(raw):
            end, found = self._longest(raw, at)
            if found is None:
                end = at + 1 + (raw[at] >= 0xC0) + (raw[at] >= 0xE0) + (raw[at] >= 0xF0)  # the bytes of a character
            yield raw[at:end].decode() if found is None else found
            at = end

    def _longest(self, raw: bytes, start: int) -> tuple[int, str | None]:
        """Where the longest key that begins here ends, and its replacement; None where there is none."""
        units = self._units
        end, found = start, None
        try:
            at = _offset(units[0])
            for place in range(start, len(raw)):
                at ^= raw[place]
                unit = units[at]
                if unit & 0x800000FF != raw[place]:
                    break
                at ^= _offset(unit)
                if unit >> 8 & 1:
                    end, found = place + 1, self._replacement(units[at] & 0x7FFFFFFF)
        except IndexError:
            raise ValueError("the trie of precompiled_charsmap leads outside itself") from None
        return end, found

    def _replacement(self, start: int) -> str:
        end = self._replacements.find(b"\0", start)
        return self._replacements[start : end if end >= 0 else None].decode("utf-8", "replace")


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)
