"""Marian's three files: a flip or a cut of any of them is read or refused, in bounded time and memory."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from bounded import run_bounded

from tinylm.text import load_tokenizer

PIECES = {"<unk>": (0.0, 2), "</s>": (0.0, 3), "▁": (-2.0, 1), "▁the": (-2.5, 1), "▁cat": (-3.5, 1), "a": (-4.0, 1),
          "t": (-4.5, 1), "c": (-5.0, 1), "é": (-6.0, 1)}  # fmt: skip


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer: a whole number, or bytes of up to 127."""
    if isinstance(value, int):
        return bytes([number % 16 << 3 | (0x80 if number > 15 else 0), *([number >> 4] if number > 15 else []), value])
    return bytes([number << 3 | 2, len(value)]) + value


def sentencepiece() -> bytes:
    """A Unigram as SentencePiece writes it."""
    raw = b""
    for piece, (score, kind) in PIECES.items():
        content = field(1, piece.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", score) + field(3, kind)
        raw += field(1, content)
    return raw + field(2, field(3, 1) + field(40, 0)) + field(3, field(3, 1) + field(4, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("source.spm", "target.spm"):
        (tmp_path / name).write_bytes(sentencepiece())
    ids = {piece: id for id, piece in enumerate([*PIECES, "<pad>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    return tmp_path


def test_the_files_are_those_of_a_marian_tokenizer(folder: Path) -> None:
    tokenizer = load_tokenizer(folder / "source.spm")
    assert tokenizer.kind == "marian"
    assert [tokenizer.token(id) for id in tokenizer.inputs("the cat at").ids] == [
        "' the'",
        "' cat'",
        "' '",
        "'a'",
        "'t'",
        "</s>",
    ]


@pytest.mark.parametrize("name", ["source.spm", "target.spm", "vocab.json"])
def test_a_flip_or_a_cut_anywhere_is_read_or_refused(folder: Path, name: str) -> None:
    printed = run_bounded(
        f"""
from tinylm.text import load_tokenizer

def read(file):
    tokenizer = load_tokenizer(file.parent / "source.spm")
    for target in (False, True):
        tokenizer.decode(tokenizer.encode("the cat at é", target=target))

bad = folder / {name!r}
good = bad.read_bytes()
read(bad)
limit_memory()
changed = cuts(good) + flips(good, range(len(good)), every={8 if name == "vocab.json" else 2})
print(refusals(bad, changed, read), len(changed))
""",
        folder,
    )
    refused, changed = map(int, printed.split())
    assert changed / 10 < refused < changed
