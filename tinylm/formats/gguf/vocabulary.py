"""A tokenizer as the metadata of a GGUF file; `tinylm.text.from_gguf_fields` is the way back.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, "Tokenizer"; ggml-org/llama.cpp,
`src/llama-vocab.cpp` (what its loader reads).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinylm.errors import FileFormatError, TinylmError
from tinylm.files import parse_json
from tinylm.text import Tokenizer, from_gguf_fields, tokenizer_of_fields
from tinylm.text.pipeline.compose import MARK, bert_parts, sentencepiece_parts
from tinylm.text.pipeline.patterns import SPLITS

from .reading import GGUFFile

__all__ = ["TOKEN_IDS", "has_vocabulary", "read_vocabulary", "vocabulary_metadata"]

MODEL, PRE = "tokenizer.ggml.model", "tokenizer.ggml.pre"
TOKENS, TYPES, SCORES = (f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "scores"))
# The ids that config.json has, and those of the tokens that tokenizer_config.json has.
TOKEN_IDS = {"bos_token_id": "tokenizer.ggml.bos_token_id", "eos_token_id": "tokenizer.ggml.eos_token_id"}
OTHER_IDS = {
    "bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding", "sep_token": "seperator",
    "cls_token": "cls", "mask_token": "mask",
}  # fmt: skip

# A tokenizer.json in whole: written where llama.cpp has no words for the tokenizer, and then read before all else.
WHOLE = "tokenizer.huggingface.json"
NO_WORDS = "none"  # the model of a file without a tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

# llama.cpp's names of the splits, by the pattern (None for GPT-2's) and whether digits stand apart.
SPLIT_NAMES = {
    (None, False): "gpt-2",
    (None, True): "smollm",
    (SPLITS["cl100k"], False): "llama-bpe",
    (SPLITS["qwen2"], False): "qwen2",
    (SPLITS["o200k"], False): "gpt-4o",
}


def has_vocabulary(metadata: Mapping[str, Any]) -> bool:
    """Whether a file holds a tokenizer."""
    return WHOLE in metadata or metadata.get(MODEL, NO_WORDS) != NO_WORDS


def read_vocabulary(opened: GGUFFile) -> Tokenizer:
    """The tokenizer of a file. Raises FileFormatError."""
    whole = opened.metadata.get(WHOLE) if opened.metadata.get(MODEL, NO_WORDS) == NO_WORDS else None
    if whole is None:
        return from_gguf_fields(opened.metadata, file=str(opened.path))
    if not isinstance(whole, str):
        raise FileFormatError(opened.path, f"{WHOLE} must be a text", opened.metadata.position(WHOLE))
    return tokenizer_of_fields(parse_json(whole.encode("utf-8"), opened.path), opened.path)


def vocabulary_metadata(tokenizer: Tokenizer, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of its tokenizer.

    config: the settings of the model; where the model knows more ids than the tokenizer, the others are unused tokens.
    A tokenizer that llama.cpp has no words for, of characters perhaps, is kept in whole: llama.cpp then loads the model
    without one. Raises TinylmError for a tokenizer with more ids than the model.
    """
    size = config["vocab_size"]
    if tokenizer.vocab_size > size:
        raise TinylmError(f"the tokenizer has {tokenizer.vocab_size:,} tokens, the model only {size:,}")
    ids = {key: _first(config.get(name)) for name, key in TOKEN_IDS.items()}
    metadata: dict[str, Any] = {key: id for key, id in ids.items() if id is not None}
    fields = tokenizer.to_json()
    described = _describe(fields, size)
    if described is None:
        return {MODEL: NO_WORDS, WHOLE: json.dumps(fields, ensure_ascii=False), **metadata}
    around = {} if described[MODEL] == "bert" else _ids_around(fields.get("post_processor"))
    return {**described, **around, **_beside(tokenizer, fields), **metadata}


def _first(ids: Any) -> Any:
    """config.json may give several tokens that end a text; GGUF has one."""
    return ids[0] if isinstance(ids, list) and ids else ids


