"""Translation: from the text of one language to that of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex

from tinylm.metrics import Scores, bleu, chrf
from tinylm.text import Tokenizer

from .pairs import PairKind, PairSettings
from .records import columns_of

__all__ = ["Translation", "TranslationSettings", "tokenization_for"]


@dataclass(frozen=True)
class TranslationSettings(PairSettings):
    """The settings of translation."""

    task: str = "translation"
    source_column: str = ""  # the column of each field; guessed where empty
    target_column: str = ""
    label_smoothing: float = 0.1  # Vaswani et al. 2017, section 5.4


class Translation(PairKind):
    """Translation."""

    name = "translation"
    settings_class = TranslationSettings
    sample_title = "how it translates what is held out, and (how people did)"
    source = ("source",)
    target = "target"
    columns = columns_of(*source, target)

    @classmethod
    def prompt(cls, fields: Sequence[str], *, conditional: bool) -> str:
        return "{source}" if conditional else "{source}\n\nTranslation:\n"

    @classmethod
    def measure(cls, written: Sequence[str], right: Sequence[Any], sources: Sequence[Mapping[str, str]]) -> Scores:
        return bleu(written, right, tokenize=tokenization_for(right)) | chrf(written, right)

    def headline(self, tokenizer: Tokenizer, metrics: Mapping[str, float]) -> str:
        written = f"BLEU {metrics['val_bleu']:.1f}, chrF {metrics['val_chrf']:.1f}, " if "val_bleu" in metrics else ""
        return f"{written}loss {metrics['val_loss']:.4f}"

    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        return [(f'tinylm translate {best} "TEXT"', "translate a text, or a file line by line")]


# Scripts without spaces between words.
_CHINESE, _NO_SPACES = regex.compile(r"\p{Han}"), regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Thai}\p{Khmer}\p{Lao}]")


def tokenization_for(texts: Sequence[str]) -> str:
    """How BLEU splits texts of this script: the name of sacrebleu's tokenization."""
    text = "".join(texts[:1000])
    letters = len(regex.findall(r"\p{L}", text)) or 1
    if len(_NO_SPACES.findall(text)) > letters / 10:
        return "char"
    return "zh" if len(_CHINESE.findall(text)) > letters / 3 else "13a"
