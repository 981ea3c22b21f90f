"""The tokenizer in the metadata of a GGUF file.

Source: ggml-org/ggml, docs/gguf.md, "Tokenizer"; the names of the splits: ggml-org/llama.cpp, src/llama-vocab.cpp.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from tinylm.errors import FileFormatError

from .pipeline import PipelineTokenizer
from .pipeline.compose import (
    MARK,
    added_token,
    adding,
    bert_parts,
    bpe,
    byte_level_parts,
    compose,
    merges_by_score,
    sentencepiece_parts,
)
from .pipeline.patterns import SPLITS
from .tokenizer_config import TokenizerConfig

__all__ = ["from_gguf_fields"]

PREFIX = "tokenizer.ggml."
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # types of tokens; 2 is the unknown one, 6 a byte

# How a byte-level BPE splits, by `tokenizer.ggml.pre`.
GPT2_LIKE = {"default", "gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jina-es", "jina-de", "gigachat"}
DIGITS_APART = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"}
LLAMA3_LIKE = {"llama3", "llama-v3", "llama-bpe", "falcon3", "dbrx", "smaug-bpe"}
QWEN2_LIKE = {"qwen2", "stablelm2", "deepseek-r1-qwen", "megrez"}
GPT4O_LIKE = {"gpt-4o", "llama4"}


def from_gguf_fields(metadata: Mapping[str, Any], *, file: str = "GGUF") -> PipelineTokenizer:
    """The tokenizer that the metadata of a GGUF file describes.

    metadata: values by their full names, "tokenizer.ggml.tokens" and so on; others are left alone. Lists may be NumPy
    arrays. file: for messages. `encode` adds no tokens; `inputs` adds those that add_bos_token and add_eos_token say.
    Raises FileFormatError for a kind of tokenizer that is not supported and for lists that do not fit together.
    """
    fields = _Fields(metadata, file)
    kind = fields.text("model")
    if kind not in KINDS:
        raise FileFormatError(file, f"{PREFIX}model is {kind!r:.60}; supported: {', '.join(KINDS)}")
    return PipelineTokenizer(KINDS[kind](fields), file=file, config=fields.config())


class _Fields:
    """The tokenizer's fields, checked: tokens are texts, each once; what stands beside them is as long."""

    def __init__(self, metadata: Mapping[str, Any], file: str):
        self._metadata, self.file = metadata, file
        self.tokens: list[str] = self.listed("tokens", str)
        self.ids = {token: id for id, token in enumerate(self.tokens)}
        if len(self.ids) < len(self.tokens):
            self.refuse("tokens", "holds a token twice")
        self.types = self.beside("token_type", int, 1)

    def refuse(self, name: str, reason: str) -> Any:
        raise FileFormatError(self.file, f"{PREFIX}{name} {reason}")

    def get(self, name: str, default: Any = None) -> Any:
        return self._metadata.get(PREFIX + name, default)

    def text(self, name: str) -> str:
        value = self.get(name)
        return value if isinstance(value, str) else self.refuse(name, f"must be a text, not {value!r:.60}")

    def listed(self, name: str, kind: type) -> list[Any]:
        """A list of one type."""
        value = self.get(name)
        items = value.tolist() if hasattr(value, "tolist") else value
        if not isinstance(items, list) or not all(type(item) is kind for item in items):
            self.refuse(name, f"must be a list of {kind.__name__}, not {value!r:.60}")
        return items

    def beside(self, name: str, kind: type, default: Any) -> list[Any]:
        """A list with a value for each token; the default for each where there is none."""
        if self.get(name) is None:
            return [default] * len(self.tokens)
        items = self.listed(name, kind)
        if len(items) != len(self.tokens):
            self.refuse(name, f"has {len(items)} entries for {len(self.tokens)} tokens")
        return items

    def token_of(self, name: str) -> tuple[str, int] | None:
        """A token and its id, which a field names; None where it does not."""
        id = self.get(f"{name}_token_id")
        if id is None:
            return None
        if isinstance(id, bool) or not 0 <= int(id) < len(self.tokens):
            self.refuse(f"{name}_token_id", f"is {id!r:.60}, expected 0..{len(self.tokens) - 1}")
        return self.tokens[int(id)], int(id)

    def around(self, begin: str, end: str, *, by_default: tuple[bool, bool]) -> dict[str, Any] | None:
        """The post-processor that add_bos_token and add_eos_token, or the defaults of the two, ask for."""
        wanted = [self.get("add_bos_token", by_default[0]), self.get("add_eos_token", by_default[1])]
        tokens = [self.token_of(name) if add else None for name, add in zip((begin, end), wanted, strict=True)]
        return adding(*[[token] if token else [] for token in tokens])

    def added(self) -> list[dict[str, Any]]:
        """Control and user-defined tokens, which are found in a text before anything else."""
        return [
            added_token(id, self.tokens[id], special=kind == CONTROL)
            for id, kind in enumerate(self.types)
            if kind in (CONTROL, USER_DEFINED)
        ]

    def config(self) -> TokenizerConfig:
        """Which tokens are for what, and the template of conversations."""
        names = {"bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "cls": "cls"}
        found = {f"{name}_token": self.token_of(field) for name, field in (names | {"mask": "mask"}).items()}
        template = self._metadata.get("tokenizer.chat_template")
        tokens = {name: token[0] for name, token in found.items() if token}
        return TokenizerConfig(tokens, template if isinstance(template, str) else None)


def _byte_level(fields: _Fields) -> dict[str, Any]:
    """`gpt2`: a byte-level BPE with the merges of the file."""
    merges = [tuple(merge.split(" ")) for merge in fields.listed("merges", str)]
    pre = fields.get("pre", "default")
    pattern, digits, options = _split_of(fields, pre)
    return compose(
        bpe(fields.ids, merges, **options),
        added_tokens=fields.added(),
        post_processor=fields.around("bos", "eos", by_default=(False, False)),
        **byte_level_parts(pattern, digits=digits),
    )


def _split_of(fields: _Fields, pre: Any) -> tuple[str | None, bool, dict[str, Any]]:
    """The pattern, None for GPT-2's; whether digits are apart; options of the model."""
    if pre in LLAMA3_LIKE:
        return SPLITS["cl100k"], False, {"ignore_merges": True}
    for names, found in (
        (GPT2_LIKE, (None, False)),
        (DIGITS_APART, (None, True)),
        (QWEN2_LIKE, (SPLITS["qwen2"], False)),
        (GPT4O_LIKE, (SPLITS["o200k"], False)),
    ):
        if pre in names:
            return *found, {}
    known = sorted(GPT2_LIKE | DIGITS_APART | LLAMA3_LIKE | QWEN2_LIKE | GPT4O_LIKE)
    return fields.refuse("pre", f"is {pre!r:.60}, a split that is not known here; supported: {', '.join(known)}")


def _sentencepiece(fields: _Fields) -> dict[str, Any]:
    """`llama`: SentencePiece's BPE, which merges what makes the token with the best score, with bytes for the rest."""
    scores = fields.beside("scores", float, 0.0)
    merged = {token: scores[id] for token, id in fields.ids.items() if fields.types[id] in (NORMAL, USER_DEFINED)}
    unknown = fields.token_of("unknown")
    parts = sentencepiece_parts(prefix=bool(fields.get("add_space_prefix", True)))
    return compose(
        bpe(
            fields.ids,
            merges_by_score(merged, fields.ids),
            unk_token=unknown[0] if unknown else None,
            fuse_unk=True,
            byte_fallback=True,
        ),
        added_tokens=fields.added(),
        post_processor=fields.around("bos", "eos", by_default=(True, False)),
        **{**parts, "normalizer": _in_order(*_cleaning(fields, by_default=False), parts["normalizer"])},
    )


def _unigram(fields: _Fields) -> dict[str, Any]:
    """`t5`: SentencePiece's Unigram, with its table of replacements."""
    scores = fields.beside("scores", float, 0.0)
    unknown = fields.token_of("unknown")
    scheme = "always" if fields.get("add_space_prefix", True) else "never"
    metaspace = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": True}
    used = max((id for id, kind in enumerate(fields.types, 1) if kind != UNUSED), default=0)  # those after fill up
    return compose(
        {
            "type": "Unigram",
            "unk_id": unknown[1] if unknown else None,
            "vocab": [[token, score] for token, score in zip(fields.tokens[:used], scores, strict=False)],
            "byte_fallback": bool(fields.get("byte_fallback", False)),
        },
        added_tokens=fields.added(),
        normalizer=_in_order(*_cleaning(fields, by_default=True)),
        pre_tokenizer=metaspace,
        post_processor=fields.around("bos", "eos", by_default=(False, True)),
        decoder=metaspace,
    )


def _cleaning(fields: _Fields, *, by_default: bool) -> list[dict[str, Any]]:
    """SentencePiece's normalizers: its table, and no spaces around the text nor several in a row."""
    table = fields.get("precompiled_charsmap")
    steps: list[dict[str, Any]] = []
    if table is not None and len(table):
        encoded = base64.b64encode(bytes(table)).decode("ascii")
        steps.append({"type": "Precompiled", "precompiled_charsmap": encoded})
    if fields.get("remove_extra_whitespaces", by_default):
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    return steps


def _in_order(*steps: dict[str, Any]) -> dict[str, Any] | None:
    """One normalizer that does these."""
    if len(steps) < 2:
        return steps[0] if steps else None
    return {"type": "Sequence", "normalizers": list(steps)}


def _word_piece(fields: _Fields) -> dict[str, Any]:
    """`bert`: WordPiece, whose tokens are written with a mark where a word begins and plain where it goes on."""
    vocab = {_bert_spelling(token, fields.types[id]): id for token, id in fields.ids.items()}
    unknown = fields.token_of("unknown")
    if unknown is None:
        raise FileFormatError(fields.file, f"{PREFIX}unknown_token_id is missing")
    normal = (token for token, id in fields.ids.items() if fields.types[id] == NORMAL)
    lower = all(token == token.lower() for token in normal)
    begin = "bos" if fields.token_of("cls") is None else "cls"
    end = "eos" if fields.token_of("seperator") is None else "seperator"  # so it is spelt there
    parts = bert_parts(vocab, unknown=unknown[0], lowercase=lower)
    around = fields.around(begin, end, by_default=(True, True))
    both = fields.token_of(begin), fields.token_of(end)
    if around is not None and all(both) and len(around["single"]) == 3:  # of two texts the second has no beginning
        around = {"type": "BertProcessing", "cls": list(both[0] or ()), "sep": list(both[1] or ())}
    return {**parts, "added_tokens": fields.added(), "post_processor": around}


def _bert_spelling(token: str, kind: int) -> str:
    if kind != NORMAL:
        return token
    return token[1:] if token.startswith(MARK) else "##" + token


KINDS: dict[str, Callable[[_Fields], dict[str, Any]]] = {
    "gpt2": _byte_level,
    "llama": _sentencepiece,
    "bert": _word_piece,
    "t5": _unigram,
}
