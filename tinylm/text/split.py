"""Text to words: the stretches that byte pair encoding never joins across, also of a text that arrives in pieces."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

__all__ = ["LONGEST_WORD", "PATTERNS", "Splitter", "even_blocks"]

# What a word is, by the name of the tokenizer that introduced the pattern.
# Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.2; openai/gpt-2.
PATTERNS = {"gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"}

# Characters of one kind in a row. A longer row is cut after so many, and what follows is matched as if it began there:
# only this lets a text without spaces be read in bounded memory.
LONGEST_WORD = 1 << 16

# A match is decided once this many characters after it are known: "'r" may go on to "'re", and of several spaces the
# last belongs to the word that follows.
LOOK_AHEAD = 2


class Splitter:
    """Cuts text into words, which joined are the text again.

    added: texts that are words wherever they appear, of several that begin together the longest; they are found
    first, and what lies between them is split by the pattern. prefix_space: put a space before each stretch between
    them that does not begin with one, so that a word has the same form at the start of a text as elsewhere.
    longest: characters of one kind in a row that make one word.
    """

    def __init__(
        self,
        added: Collection[str] = (),
        *,
        pattern: str = "gpt2",
        prefix_space: bool = False,
        longest: int = LONGEST_WORD,
    ):
        import regex  # at first use: only these tokenizers need its Unicode classes

        self._find_words = regex.compile(PATTERNS[pattern].replace("+", f"{{1,{longest}}}")).findall
        by_length = sorted(added, key=len, reverse=True)
        self._added = re.compile("|".join(map(re.escape, by_length)) or "(?!)")
        self._longest_added = len(by_length[0]) if by_length else 1
        self._prefix_space = prefix_space
        # A word ends before white space that follows something else, and an added token does too if it holds none.
        last_end = r"(?r)(?<=\S)" + (" " if prefix_space else r"\s")
        holds_space = any(regex.search(r"\s", text) for text in added)
        self._find_last_end = None if holds_space else regex.compile(last_end).search
        self._block = 2 * longest  # a word is looked at again with each block until its end is seen

    def split(self, text: str) -> list[str]:
        """The words of a text, all at once."""
        return self._advance(text, False, final=True)[0]

    def stream(self, chunks: Iterable[str]) -> Iterator[list[str]]:
        """The words of a text that arrives in pieces: the same whatever the pieces, in bounded memory."""
        rest, inside = "", False  # inside: the rest goes on with a stretch whose first words are out
        for block in even_blocks(chunks, self._block):
            words, rest, inside = self._advance(rest + block, inside)
            yield words
        words, _, _ = self._advance(rest, inside, final=True)
        yield words

    def safe_cut(self, text: str) -> int:
        """The last place, or one near it, where a text can be cut whatever follows it, so that the words stay the same.

        0 where none is known.
        """
        if self._find_last_end and (found := self._find_last_end(text)):
            return found.start()
        if self._prefix_space:  # what follows would get a space
            return 0
        _, rest, _ = self._advance(text, False)
        return len(text) - len(rest)

    def _advance(self, text: str, inside: bool, *, final: bool = False) -> tuple[list[str], str, bool]:
        """The words that stay what they are whatever follows the text, the rest of it, and where that lies."""
        # An added token that begins before this place lies in the text as a whole, and so would any longer one.
        limit = len(text) if final else len(text) - self._longest_added + 1
        words: list[str] = []
        begin = 0
        for found in self._added.finditer(text):
            if found.start() >= limit:
                break
            words += self._find_words(self._stretch(text[begin : found.start()], inside))
            words.append(found[0])
            begin, inside = found.end(), False
        stretch = self._stretch(text[begin : max(limit, begin)], inside)
        last = self._find_words(stretch)
        waiting = 0
        while last and waiting < LOOK_AHEAD and not final:
            waiting += len(last.pop())
        rest = begin if not last else max(limit, begin) - waiting
        return words + last, text[rest:], inside or bool(last)

    def _stretch(self, text: str, inside: bool) -> str:
        needs_space = self._prefix_space and not inside and text and not text.startswith(" ")
        return " " + text if needs_space else text


def even_blocks(chunks: Iterable[str], size: int) -> Iterator[str]:
    """The text in pieces of `size` characters and a shorter last one: what follows cannot depend on how it arrives."""
    text = ""
    for chunk in chunks:
        text += chunk
        whole = len(text) - len(text) % size
        for start in range(0, whole, size):
            yield text[start : start + size]
        text = text[whole:]
    if text:
        yield text
