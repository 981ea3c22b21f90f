"""The form that our tokenizers share in Hugging Face's tokenizer.json: a BPE model that merges nothing.

Source: https://huggingface.co/docs/tokenizers, components; the byte characters: openai/gpt-2, encoder.py.
"""

from __future__ import annotations

from typing import Any

__all__ = ["BYTE_CHARACTERS", "BYTE_LEVEL", "FUSE", "MODEL_OPTIONS", "NULL_PARTS", "bpe_without_merges"]


def _byte_characters() -> str:
    """A visible character for each byte: itself where Latin-1 shows it, else the next one from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte) if byte in visible else chr(next(others)) for byte in range(256))


BYTE_CHARACTERS = _byte_characters()
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
FUSE = {"type": "Fuse"}  # joins tokens with nothing between; no decoder at all would put spaces there

NULL_PARTS = ("truncation", "padding", "normalizer", "post_processor")
MODEL_OPTIONS = {
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


def bpe_without_merges(
    characters: str, pre_tokenizer: dict[str, Any] | None, decoder: dict[str, Any]
) -> dict[str, Any]:
    """tokenizer.json for a vocabulary of single characters; the place of a character is its id."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": {
            "type": "BPE",
            **MODEL_OPTIONS,
            "vocab": {character: id for id, character in enumerate(characters)},
            "merges": [],
        },
    }
