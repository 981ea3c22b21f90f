"""What happens to a text before it is cut: functions from text to text, by the name of their type in tokenizer.json.

Source: https://huggingface.co/docs/tokenizers, components, normalizers; BERT's: Devlin et al. 2019, arXiv:1810.04805.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

from ..hugging_face import byte_level_text
from .charsmap import Charsmap
from .part import Part, build
from .patterns import WHITE_SPACE, read_pattern

__all__ = ["Normalizer", "lowercase", "read_charsmap", "read_normalizer", "read_replacement"]

Normalizer = Callable[[str], str]


def read_normalizer(part: Part) -> Normalizer:
    """The function that a component describes."""
    return build(part, BUILDERS)


def lowercase(text: str) -> str:
    """Each character in lower case by itself; `str.lower` has another form for a sigma that ends a word."""
    return text.replace("\u03a3", "\u03c3").lower()


def strip_accents(text: str) -> str:
    """Without the marks that stand on or around letters. Decompose first."""
    return text if text.isascii() else _without(r"\p{M}+", text)


def _without(pattern: str, text: str) -> str:
    import regex

    return regex.sub(pattern, "", text)


def _sequence(part: Part) -> Normalizer:
    functions = [read_normalizer(inner) for inner in part.parts("normalizers")]
    return lambda text: reduce(lambda before, function: function(before), functions, text)


def _strip(part: Part) -> Normalizer:
    left, right = part.flag("strip_left"), part.flag("strip_right")
    if left and right:
        return lambda text: text.strip(WHITE_SPACE)
    if left:
        return lambda text: text.lstrip(WHITE_SPACE)
    return (lambda text: text.rstrip(WHITE_SPACE)) if right else (lambda text: text)


def _prepend(part: Part) -> Normalizer:
    before = part.text("prepend")
    return lambda text: before + text if text else text


def read_replacement(part: Part) -> tuple[Any, str]:
    """The pattern that a Replace looks for, and what it puts there."""
    return read_pattern(part), part.text("content")


def _replace(part: Part) -> Normalizer:
    pattern, content = read_replacement(part)
    return lambda text: pattern.sub(lambda found: content, text)


def _replace_text(part: Part) -> Normalizer:
    """`str.replace` where the pattern is a text, which is most often a space."""
    fields = part.any("pattern")
    if isinstance(fields, dict) and type(fields.get("String")) is str and fields["String"] and len(fields) == 1:
        old, new = fields["String"], part.text("content")
        return lambda text: text.replace(old, new)
    return _replace(part)


def read_charsmap(part: Part) -> Charsmap:
    """The table of a Precompiled."""
    try:
        return Charsmap(base64.b64decode(part.text("precompiled_charsmap"), validate=True))
    except (binascii.Error, ValueError) as error:
        part.refuse(f"field precompiled_charsmap: {error}")


def _bert(part: Part) -> Normalizer:
    lower = part.flag("lowercase", True)
    strip = part.any("strip_accents", None)
    if strip is not None and type(strip) is not bool:
        part.refuse(f"field strip_accents must be true, false or null, not {strip!r:.60}")
    steps: list[Normalizer] = []
    if part.flag("clean_text", True):
        steps.append(_clean)
    if part.flag("handle_chinese_chars", True):
        steps.append(_set_chinese_apart)
    if lower if strip is None else strip:
        steps.append(lambda text: text if text.isascii() else _without(r"\p{Mn}+", unicodedata.normalize("NFD", text)))
    if lower:
        steps.append(lowercase)
    return lambda text: reduce(lambda before, function: function(before), steps, text)


def _clean(text: str) -> str:
    """Without control characters, and any white space a plain space."""
    import regex

    return regex.sub(r"\p{White_Space}", " ", _without(CONTROL, text))


CONTROL = r"[\x00\ufffd]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\p{Cs}]"


def _set_chinese_apart(text: str) -> str:
    """A space before and after each ideograph, so that each becomes a word."""
    if text.isascii():
        return text
    import regex

    return regex.sub(IDEOGRAPH, r" \g<0> ", text)


IDEOGRAPH = (
    "[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b920-\U0002ceaf"
    "\uf900-\ufaff\U0002f800-\U0002fa1f]"
)


def _nmt(text: str) -> str:
    """Moses' cleaning for translation: without control characters, and odd white space a plain space."""
    return text.translate(NMT)


NMT: dict[int, str | None] = dict.fromkeys(
    [*range(0x1, 0x9), 0xB, *range(0xE, 0x20), 0x7F, 0x8F, 0x9F]
) | dict.fromkeys([0x9, 0xA, 0xC, 0xD, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD], " ")


BUILDERS: dict[str, Callable[[Part], Normalizer]] = {
    "NFC": lambda part: partial(unicodedata.normalize, "NFC"),
    "NFD": lambda part: partial(unicodedata.normalize, "NFD"),
    "NFKC": lambda part: partial(unicodedata.normalize, "NFKC"),
    "NFKD": lambda part: partial(unicodedata.normalize, "NFKD"),
    "BertNormalizer": _bert,
    "ByteLevel": lambda part: lambda text: byte_level_text(text.encode()),
    "Lowercase": lambda part: lowercase,
    "Nmt": lambda part: _nmt,
    "Precompiled": read_charsmap,
    "Prepend": _prepend,
    "Replace": _replace_text,
    "Sequence": _sequence,
    "Strip": _strip,
    "StripAccents": lambda part: strip_accents,
}
