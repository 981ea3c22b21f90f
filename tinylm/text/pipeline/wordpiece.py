"""WordPiece: the longest token that begins a word, then the longest that goes on with it.

Source: Wu et al. 2016, arXiv:1609.08144; the search: Devlin et al. 2019, arXiv:1810.04805.
"""

from __future__ import annotations

from tinylm.errors import TinylmError

from .part import Part
from .vocabulary import Model, Place, read_vocabulary

__all__ = ["WordLevel", "WordPiece"]


class WordPiece(Model):
    """Tokens from left to right, each as long as it can be; those within a word are spelt with a prefix, "##".

    A word of which any part is in no token, or that has more than max_input_chars_per_word characters, is unknown as a
    whole.
    """

    def __init__(self, part: Part):
        self.ids = read_vocabulary(part)
        self._unknown = self.ids.get(part.text("unk_token", "[UNK]"))
        self._prefix = part.text("continuing_subword_prefix", "##")
        self._longest_word = part.whole("max_input_chars_per_word", 100)
        self._longest = max(map(len, self.ids), default=0)

    def __call__(self, word: str) -> list[int]:
        return [id for id, _, _ in self.places(word)]

    def places(self, word: str) -> list[Place]:
        found = self._search(word) if len(word) <= self._longest_word else None
        if found is not None:
            return found
        if self._unknown is None:
            raise TinylmError(f"{word!r:.60} is in no tokens of the vocabulary, which has none for unknown words")
        return [(self._unknown, 0, len(word))]

    def _search(self, word: str) -> list[Place] | None:
        found, get = [], self.ids.get
        start, end, prefix = 0, len(word), ""
        while start < end:
            for stop in range(min(end, start + self._longest), start, -1):
                if (id := get(prefix + word[start:stop])) is not None:
                    break
            else:
                return None
            found.append((id, start, stop))
            start, prefix = stop, self._prefix
        return found


class WordLevel(Model):
    """A word is a token, or the unknown one."""

    def __init__(self, part: Part):
        self.ids = read_vocabulary(part)
        self._unknown = self.ids.get(part.text("unk_token", "<unk>"))

    def __call__(self, word: str) -> list[int]:
        id = self.ids.get(word, self._unknown)
        if id is None:
            raise TinylmError(f"the word {word!r:.60} is not in the vocabulary, which has no token for unknown ones")
        return [id]

    def places(self, word: str) -> list[Place]:
        return [(id, 0, len(word)) for id in self(word)]
