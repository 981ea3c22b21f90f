"""What a model expects around and between texts: special tokens, and which of two texts a token belongs to.

Source: https://huggingface.co/docs/tokenizers, components, post-processors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .part import Part, build
from .vocabulary import MAX_ID

__all__ = ["Item", "Template", "read_post_processor"]


@dataclass(frozen=True)
class Item:
    """A place in a template: one of the texts, "A" or "B", or ids of special tokens; and the type of its tokens."""

    text: str | None
    ids: tuple[int, ...]
    type_id: int


def _text(name: str, type_id: int) -> Item:
    return Item(name, (), type_id)


def _special(id: int, type_id: int) -> Item:
    return Item(None, (id,), type_id)


@dataclass(frozen=True)
class Template:
    """How one text, and how two texts, become a sequence for a model.

    trims: whether the places of tokens leave out the spaces at their ends; keeps_first: but for one that the tokenizer
    has put before a text.
    """

    single: tuple[Item, ...] = (_text("A", 0),)
    pair: tuple[Item, ...] = (_text("A", 0), _text("B", 1))
    trims: bool = False
    keeps_first: bool = False

    def items(self, *, pair: bool, special_tokens: bool) -> tuple[Item, ...]:
        """The items for one text or two."""
        items = self.pair if pair else self.single
        return items if special_tokens else tuple(item for item in items if item.text is not None)

    def n_special(self, *, pair: bool) -> int:
        """How many special tokens it adds."""
        return sum(len(item.ids) for item in (self.pair if pair else self.single))


PLAIN = Template()


def read_post_processor(part: Part) -> Template:
    """The template of a component."""
    return build(part, BUILDERS)


def _sequence(part: Part) -> Template:
    """Several processors, of which one may add tokens, and one move places."""
    templates = [read_post_processor(inner) for inner in part.parts("processors")]
    adding = [t for t in templates if (t.single, t.pair) != (PLAIN.single, PLAIN.pair)]
    trimming = [t for t in templates if t.trims]
    if len(adding) > 1 or len(trimming) > 1:
        part.refuse("has several parts that add tokens, or that move places, which is not supported; expected one each")
    adds, trims = (adding or [PLAIN])[0], (trimming or [PLAIN])[0]
    return replace(adds, trims=trims.trims, keeps_first=trims.keeps_first)


def _byte_level(part: Part) -> Template:
    """It moves the places in the text that tokens stand for, and leaves the ids alone."""
    part.flag("use_regex", True)
    return replace(PLAIN, **_trimming(part))


def _trimming(part: Part) -> dict[str, Any]:
    keeps_first = part.flag("add_prefix_space", True)
    return {"trims": part.flag("trim_offsets", True), "keeps_first": keeps_first}


def _bert(part: Part) -> Template:
    begin, end = _token(part, "cls"), _token(part, "sep")
    single = (_special(begin, 0), _text("A", 0), _special(end, 0))
    return Template(single, (*single, _text("B", 1), _special(end, 1)))


def _roberta(part: Part) -> Template:
    begin, end = _token(part, "cls"), _token(part, "sep")
    single = (_special(begin, 0), _text("A", 0), _special(end, 0))
    return Template(single, (*single, _special(end, 0), _text("B", 0), _special(end, 0)), **_trimming(part))


def _token(part: Part, name: str) -> int:
    """The id of a token that is written [text, id]."""
    value = part.items(name)
    if len(value) != 2 or not _is_id(value[1]):
        part.refuse(f"field {name} must be a token and its id, not {value!r:.60}")
    return value[1]


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_ID


def _template(part: Part) -> Template:
    specials = part.table("special_tokens", {})
    return Template(
        tuple(_item(part, item, specials) for item in part.items("single")),
        tuple(_item(part, item, specials) for item in part.items("pair", [])) or PLAIN.pair,
    )


def _item(part: Part, item: Any, specials: dict[str, Any]) -> Item:
    """{"Sequence": {"id": "A" or "B", "type_id": n}} or {"SpecialToken": {"id": name, "type_id": n}}."""
    if isinstance(item, dict) and len(item) == 1:
        ((kind, fields),) = item.items()
        if isinstance(fields, dict) and fields.keys() == {"id", "type_id"} and type(fields["type_id"]) is int:
            name, type_id = fields["id"], fields["type_id"]
            if kind == "Sequence" and name in ("A", "B"):
                return _text(name, type_id)
            if kind == "SpecialToken" and type(name) is str:
                return Item(None, _ids_of(part, name, specials), type_id)
    part.refuse(f'holds {item!r:.80}; expected {{"Sequence": ...}} or {{"SpecialToken": ...}} with id and type_id')


def _ids_of(part: Part, name: str, specials: dict[str, Any]) -> tuple[int, ...]:
    token = specials.get(name)
    ids = token.get("ids") if isinstance(token, dict) else None
    if not isinstance(ids, list) or not all(map(_is_id, ids)):
        part.refuse(f"names the special token {name!r:.60}, whose ids are not in its special_tokens")
    return tuple(ids)


BUILDERS: dict[str, Callable[[Part], Template]] = {
    "BertProcessing": _bert,
    "ByteLevel": _byte_level,
    "RobertaProcessing": _roberta,
    "Sequence": _sequence,
    "TemplateProcessing": _template,
}
