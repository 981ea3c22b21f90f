"""Special tokens by what they are for, in tokenizers that have them."""

from __future__ import annotations

from ..errors import TinylmError
from .base import Tokenizer
from .pipeline import PipelineTokenizer
from .pipeline.compose import added_token, adding

__all__ = ["find_special", "require_special", "with_sentinels"]

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


def with_sentinels(tokenizer: Tokenizer, count: int) -> Tokenizer:
    """The tokenizer with <pad> and <extra_id_0> to <extra_id_(count - 1)>, as T5's has them, or with its own.

    Around a text as a model takes it, the token that ends texts comes last. Raises TinylmError for a tokenizer that
    cannot have special tokens.
    """
    if not isinstance(tokenizer, PipelineTokenizer) or tokenizer.end_of_text is None:
        raise TinylmError(f"{tokenizer!r} takes no special tokens; one of the kind unigram does")
    there = {added.text for added in tokenizer.added}
    if "<extra_id_0>" in there:
        return tokenizer
    fields, first = tokenizer.to_json(), tokenizer.vocab_size
    new = [text for text in ("<pad>", *(f"<extra_id_{number}>" for number in range(count))) if text not in there]
    fields["added_tokens"] += [added_token(first + at, text, special=True) for at, text in enumerate(new)]
    if fields.get("post_processor") is None:
        end = next(added.text for added in tokenizer.added if added.id == tokenizer.end_of_text)
        fields["post_processor"] = adding([], [(end, tokenizer.end_of_text)])
    return PipelineTokenizer(fields, config=tokenizer.config)
