"""A tokenizer of any model of the field, put together from the components that its tokenizer.json names."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from tinylm.errors import TinylmError

from ..base import TextStream, Tokenizer, check_characters
from ..bpe import END_OF_TEXT
from ..tokenizer_config import TokenizerConfig
from ..words import KnownWords
from .added import AddedFinder, read_added
from .bpe import BPE
from .decoders import WITH_SPACES, read_decoder
from .local import cuts_at_spaces
from .normalizers import read_normalizer
from .part import Part, build
from .post_processors import PLAIN, read_post_processor
from .pre_tokenizers import read_pre_tokenizer
from .sequences import Inputs, Padding, Truncation, assemble, pad, read_padding, read_truncation, truncate
from .stream import PieceStream
from .tracing import read_traced_normalizer
from .unigram import Unigram
from .vocabulary import Model
from .windows import PlaceFinder, Window, make_windows
from .wordpiece import WordLevel, WordPiece

__all__ = ["PipelineTokenizer"]

MODELS: dict[str, Callable[[Part], Model]] = {
    "BPE": BPE,
    "Unigram": Unigram,
    "WordLevel": WordLevel,
    "WordPiece": WordPiece,
}
FromFile = Literal["file"]
T = TypeVar("T")


class PipelineTokenizer(Tokenizer):
    """Finds added tokens, normalizes what lies between them, cuts it into words, and encodes each with a model.

    fields: the content of tokenizer.json, which `to_json` gives back; file: where it comes from, for messages; config:
    what tokenizer_config.json says. `encode` gives the ids of the text alone; `inputs` and `batch` add special tokens,
    cut and pad as the file says. `decode` need not give the text back: a normalizer may have changed it.

    Raises FileFormatError for what is malformed or not supported.
    """

    kind: ClassVar[str] = "tokenizer.json"

    def __init__(self, fields: dict[str, Any], *, file: str = "tokenizer.json", config: TokenizerConfig | None = None):
        self._fields, self._file, self.config = fields, file, config or TokenizerConfig()
        whole = Part(file, "the file", fields)
        part = whole.optional
        self.added = read_added(whole.parts("added_tokens") if whole.any("added_tokens", None) is not None else [])
        normalizer, pre_tokenizer, decoder = part("normalizer"), part("pre_tokenizer"), part("decoder")
        self._normalize = read_normalizer(normalizer) if normalizer else _as_it_is
        steps = read_pre_tokenizer(pre_tokenizer) if pre_tokenizer else []
        self._model = _read_model(part("model") or whole.refuse("has no model"))
        self.decoder = read_decoder(decoder) if decoder else WITH_SPACES
        post_processor = part("post_processor")
        self._template = read_post_processor(post_processor) if post_processor else PLAIN
        self.truncation, self.padding = read_truncation(part("truncation")), read_padding(part("padding"))
        whole.any("version", None)
        whole.close()
        self._name_tokens(whole)
        self._find = AddedFinder(token for token in self.added if not token.normalized)
        self._find_normalized = AddedFinder((token for token in self.added if token.normalized), self._normalize)
        self._pre_tokenizers = steps
        self._prepare_words([*steps, lambda text, at_start: self._model.words(text)])
        self._safe = cuts_at_spaces(fields) and not (self._find.holds_space or self._find_normalized.holds_space)

    def _name_tokens(self, whole: Part) -> None:
        """The text of each token by its id, and what follows from the special ones."""
        ids = self._model.ids
        self._tokens = {id: token for token, id in ids.items()}
        for added in self.added:
            if ids.get(added.text, added.id) != added.id:
                whole.refuse(f"has the added token {added.text!r} with id {added.id}, in vocab {ids[added.text]}")
            if self._tokens.get(added.id, added.text) != added.text:
                whole.refuse(f"has id {added.id} for {added.text!r} and for {self._tokens[added.id]!r:.60}")
            self._tokens[added.id] = self._normalize(added.text) if added.normalized else added.text
        self.vocab_size = 1 + max(self._tokens, default=-1)
        self._special = {added.id for added in self.added if added.special}
        end = self.config.tokens.get("eos_token", END_OF_TEXT)
        self.end_of_text = next((added.id for added in self.added if added.text == end), ids.get(end))

    def _prepare_words(self, steps: list[Callable[[str, bool], list[str]]]) -> None:
        """steps: from text to the words of the model. What has gone through some of them has a table of its own."""
        self._steps = steps
        levels = range(1, len(steps) + 1)
        self._inner = {level: KnownWords(partial(self._encode_word, level, False)) for level in levels}
        self._first = {level: KnownWords(partial(self._encode_word, level, True)) for level in levels}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as what it was made from: a process that encodes a part of the text builds the rest."""
        return _rebuild, (self._fields, self._file, self.config)

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, (T,) int32, without special tokens around it. Raises TinylmError as `Tokenizer` says."""
        self._check_text(text)
        check_characters(text)
        return np.frombuffer(bytearray(b"".join(self._packed(text))), np.int32)

    def _packed(self, text: str) -> Iterator[bytes]:
        """The ids of a text, as the bytes of int32."""
        at_start = True
        for stretch, id in self._find.split(text):
            if id is not None:
                yield _pack([id])
            else:
                for part, id in self._find_normalized.split(self._normalize(stretch)):
                    yield _pack([id]) if id is not None else self._packed_words(part, at_start)
                    at_start = False
            at_start = False

    def _packed_words(self, text: str, at_start: bool) -> bytes:
        """The steps until the words are short; what they leave is known, or encoded once for each word."""
        words, level = [text], 0
        while level < len(self._steps) and (len(words) == 1 or len(words) * SHORT_WORD < len(text)):
            words = self._cut(self._steps[level], words, at_start)
            level += 1
        if at_start and words and text.startswith(words[0]):
            first, *words = words
            return self._first[level][first] + b"".join(map(self._inner[level].__getitem__, words))
        return b"".join(map(self._inner[level].__getitem__, words))

    def _encode_word(self, level: int, at_start: bool, word: str) -> bytes:
        words = [word]
        for step in self._steps[level:]:
            words = self._cut(step, words, at_start)
        return _pack([id for piece in words if piece for id in self._model(piece)])

    @staticmethod
    def _cut(step: Callable[[str, bool], list[str]], words: list[str], at_start: bool) -> list[str]:
        """What a step makes of words, of which the first begins a text where at_start says so."""
        return [piece for number, word in enumerate(words) for piece in step(word, at_start and number == 0)]

    def safe_cut(self, text: str) -> int:
        """Before the last space that follows a letter or digit, where the components let a text be cut there."""
        if not self._safe:
            return 0
        import regex

        found = regex.search(r"(?r)(?<=[\p{L}\p{N}]) ", text)
        return found.start() if found else 0

    def words(self, text: str) -> list[str]:
        """The words of a text as the model gets them, without added tokens."""
        check_characters(text)
        words: list[str] = []
        at_start = True
        for stretch, id in self._find.split(text):
            for part, found in self._find_normalized.split(self._normalize(stretch)) if id is None else ():
                some = [part] if found is None else []
                for step in self._steps:
                    some = self._cut(step, some, at_start)
                words += some
                at_start = False
            at_start = False
        return words

    def pieces(self, text: str) -> list[str]:
        """The stretches of a text that its tokens stand for, as the model gets them, without added tokens."""
        return [word[start:end] for word in self.words(text) for _, start, end in self._model.places(word)]

    def encode_chunks(self, chunks: Iterable[str]) -> Iterator[np.ndarray]:
        """The ids of a text that arrives in pieces: `encode` of the whole."""
        return map(self.encode, self.safe_pieces(chunks))

    def safe_pieces(self, chunks: Iterable[str]) -> Iterator[str]:
        """A text in pieces to be encoded one by one: each is held until it can be cut, if need be to the end."""
        held, wanted = "", BLOCK
        for chunk in chunks:
            self._check_text(chunk)
            held += chunk
            if len(held) >= wanted:
                cut = self.safe_cut(held)
                yield held[:cut]
                held = held[cut:]
                wanted = max(BLOCK, 2 * len(held))
        yield held

    def inputs(
        self,
        text: str,
        pair: str | None = None,
        *,
        special_tokens: bool = True,
        truncation: Truncation | FromFile | None = "file",
        padding: Padding | FromFile | None = "file",
    ) -> Inputs:
        """One text, or two, as a model takes them: (T,) ids, types and mask.

        truncation, padding: "file" for what the tokenizer.json says, None for none.
        """
        encoded = self._assemble(text, pair, special_tokens, self.truncation if truncation == "file" else truncation)
        how = self.padding if padding == "file" else padding
        return pad([encoded], how)[0] if how else encoded

    def windows(
        self,
        text: str,
        pair: str | None = None,
        *,
        special_tokens: bool = True,
        truncation: Truncation | FromFile | None = "file",
        padding: Padding | FromFile | None = "file",
    ) -> list[Window]:
        """The same as `inputs`, and whatever its truncation leaves out as further windows, which overlap by its stride.

        Each token knows the characters it stands for; see `Window`. Of two texts that are both cut, each window of one
        stands with each of the other. Raises TinylmError where the stride leaves no way on.
        """
        for each in (text,) if pair is None else (text, pair):
            self._check_text(each)
            check_characters(each)
        first, second = self._find_places(text), None if pair is None else self._find_places(pair)
        cut = self.truncation if truncation == "file" else truncation
        found = make_windows(self._template, first, second, cut, special_tokens=special_tokens)
        how = self.padding if padding == "file" else padding
        return pad(found, how) if how else found

    @cached_property
    def _find_places(self) -> PlaceFinder:
        part = Part(self._file, "the file", self._fields).optional("normalizer")
        normalize = read_traced_normalizer(part) if part else _as_it_is
        steps = self._pre_tokenizers
        return PlaceFinder(self._find, normalize, self._find_normalized, steps, self._model, self._tokens)

    def batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        special_tokens: bool = True,
        truncation: Truncation | FromFile | None = "file",
        padding: Padding | FromFile = "file",
    ) -> Inputs:
        """Several texts, or pairs of them, as a model takes them: (B, T) ids, types and mask.

        truncation, padding: "file" for what the tokenizer.json says, None for none. Where the file says nothing of
        padding, the longest sequence gives the length and the padding token of the config, or id 0, fills the others.
        """
        how = self.padding or Padding(self._padding_id()) if padding == "file" else padding
        cut = self.truncation if truncation == "file" else truncation
        seconds = [None] * len(texts) if pairs is None else pairs
        if len(seconds) != len(texts):
            raise TinylmError(f"batch: {len(texts)} texts and {len(seconds)} pairs; expected as many")
        rows = pad([self._assemble(*both, special_tokens, cut) for both in zip(texts, seconds, strict=True)], how)
        if len({len(row.ids) for row in rows}) > 1:
            raise TinylmError(f"batch: a text has more tokens than the {how.length} of the padding; truncate to that")
        return Inputs(*(np.array([getattr(row, name) for row in rows]) for name in ("ids", "type_ids", "mask")))

    def surround(self, ids: np.ndarray, pair: np.ndarray | None = None) -> Inputs:
        """The ids of a text, or of two, as a model takes them, with the special tokens around them: (T,) each."""
        return assemble(self._template, ids, pair, special_tokens=True)

    @property
    def special_ids(self) -> list[int]:
        """The tokens that stand for no text, ascending."""
        return sorted(self._special)

    def _padding_id(self) -> int:
        token = self.config.tokens.get("pad_token")
        return next((added.id for added in self.added if added.text == token), 0)

    def _assemble(self, text: str, pair: str | None, special_tokens: bool, how: Truncation | None) -> Inputs:
        first, second = self.encode(text), None if pair is None else self.encode(pair)
        if how:
            n_special = self._template.n_special(pair=pair is not None) if special_tokens else 0
            first, second = truncate(first, second, how, n_special)
        return assemble(self._template, first, second, special_tokens=special_tokens)

    def decode(self, ids: Sequence[int] | np.ndarray, *, skip_special: bool = False) -> str:
        """The text of ids, (T,) of any integer type; skip_special: without special tokens."""
        row = self._check_ids(ids).tolist()
        if skip_special:
            row = [id for id in row if id not in self._special]
        try:
            return self.decoder([self._tokens[id] for id in row])
        except KeyError as error:
            raise TinylmError(f"{type(self).__name__}.decode: there is no token with id {error.args[0]}") from None

    def stream(self) -> TextStream:
        """A decoder for ids that arrive one by one."""
        return PieceStream(self.decoder, self._token_of)

    def _token_of(self, id: int) -> str:
        token = self._tokens.get(int(self._check_ids([id])[0]))
        if token is None:
            raise TinylmError(f"{type(self).__name__}: there is no token with id {id}")
        return token

    def token(self, id: int) -> str:
        text = self._token_of(id)
        if id in self._special and text.isprintable():
            return text
        raw = self.token_bytes(id)
        try:
            return repr(raw.decode("utf-8"))
        except UnicodeDecodeError:
            return f"<0x{raw.hex().upper()}>"

    def token_bytes(self, id: int) -> bytes:
        """The UTF-8 bytes that a token stands for within a text; they need not be whole characters."""
        piece = self.decoder.piece(self._token_of(id))
        return piece if isinstance(piece, bytes) else piece.encode()

    def byte_lengths(self) -> np.ndarray:
        """UTF-8 bytes of each token, (V,) int64: 0 of special tokens and of ids that are none."""
        lengths = np.zeros(self.vocab_size, np.int64)
        for id in self._tokens.keys() - self._special:
            lengths[id] = len(self.token_bytes(id))
        return lengths

    def to_json(self) -> dict[str, Any]:
        return copy.deepcopy(self._fields)


SHORT_WORD = 64  # characters on average; longer ones would seldom be met again
BLOCK = 1 << 17  # characters of a text in pieces that are encoded at once


def _rebuild(fields: dict[str, Any], file: str, config: TokenizerConfig) -> PipelineTokenizer:
    return PipelineTokenizer(fields, file=file, config=config)


def _read_model(part: Part) -> Model:
    """The model; the first versions of the format did not write the type of a BPE."""
    if part.any("type", None) is None and part.any("merges", None) is not None:
        part = part.with_type("BPE")
    return build(part, MODELS)


def _as_it_is(text: T) -> T:
    return text


def _pack(ids: list[int]) -> bytes:
    return np.array(ids, np.int32).tobytes()
