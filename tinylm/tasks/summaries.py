"""Summaries: a short text from a long one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.baselines import lead, split_sentences
from tinylm.metrics import Figures, Scores, rouge, unicode_words
from tinylm.text import Tokenizer

from .pairs import PairKind, PairSettings
from .records import columns_of

__all__ = ["Summaries", "SummariesSettings"]

KINDS = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True)
class SummariesSettings(PairSettings):
    """The settings of summaries."""

    task: str = "summaries"
    text_column: str = ""  # the column of each field; guessed where empty
    summary_column: str = ""
    context: int = 256


@dataclass(frozen=True)
class _Lead:
    """Figures under the names of the baseline."""

    figures: Figures

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        return {f"lead_{name}": value for name, value in self.figures(rows).items()}


class Summaries(PairKind):
    """Summaries."""

    name = "summaries"
    settings_class = SummariesSettings
    sample_title = "how it sums up what is held out, and (how people did)"
    source = ("text",)
    target = "summary"
    columns = columns_of(*source, target)

    @classmethod
    def prompt(cls, fields: Sequence[str], *, conditional: bool) -> str:
        return "{text}" if conditional else "{text}\n\nSummary:\n"

    @classmethod
    def measure(cls, written: Sequence[str], right: Sequence[Any], sources: Sequence[Mapping[str, str]]) -> Scores:
        """ROUGE, and beside it, as lead_rouge1 and so on, that of the first sentences: as many as summaries have."""
        count = max(round(sum(len(split_sentences(text)) for text in right) / len(right)), 1)
        first = [lead(source["text"], count) for source in sources]
        found = rouge(written, right, words=unicode_words, kinds=KINDS)
        beside = rouge(first, right, words=unicode_words, kinds=KINDS)
        return found | replace(beside, figures=_Lead(beside.figures))

    def headline(self, tokenizer: Tokenizer, metrics: Mapping[str, float]) -> str:
        if "val_rougeL" not in metrics:
            return f"loss {metrics['val_loss']:.4f}"
        own, first = ([f"{metrics[f'val_{by}{kind}']:.3f}" for kind in KINDS] for by in ("", "lead_"))
        return f"ROUGE-1/2/L {'/'.join(own)} (the first sentences: {'/'.join(first)}), loss {metrics['val_loss']:.4f}"

    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        return [(f"tinylm summarize {best} FILE", "sum up a text")]
