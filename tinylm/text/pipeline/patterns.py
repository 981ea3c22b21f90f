"""The patterns of a tokenizer.json, and those that tokenizers of the field split by."""

from __future__ import annotations

from typing import Any

from ..split import PATTERNS
from .part import Part

__all__ = ["SPLITS", "WHITE_SPACE", "WORD", "compile_pattern", "read_pattern"]

# Unicode's White_Space; `str.strip` takes the separators U+001C to U+001F for white space too.
WHITE_SPACE = "".join(map(chr, [*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F]))
WHITE_SPACE += "\u205f\u3000"

# What `\\w` means to Rust's patterns.
WORD = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d"

# Contractions in any case; letters with at most one other character before them; digits, so many at most; other
# characters with the line breaks after them; white space.
_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The same, with words that change from small to capital letters cut there. Source: openai/tiktoken, o200k_base.
_O200K = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ]
)
SPLITS = {
    **PATTERNS,
    "cl100k": _CL100K.replace("DIGITS", "{1,3}"),  # Llama 3 has it too
    "qwen2": _CL100K.replace("DIGITS", ""),
    "o200k": _O200K,
}


def read_pattern(part: Part, name: str = "pattern") -> Any:
    """The compiled pattern in a field: {"String": text} or {"Regex": pattern}."""
    fields = part.any(name)
    if isinstance(fields, str):
        fields = {"String": fields}
    if not isinstance(fields, dict) or len(fields) != 1 or next(iter(fields)) not in ("String", "Regex"):
        part.refuse(f'field {name} must be {{"String": ...}} or {{"Regex": ...}}, not {fields!r:.60}')
    ((kind, pattern),) = fields.items()
    if type(pattern) is not str or not pattern:
        part.refuse(f"field {name} must hold a text that is not empty, not {pattern!r:.60}")
    return compile_pattern(part, pattern, literal=kind == "String")


def compile_pattern(part: Part, pattern: str, *, literal: bool = False) -> Any:
    """A pattern of Unicode characters, compiled."""
    import regex

    try:
        return regex.compile(regex.escape(pattern) if literal else pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        part.refuse(f"the pattern {pattern!r:.80} cannot be read: {error}")
