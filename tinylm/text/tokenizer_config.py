"""tokenizer_config.json: which token ends a text, and how a conversation is written down."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinylm.errors import FileFormatError
from tinylm.files import read_json, write_atomically

__all__ = ["SPECIAL_NAMES", "TokenizerConfig", "read_tokenizer_config"]

FILE = "tokenizer_config.json"
SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class TokenizerConfig:
    """What stands beside tokenizer.json.

    tokens: the texts of special tokens by what they are for, the names of SPECIAL_NAMES; chat_template: a template in
    Jinja that turns a conversation into text, None where there is none; lowercase: do_lower_case, which BERT's
    vocab.txt needs.
    """

    tokens: Mapping[str, str] = field(default_factory=dict)
    chat_template: str | None = None
    lowercase: bool = True

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer_config.json into a folder, unless there is nothing to say."""
        fields: dict[str, Any] = dict(self.tokens)
        if self.chat_template is not None:
            fields["chat_template"] = self.chat_template
        if fields:
            content = json.dumps(fields, ensure_ascii=False, indent=1).encode("utf-8")
            write_atomically(Path(folder) / FILE, content)


def read_tokenizer_config(folder: str | os.PathLike[str]) -> TokenizerConfig:
    """What the tokenizer_config.json of a folder says; nothing where there is none. Raises FileFormatError.

    A template in a file of its own, chat_template.jinja, goes before one in the JSON; of several with names, the one
    called default is taken. Fields that are not read here (transformers writes many) are left alone.
    """
    file = Path(folder) / FILE
    fields = read_json(file) if file.is_file() else {}
    if not isinstance(fields, dict):
        raise FileFormatError(file, f"expected an object, received {type(fields).__name__}")
    tokens = {name: _text_of(file, name, fields[name]) for name in SPECIAL_NAMES if fields.get(name) is not None}
    template = _template(file, fields.get("chat_template"))
    return TokenizerConfig(tokens, template, lowercase=fields.get("do_lower_case") is not False)


def _text_of(file: Path, name: str, token: Any) -> str:
    """A token, written as its text or as an object with its text as `content`."""
    text = token.get("content") if isinstance(token, dict) else token
    if not isinstance(text, str):
        raise FileFormatError(file, f"{name} must be a text, or an object with a content, not {token!r:.60}")
    return text


def _template(file: Path, value: Any) -> str | None:
    alone = file.with_name("chat_template.jinja")
    if alone.is_file():
        try:
            return alone.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise FileFormatError(alone, "not UTF-8 text", error.start) from None
    if isinstance(value, list):
        named = [entry for entry in value if isinstance(entry, dict) and entry.get("name") == "default"]
        value = named[0].get("template") if named else None
    if value is not None and not isinstance(value, str):
        raise FileFormatError(file, f"chat_template must be a text, not {value!r:.60}")
    return value
