"""Texts that are hard on tokenizers: languages, code, emoji, what is no UTF-8, pieces of special tokens."""

from __future__ import annotations

import importlib
import json
import random
import unicodedata
from pathlib import Path

from hypothesis import strategies as st

TOPICS = importlib.import_module("pydoc_data.topics").topics
ENGLISH = "\n".join(TOPICS[name] for name in sorted(TOPICS))[:60_000]
CHINESE = "春眠不觉晓。处处闻啼鸟。夜来风雨声。花落知多少。\n床前明月光、疑是地上霜。举头望明月、低头思故乡。\n"
CODE = Path(json.__file__).with_name("decoder.py").read_text(encoding="utf-8")
EMOJI = "👩\u200d👩\u200d👧\u200d👦 🇩🇪 👍🏽 1️⃣ e\u0301 Ünïcödé ΑΣ ΌΣΟΣ. ﬁ Å ½ ①② x² İstanbul ǅ \uff21\uff22 "
MALFORMED = random.Random(0).randbytes(4000).decode("utf-8", "replace")
TEXTS = {"English": ENGLISH, "Chinese": CHINESE * 5, "code": CODE, "emoji": EMOJI * 5, "malformed": MALFORMED}
TRAINING = ENGLISH + CHINESE + CODE[:5000] + EMOJI

# fmt: off
PIECES = [
    "'", "'r", "'LL", "e", "s", " ", "  ", "\n", "\r\n", "\t", "\u3000", "\x85", "\x1c", "a", "Zé", "中", "文", "1",
    "123", "½", "!", "?!", "...", "<s>", "</s>", "<mask>", "<|end|>", "[SEP]", "[MASK]", "\u0301", "😀", "👩\u200d👧",
    "\0", "ΑΣ", "the ", " world", "▁", "▁▁the", "<0x41>", "##a", "_", "-", "n't", "\u200b", "\ufeff",
]
# fmt: on
# The characters of Unicode 3.2 whose kind no later version has changed: all libraries agree on it. What others are
# depends on the age of their tables.
OLD = unicodedata.ucd_3_2_0
OLD_CHARACTERS = [
    character
    for character in map(chr, range(0x110000))
    if OLD.category(character) not in ("Cs", "Cn", "Co") and OLD.category(character) == unicodedata.category(character)
]
texts = st.lists(st.sampled_from(PIECES) | st.text(st.sampled_from(OLD_CHARACTERS), max_size=3), max_size=20).map(
    "".join
)
