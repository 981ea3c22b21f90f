"""The forms of Hugging Face's tokenizer.json that our tokenizers share: all are its BPE model.

Source: https://huggingface.co/docs/tokenizers, components; the byte characters: openai/gpt-2, encoder.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["BYTE_CHARACTERS", "BYTE_LEVEL", "FUSE", "MODEL_OPTIONS", "byte_level_text", "tokenizer_json"]


def _byte_characters() -> str:
    """A visible character for each byte: itself where Latin-1 shows it, else the next one from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte) if byte in visible else chr(next(others)) for byte in range(256))


BYTE_CHARACTERS = _byte_characters()
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
FUSE = {"type": "Fuse"}  # joins tokens with nothing between; no decoder at all would put spaces there

MODEL_OPTIONS = {
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


def byte_level_text(token: bytes) -> str:
    """A token as the vocabulary of a byte-level tokenizer.json spells it."""
    return token.decode("latin-1").translate(_SPELLING)


_SPELLING = dict(enumerate(BYTE_CHARACTERS))


def tokenizer_json(
    vocabulary: Iterable[str],
    *,
    pre_tokenizer: dict[str, Any] | None,
    decoder: dict[str, Any],
    merges: Sequence[str] = (),
    added: Iterable[tuple[int, str, bool]] = (),
) -> dict[str, Any]:
    """tokenizer.json. vocabulary: its place is a token's id; merges: "left right"; added: id, text, special."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(*token) for token in added],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": {
            "type": "BPE",
            **MODEL_OPTIONS,
            "vocab": {token: id for id, token in enumerate(vocabulary)},
            "merges": list(merges),
        },
    }


def _added_token(id: int, text: str, special: bool) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    return {"id": id, "content": text, **flags}
