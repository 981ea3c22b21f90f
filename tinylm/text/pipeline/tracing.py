"""The normalizers once more, for texts that remember where their characters come from.

Each gives the text that its namesake in `normalizers` gives, and the places that Hugging Face's `tokenizers` gives.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import partial, reduce
from itertools import groupby

from .normalizers import read_charsmap, read_normalizer, read_replacement
from .part import Part
from .patterns import WHITE_SPACE
from .traced import Change, Traced

__all__ = ["TracedNormalizer", "read_traced_normalizer"]

TracedNormalizer = Callable[[Traced], Traced]


def read_traced_normalizer(part: Part) -> TracedNormalizer:
    """The function that a component, which `read_normalizer` has taken, describes."""
    kind = part.text("type")
    if kind in BUILDERS:
        return BUILDERS[kind](part)
    change = read_normalizer(part)  # of each character by itself
    return lambda traced: traced.each(change)


def _sequence(part: Part) -> TracedNormalizer:
    functions = [read_traced_normalizer(inner) for inner in part.parts("normalizers")]
    return lambda traced: reduce(lambda before, function: function(before), functions, traced)


def _strip(part: Part) -> TracedNormalizer:
    left, right = part.flag("strip_left"), part.flag("strip_right")

    def strip(traced: Traced) -> Traced:
        text = traced.text
        end = len(text.rstrip(WHITE_SPACE)) if right else len(text)
        return traced.part(min(len(text) - len(text.lstrip(WHITE_SPACE)), end) if left else 0, end)

    return strip


def _prepend(part: Part) -> TracedNormalizer:
    before = part.text("prepend")
    return lambda traced: traced.prepended(before)


def _replace(part: Part) -> TracedNormalizer:
    pattern, content = read_replacement(part)
    return lambda traced: traced.replaced(pattern, content)


def _precompiled(part: Part) -> TracedNormalizer:
    charsmap = read_charsmap(part)

    def replace(traced: Traced) -> Traced:
        changes: list[Change] = []
        for old, new in charsmap.replacements(traced.text):
            extra = max(0, len(new) - len(old))
            changes += [(character, int(place >= len(new) - extra)) for place, character in enumerate(new)]
            if changes and len(new) < len(old):
                character, change = changes[-1]
                changes[-1] = character, change + len(new) - len(old)
        return traced.changed(changes)

    return replace


def _composed(form: str, traced: Traced) -> Traced:
    """Unicode's normal forms, by the algorithm that the standard describes (UAX 15)."""
    if traced.text.isascii() or unicodedata.is_normalized(form, traced.text):  # type: ignore[arg-type]
        return traced
    changes = _decompose(traced.text, form.replace("C", "D"))
    return traced.changed(changes if form.endswith("D") else _compose(changes))


def _decompose(text: str, form: str) -> list[Change]:
    """Characters taken apart, and marks that follow each other put in order."""
    changes = [
        (part, int(place > 0))
        for character in text
        for place, part in enumerate(unicodedata.normalize(form, character))  # type: ignore[arg-type]
    ]
    runs: Iterator[tuple[bool, Iterator[Change]]] = groupby(changes, lambda change: bool(_order(change)))
    return [change for marks, run in runs for change in (sorted(run, key=_order) if marks else run)]


def _order(change: Change) -> int:
    return unicodedata.combining(change[0])


def _compose(changes: list[Change]) -> list[Change]:
    """Marks joined with the letter before them, where nothing between them blocks that."""
    composed: list[Change] = []
    letter, before = -1, 0  # where the last letter is, and the order of what came after it
    for change in changes:
        order = _order(change)
        if letter >= 0 and (before < order or letter == len(composed) - 1):
            both = unicodedata.normalize("NFC", composed[letter][0] + change[0])
            if len(both) == 1:
                composed[letter] = both, composed[letter][1] + change[1] - 1
                continue
        composed.append(change)
        letter, before = (len(composed) - 1, 0) if order == 0 else (letter, order)
    return composed


BUILDERS: dict[str, Callable[[Part], TracedNormalizer]] = {
    **{form: lambda part, form=form: partial(_composed, form) for form in ("NFC", "NFD", "NFKC", "NFKD")},  # type: ignore[misc]
    "Precompiled": _precompiled,
    "Prepend": _prepend,
    "Replace": _replace,
    "Sequence": _sequence,
    "Strip": _strip,
}