def _beside(tokenizer: Tokenizer, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in tokenizer_config.json, and which tokens stand around every text."""
    metadata: dict[str, Any] = {}
    config = tokenizer.config
    vocab = _ids(fields["model"]) | {token["content"]: token["id"] for token in fields.get("added_tokens") or []}
    for name, key in OTHER_IDS.items():
        if config.tokens.get(name) in vocab:
            metadata[f"tokenizer.ggml.{key}_token_id"] = vocab[config.tokens[name]]
    if config.chat_template is not None:
        metadata["tokenizer.chat_template"] = config.chat_template
    before, after = _around(fields.get("post_processor"))
    return {"tokenizer.ggml.add_bos_token": before, "tokenizer.ggml.add_eos_token": after, **metadata}


def _around(post_processor: Any) -> tuple[bool, bool]:
    """Whether a special token stands before each text, and after it."""
    steps = _flat(post_processor, "processors")
    if any(step.get("type") == "BertProcessing" for step in steps):
        return True, True
    template: list[dict[str, Any]] = next(
        (step["single"] for step in steps if step.get("type") == "TemplateProcessing"), []
    )
    return ("SpecialToken" in template[0], "SpecialToken" in template[-1]) if template else (False, False)


def _ids_around(post_processor: Any) -> dict[str, int]:
    """The tokens before and after each text, as the first and last of it."""
    found = {}
    for step in _flat(post_processor, "processors"):
        template = step.get("single") or [{}]
        for name, item in (("bos", template[0]), ("eos", template[-1])):
            if "SpecialToken" in item:
                found[f"tokenizer.ggml.{name}_token_id"] = step["special_tokens"][item["SpecialToken"]["id"]]["ids"][0]
    return found


def _flat(part: Any, inner: str) -> list[dict[str, Any]]:
    """A component of tokenizer.json as the list of its steps."""
    if part is None:
        return []
    return [step for each in part[inner] for step in _flat(each, inner)] if part.get("type") == "Sequence" else [part]


def _describe(fields: Mapping[str, Any], size: int) -> dict[str, Any] | None:
    """The tokens, and what kind of tokenizer has them; None where llama.cpp knows no such kind."""
    model = fields["model"]
    if model.get("type") == "WordPiece":
        return _describe_word_piece(fields, size)
    if model.get("type") == "Unigram":
        return _describe_unigram(fields, size)
    if model.get("type", "BPE") != "BPE" or model.get("dropout"):
        return None
    if model.get("byte_fallback"):
        return _describe_sentencepiece(fields, size)
    name = _split_name(fields.get("pre_tokenizer"), model)
    if name is None or fields.get("normalizer") is not None:
        return None
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return {MODEL: "gpt2", PRE: name, **_tokens(fields, size), "tokenizer.ggml.merges": merges}


def _describe_sentencepiece(fields: Mapping[str, Any], size: int) -> dict[str, Any] | None:
    """SentencePiece's BPE: instead of merges, a score for each token, the higher the earlier it is merged."""
    prefixes = (
        prefix for prefix in (True, False) if fields["normalizer"] == sentencepiece_parts(prefix=prefix)["normalizer"]
    )
    prefix = next(prefixes, None)
    if prefix is None or fields.get("pre_tokenizer") is not None:
        return None
    described = _tokens(fields, size)
    vocab, types = fields["model"]["vocab"], described[TYPES]
    for byte in range(256):
        if (id := vocab.get(f"<0x{byte:02X}>")) is not None:
            types[id] = BYTE
    if (unknown := vocab.get(fields["model"].get("unk_token"))) is not None:
        types[unknown] = UNKNOWN
        described["tokenizer.ggml.unknown_token_id"] = unknown
    scores = np.zeros(size, np.float32)
    for rank, merge in reversed(list(enumerate(fields["model"]["merges"], 1))):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        scores[vocab[left + right]] = -rank
    return {MODEL: "llama", PRE: "default", **described, SCORES: scores, "tokenizer.ggml.add_space_prefix": prefix}


def _describe_unigram(fields: Mapping[str, Any], size: int) -> dict[str, Any] | None:
    """SentencePiece's Unigram, with its scores as they are, in float32, and its table of replacements.

    What cleans and cuts a text has one form there: it is described where reading it gives the same again.
    """
    model, unknown = fields["model"], fields["model"].get("unk_id")
    if model.get("byte_fallback") or unknown is None:
        return None
    described = _tokens(fields, size)
    if model["vocab"][unknown][0] not in {token["content"] for token in fields.get("added_tokens") or []}:
        described[TYPES][unknown] = UNKNOWN
    scores = np.zeros(size, np.float32)
    scores[: len(model["vocab"])] = [score for _, score in model["vocab"]]
    steps = {step["type"]: step for step in _flat(fields.get("normalizer"), "normalizers")}
    table = steps.get("Precompiled", {}).get("precompiled_charsmap", "")
    prefix = (fields.get("pre_tokenizer") or {}).get("prepend_scheme") == "always"
    described |= {
        MODEL: "t5",
        PRE: "default",
        SCORES: scores,
        "tokenizer.ggml.unknown_token_id": unknown,
        "tokenizer.ggml.add_space_prefix": prefix,
        "tokenizer.ggml.remove_extra_whitespaces": "Strip" in steps,
    }
    if table:
        described["tokenizer.ggml.precompiled_charsmap"] = np.frombuffer(base64.b64decode(table), np.uint8)
    again = from_gguf_fields(described).to_json()
    parts = ("normalizer", "pre_tokenizer", "decoder")
    return described if all(again[part] == fields.get(part) for part in parts) else None


def _describe_word_piece(fields: Mapping[str, Any], size: int) -> dict[str, Any] | None:
    """BERT's: a mark where a word begins, nothing where it goes on; whether capitals count, the tokens say."""
    model = fields["model"]
    special = {token["content"]: token["id"] for token in fields.get("added_tokens") or []}
    normal = [token for token in model["vocab"] if token not in special]
    lowercase = all(token == token.lower() for token in normal)
    expected = bert_parts(model["vocab"], unknown=model["unk_token"], lowercase=lowercase)
    cleaning = dict(fields["normalizer"] or {})
    if cleaning.pop("strip_accents", None) is not None or cleaning != expected["normalizer"]:
        return None
    if any(fields[name] != expected[name] for name in ("model", "pre_tokenizer")):
        return None
    described = _tokens(fields, size)
    for token in normal:
        described[TOKENS][model["vocab"][token]] = token.removeprefix("##") if token.startswith("##") else MARK + token
    ids = {"unknown": special.get(model["unk_token"]), **dict(zip(("cls", "seperator"), _ends(fields), strict=False))}
    named = {f"tokenizer.ggml.{name}_token_id": id for name, id in ids.items() if id is not None}
    return {MODEL: "bert", **described, **named} if len(named) == 3 else None


def _ends(fields: Mapping[str, Any]) -> list[int]:
    """The ids of the one token before each text and the one after it; none where there are others."""
    (step,) = _flat(fields.get("post_processor"), "processors") or [{}]
    if step.get("type") == "BertProcessing":
        return [step["cls"][1], step["sep"][1]]
    names = [item["SpecialToken"]["id"] for item in step.get("single", []) if "SpecialToken" in item]
    return [id for name in names for id in step["special_tokens"][name]["ids"]] if _around(step) == (True, True) else []


def _split_name(pre_tokenizer: Any, model: Mapping[str, Any]) -> str | None:
    """llama.cpp's name of the way a byte-level BPE splits; None where it has none."""
    steps = _flat(pre_tokenizer, "pretokenizers")
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    pattern, digits = None, False
    for step in steps[:-1]:
        if step == {"type": "Digits", "individual_digits": True}:
            digits = True
        elif step.get("type") == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
            pattern = step["pattern"].get("Regex")
        else:
            return None
    if (pattern is None) != bool(steps[-1].get("use_regex", True)) and model["merges"]:
        return None  # where nothing is merged, it does not matter how the text is split
    return SPLIT_NAMES.get((pattern, digits))


def _tokens(fields: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Every id's token and its type."""
    tokens = [f"[PAD{id}]" for id in range(size)]
    types = np.full(size, UNUSED, np.int32)
    for token, id in _ids(fields["model"]).items():
        tokens[id], types[id] = token, NORMAL
    for added in fields.get("added_tokens") or []:
        tokens[added["id"]], types[added["id"]] = added["content"], CONTROL if added["special"] else USER_DEFINED
    return {TOKENS: tokens, TYPES: types}


def _ids(model: Mapping[str, Any]) -> dict[str, int]:
    """The tokens of a model: a Unigram has a list of them, with their scores."""
    vocab = model["vocab"]
    return {token: id for id, (token, _) in enumerate(vocab)} if isinstance(vocab, list) else dict(vocab)
