"""The tokenizer of a Marian translation model: a SentencePiece for each language, and one table of ids for both.

Source: Junczys-Dowmunt et al. 2018, arXiv:1804.00344; the files are those of Hugging Face's MarianTokenizer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinylm.errors import FileFormatError, TinylmError
from tinylm.files import read_json, write_atomically

from .base import TextStream, Tokenizer, check_characters
from .gguf import from_gguf_fields
from .pipeline import Inputs, Padding, PipelineTokenizer, Truncation
from .pipeline.added import Added, AddedFinder
from .pipeline.charsmap import Charsmap
from .pipeline.compose import MARK
from .pipeline.stream import PieceStream
from .sentencepiece import read_sentencepiece
from .tokenizer_config import TokenizerConfig, read_tokenizer_config

__all__ = ["SOURCE", "MarianTokenizer", "load_marian"]

SOURCE, TARGET, VOCABULARY = "source.spm", "target.spm", "vocab.json"
SPECIAL = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
CODE_BEGINS, CODE_ENDS = ">>", "<<"  # around the language that a model of several is to write, before its source


class Pieces:
    """A SentencePiece file as the library itself reads it: a text to its pieces, what is unknown as it stands.

    Special tokens are spelt letter by letter. Source: Kudo and Richardson 2018, arXiv:1808.06226.
    """

    def __init__(self, file: Path):
        metadata = read_sentencepiece(file)
        table = bytes(metadata["tokenizer.ggml.precompiled_charsmap"])
        try:
            self._charsmap = Charsmap(table) if table else None
        except ValueError as error:
            raise FileFormatError(file, str(error)) from None
        self._trims = metadata["tokenizer.ggml.remove_extra_whitespaces"]
        self._begins = MARK if metadata["tokenizer.ggml.add_space_prefix"] else ""
        fields = from_gguf_fields(metadata, file=str(file)).to_json()
        cut = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "never", "split": True}
        plain: dict[str, Any] = {"added_tokens": [], "post_processor": None, "normalizer": None, "pre_tokenizer": cut}
        self._tokenizer = PipelineTokenizer({**fields, **plain}, file=str(file))
        self.decoder = self._tokenizer.decoder

    def __call__(self, text: str) -> list[str]:
        return self._tokenizer.pieces(self._normalized(text))

    def _normalized(self, text: str) -> str:
        """Characters replaced; spaces as marks, where the file says so none at the ends and one between words."""
        text = "".join(self._charsmap.by_longest_key(text)) if self._charsmap else text
        if self._trims:
            text = " ".join(word for word in text.split(" ") if word)
        marked = (self._begins + text).replace(" ", MARK) if text else ""
        return marked.rstrip(MARK) if self._trims else marked


class MarianTokenizer(Tokenizer):
    """Cuts a source with one SentencePiece, a target with another, and looks up what they give in one table.

    files: the content of the three files, which `save` writes again. `encode` is for sources unless told; `inputs` adds
    the token that ends them.
    """

    kind: ClassVar[str] = "marian"

    def __init__(
        self,
        source: Pieces,
        target: Pieces,
        ids: Mapping[str, int],
        files: Mapping[str, bytes],
        config: TokenizerConfig,
    ):
        self._source, self._target, self._ids, self._files = source, target, ids, files
        self.config = config
        self._tokens = {id: token for token, id in ids.items()}
        self.vocab_size = 1 + max(self._tokens)
        named = {**SPECIAL, **config.tokens}
        self._special = {named[name]: ids[named[name]] for name in SPECIAL}
        self._end, self._unknown = ids[named["eos_token"]], ids[named["unk_token"]]
        self.end_of_text = self._end
        self._find = AddedFinder(
            Added(text, id, special=True, single_word=False, lstrip=False, rstrip=False, normalized=False)
            for text, id in self._special.items()
        )

    def encode(self, text: str, *, target: bool = False) -> np.ndarray:
        """The ids of a text, (T,) int32, without the token that ends it; target: of one in the language written."""
        self._check_text(text)
        check_characters(text)
        ids: list[int] = []
        for stretch, id in self._find.split(text):
            ids += self._pieces(stretch, self._target if target else self._source) if id is None else [id]
        return np.array(ids, np.int32)

    def _pieces(self, text: str, pieces: Pieces) -> list[int]:
        end = text.find(CODE_ENDS) + len(CODE_ENDS) if text.startswith(CODE_BEGINS) and CODE_ENDS in text else 0
        found = [*([text[:end]] if end else []), *pieces(text[end:])]
        return [self._ids.get(piece, self._unknown) for piece in found]

    def inputs(
        self,
        text: str,
        *,
        target: bool = False,
        truncation: Truncation | None = None,
        padding: Padding | None = None,
    ) -> Inputs:
        """A text as a model takes it, with the token that ends it: (T,) ids, types and mask."""
        ids = self.encode(text, target=target)
        if truncation:
            ids = ids[: truncation.max_length - 1]
        ids = np.append(ids, np.int32(self._end))
        found = Inputs(ids, np.zeros(len(ids), np.int32), np.ones(len(ids), bool))
        missing = max(0, (padding.length or 0) - len(ids)) if padding else 0
        return found.padded((0, missing), padding) if padding else found

    def decode(self, ids: Sequence[int] | np.ndarray, *, skip_special: bool = False) -> str:
        """The text of ids, (T,) of any integer type; skip_special: without special tokens."""
        tokens = [self._token_of(id) for id in self._check_ids(ids).tolist()]
        return self._source.decoder([token for token in tokens if not (skip_special and token in self._special)])

    def stream(self) -> TextStream:
        """A decoder for ids that arrive one by one."""
        return PieceStream(self._source.decoder, self._token_of)

    def _token_of(self, id: int) -> str:
        token = self._tokens.get(int(id))
        if token is None:
            raise TinylmError(f"{type(self).__name__}: there is no token with id {id}")
        return token

    def token(self, id: int) -> str:
        text = self._token_of(id)
        return text if text in self._special else repr(self.token_bytes(id).decode("utf-8"))

    def token_bytes(self, id: int) -> bytes:
        return self._token_of(id).replace(MARK, " ").encode()

    def to_json(self) -> dict[str, Any]:
        raise TinylmError("the tokenizer of a Marian model has two SentencePieces, which no tokenizer.json holds")

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the three files, and tokenizer_config.json, into a folder; returns the path of vocab.json."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, content in self._files.items():
            write_atomically(Path(folder) / name, content)
        TokenizerConfig({**SPECIAL, **self.config.tokens}).save(folder)
        return Path(folder) / VOCABULARY


def load_marian(folder: str | os.PathLike[str]) -> MarianTokenizer:
    """The tokenizer in source.spm, target.spm and vocab.json. Raises FileFormatError naming the one that is wrong."""
    path = Path(folder)
    for name in (SOURCE, TARGET, VOCABULARY):
        if not (path / name).is_file():
            raise FileFormatError(path / name, "is missing: a Marian model has source.spm, target.spm and vocab.json")
    ids, config = read_json(path / VOCABULARY), read_tokenizer_config(path)
    if not isinstance(ids, dict) or not all(type(id) is int and 0 <= id < 1 << 22 for id in ids.values()):
        raise FileFormatError(path / VOCABULARY, "expected an object of ids by token")
    if len(set(ids.values())) < len(ids):
        raise FileFormatError(path / VOCABULARY, "has an id for two tokens")
    if missing := [token for token in {**SPECIAL, **config.tokens}.values() if token not in ids]:
        raise FileFormatError(path / VOCABULARY, f"lacks {', '.join(missing)}")
    files = {name: (path / name).read_bytes() for name in (SOURCE, TARGET)}
    content = json.dumps(ids, ensure_ascii=False, indent=1).encode("utf-8")
    return MarianTokenizer(Pieces(path / SOURCE), Pieces(path / TARGET), ids, {**files, VOCABULARY: content}, config)
