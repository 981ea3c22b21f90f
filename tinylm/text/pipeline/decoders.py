"""From tokens back to a text: functions from a list of tokens to a list, by the name of their type in tokenizer.json.

Source: https://huggingface.co/docs/tokenizers, components, decoders.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..hugging_face import BYTE_CHARACTERS
from ..words import KnownWords
from .part import Part, build
from .patterns import read_pattern

__all__ = ["WITH_SPACES", "Decoder", "read_decoder"]

Tokens = list[str]
Piece = str | bytes


def _never(tokens: Tokens) -> bool:
    return False


def _always(tokens: Tokens) -> bool:
    return True


@dataclass(frozen=True)
class Decoder:
    """How tokens become text.

    steps: applied one after the other to the tokens; what comes out is joined. piece: the text of a token that is not
    the first, or its bytes where these need not be whole characters. waits: whether tokens that follow may still change
    the text of these, the last ones so far. fuses: joins tokens, so that later steps see one. strips_start: changes
    nothing but the beginning of a token.
    """

    steps: tuple[Callable[[Tokens], Tokens], ...]
    piece: Callable[[str], Piece]
    waits: Callable[[Tokens], bool] = _never
    fuses: bool = False
    strips_start: bool = False

    def __call__(self, tokens: Tokens) -> str:
        for step in self.steps:
            tokens = step(tokens)
        return "".join(tokens)


def read_decoder(part: Part) -> Decoder:
    """The function that a component describes."""
    return build(part, BUILDERS)


def _each(change: Callable[[str, bool], str]) -> Decoder:
    """Changes each token by itself, told whether it is the first."""

    known = KnownWords(lambda token: change(token, False))

    def step(tokens: Tokens) -> Tokens:
        return [change(tokens[0], True), *map(known.__getitem__, tokens[1:])] if tokens else []

    return Decoder((step,), known.__getitem__)


# Where a file names no decoder.
WITH_SPACES = _each(lambda token, first: token if first else " " + token)


def _sequence(part: Part) -> Decoder:
    decoders = [read_decoder(inner) for inner in part.parts("decoders")]
    waits, fused = [], False
    for decoder in decoders:
        waits.append(decoder.waits if not fused or decoder.fuses or decoder.strips_start else _always)
        fused = fused or decoder.fuses

    def piece(token: str) -> Piece:
        result: Piece = token
        for decoder in decoders:
            if isinstance(result, str) and not (decoder.strips_start and fused):
                result = decoder.piece(result)
        return result

    steps = tuple(step for decoder in decoders for step in decoder.steps)
    return Decoder(steps, piece, lambda tokens: any(wait(tokens) for wait in waits), fuses=fused)


def _fuse(part: Part) -> Decoder:
    return Decoder((lambda tokens: ["".join(tokens)],), lambda token: token, fuses=True)


def _byte_level(part: Part) -> Decoder:
    """Characters that stand for bytes become these; a token with any other character is its own UTF-8."""
    for name in ("add_prefix_space", "trim_offsets", "use_regex"):
        part.flag(name, True)
    known = KnownWords(_spelt_bytes)

    def step(tokens: Tokens) -> Tokens:
        return [b"".join(map(known.__getitem__, tokens)).decode("utf-8", "replace")]

    def waits(tokens: Tokens) -> bool:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        decoder.decode(b"".join(map(known.__getitem__, tokens)))
        return decoder.getstate()[0] != b""

    return Decoder((step,), known.__getitem__, waits, fuses=True)


def _spelt_bytes(token: str) -> bytes:
    try:
        return bytes([BYTES[character] for character in token])
    except KeyError:
        return token.encode()


BYTES = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}


def _byte_fallback(part: Part) -> Decoder:
    """Tokens like <0x0A> become bytes; a row of them that is no UTF-8 becomes a U+FFFD for each."""

    def step(tokens: Tokens) -> Tokens:
        result: Tokens = []
        held = bytearray()
        for token in [*tokens, ""]:
            byte = _byte_of(token)
            if byte is not None:
                held.append(byte)
                continue
            if held:
                result += _text_of(bytes(held))
                held.clear()
            result.append(token)
        return result[:-1]

    def piece(token: str) -> Piece:
        byte = _byte_of(token)
        return token if byte is None else bytes([byte])

    return Decoder((step,), piece, lambda tokens: _byte_of(tokens[-1]) is not None)


IS_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")


def _byte_of(token: str) -> int | None:
    return int(token[3:5], 16) if len(token) == 6 and IS_BYTE.fullmatch(token) else None


def _text_of(raw: bytes) -> Tokens:
    try:
        return [raw.decode("utf-8")]
    except UnicodeDecodeError:
        return ["\ufffd"] * len(raw)


def _metaspace(part: Part) -> Decoder:
    mark = part.character("replacement", "▁")
    scheme = part.any("prepend_scheme", None)
    never = part.choice("prepend_scheme", ("always", "first", "never")) == "never" if scheme else False
    if not scheme:
        never = not part.flag("add_prefix_space", True)
    for ignored in ("add_prefix_space", "str_rep", "split"):
        part.any(ignored, None)
    return _each(lambda token, first: token.replace(mark, "" if first and not never else " "))


def _word_piece(part: Part) -> Decoder:
    prefix = part.text("prefix", "##")
    clean = _clean_up if part.flag("cleanup", True) else str

    def change(token: str, first: bool) -> str:
        if not first:
            token = token[len(prefix) :] if token.startswith(prefix) else " " + token
        return clean(token)

    return _each(change)


def _clean_up(token: str) -> str:
    """English punctuation and contractions as one writes them, as far as they lie within a token."""
    for before, after in CLEANER:
        token = token.replace(before, after)
    return token


CLEANER = (
    *((" " + mark, mark) for mark in ".?!,"),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    *((" '" + rest, "'" + rest) for rest in ("s", "ve", "re")),
)


def _bpe(part: Part) -> Decoder:
    """The suffix of a word's last token becomes a space, unless the text ends there."""
    suffix = part.text("suffix", "</w>")

    def step(tokens: Tokens) -> Tokens:
        rest = [token.replace(suffix, " ") for token in tokens[:-1]]
        return [*rest, tokens[-1].replace(suffix, "")] if tokens else []

    return Decoder((step,), lambda token: token.replace(suffix, " "), _always)


def _replace(part: Part) -> Decoder:
    pattern, content = read_pattern(part), part.text("content")
    return _each(lambda token, first: pattern.sub(lambda found: content, token))


def _strip(part: Part) -> Decoder:
    """Without some characters at the beginning, and some at the end, of each token."""
    content = part.character("content")
    start, stop = part.whole("start"), part.whole("stop")

    def change(token: str, first: bool) -> str:
        begin = min(start, len(token) - len(token.lstrip(content)))
        token = token[begin:]
        return token[: len(token) - min(stop, len(token) - len(token.rstrip(content)))]

    return replace(_each(change), strips_start=not stop)


BUILDERS: dict[str, Callable[[Part], Decoder]] = {
    "BPEDecoder": _bpe,
    "ByteFallback": _byte_fallback,
    "ByteLevel": _byte_level,
    "Fuse": _fuse,
    "Metaspace": _metaspace,
    "Replace": _replace,
    "Sequence": _sequence,
    "Strip": _strip,
    "WordPiece": _word_piece,
}
