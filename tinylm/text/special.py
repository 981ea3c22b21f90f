"""Special tokens by what they are for, in tokenizers that have them."""

from __future__ import annotations

from ..errors import TinylmError
from .base import Tokenizer
from .pipeline import PipelineTokenizer

__all__ = ["find_special", "require_special"]

# How they are written where tokenizer_config.json says nothing.
USUAL = {
    "mask_token": ("[MASK]", "<mask>"),
    "pad_token": ("[PAD]", "<pad>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
}


def find_special(tokenizer: Tokenizer, name: str) -> int | None:
    """The id of a special token ("mask_token", "pad_token", ...); None where the tokenizer has none of this kind."""
    if not isinstance(tokenizer, PipelineTokenizer):
        return None
    ids = {added.text: added.id for added in tokenizer.added}
    own = tokenizer.config.tokens.get(name)
    return next((ids[text] for text in ([own] if own else USUAL[name]) if text in ids), None)


def require_special(tokenizer: Tokenizer, name: str) -> tuple[PipelineTokenizer, int]:
    """The tokenizer, known to be one with special tokens, and the id of one. Raises TinylmError where it has none."""
    id = find_special(tokenizer, name)
    if id is None or not isinstance(tokenizer, PipelineTokenizer):
        raise TinylmError(
            f"{tokenizer!r} has no {name} ({' or '.join(USUAL[name])}); a tokenizer of the kind wordpiece has one"
        )
    return tokenizer, id
