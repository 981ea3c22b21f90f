"""Summaries that are the beginning of a text."""

from __future__ import annotations

import regex

__all__ = ["lead", "split_sentences"]

# Between sentences: spaces after an end mark and what closes it; Chinese and Japanese marks need none.
_END = regex.compile(
    r"""(?<=[.!?\u2026]["'\u2019\u201d)\]]*)\s+|(?<=[。\uff01\uff1f][\u2019\u201d」』]*)(?![\u2019\u201d」』。\uff01\uff1f])""",
    regex.V1,
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, without the spaces around them; a line ends one as well."""
    parts = (part.strip() for line in text.splitlines() for part in _END.split(line))
    return [part for part in parts if part]


def lead(text: str, sentences: int = 3) -> str:
    """The first sentences of a text, a line each: hard to beat for news.

    Source: Nallapati et al. 2017, arXiv:1611.04230.
    """
    return "\n".join(split_sentences(text)[:sentences])
