"""Masked language modelling: an encoder learns to tell the words that are hidden in a text from all the others.

Source: Devlin et al. 2019, arXiv:1810.04805, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import regex

import tinylm_kernels as K
from tinylm.autograd import Tensor
from tinylm.data import IGNORE, Progress, mask_tokens
from tinylm.inference import BeamGenerator, fill_masks, masked_logits
from tinylm.metrics import Scores
from tinylm.models import Encoder
from tinylm.text import PipelineTokenizer, Tokenizer, find_special, require_special

from .hiding import HiddenTokens, window_settings
from .kind import Paths
from .settings import check_range
from .text import Source, TextKind, TextSettings, read_split

__all__ = ["Masked", "MaskedLanguageModelling", "MaskedSettings", "begins_words"]

Batch = tuple[np.ndarray, np.ndarray]  # inputs and targets, (B, T) each

SAMPLE_TOKENS = 32


@dataclass(frozen=True)
class MaskedSettings(TextSettings):
    """The settings of masked language modelling."""

    models: ClassVar[tuple[str, ...]] = ("bert",)

    task: str = "masked"
    model: str = "bert"
    tokenizer: str = "wordpiece"
    batch_size: int = 32
    learning_rate: float = 1e-3
    final_learning_rate: float = 3e-5
    warmup: float = 0.1
    mask_rate: float = 0.15  # the share of tokens that are to be predicted
    whole_words: bool = False  # hide the tokens of a word together

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("mask_rate", self.mask_rate, 1e-9, 1)


class MaskedLanguageModelling(HiddenTokens):
    """Windows with special tokens around them, some tokens hidden.

    rate: the share of tokens that are to be predicted; whole_words: hide the tokens of a word together.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        tokenizer: Tokenizer,
        *,
        rate: float = 0.15,
        whole_words: bool = False,
        **how: Any,
    ):
        self.tokenizer, self.mask_id = require_special(tokenizer, "mask_token")
        self.rate, self._begins = rate, begins_words(self.tokenizer) if whole_words else None
        super().__init__(sources, special=len(self.tokenizer.surround(np.zeros(0, np.int32)).ids), **how)

    def hide(self, windows: np.ndarray, *, seed: int, step: int, first_row: int) -> Batch:
        ids = np.array([self.tokenizer.surround(window).ids for window in windows])
        return mask_tokens(
            ids,
            mask_id=self.mask_id,
            vocab_size=self.tokenizer.vocab_size,
            special=np.isin(ids, self.tokenizer.special_ids),
            begins=None if self._begins is None else self._begins[ids],
            rate=self.rate,
            seed=seed,
            step=step,
            first_row=first_row,
        )

    def loss(self, model: Encoder, batch: Batch) -> Tensor:
        return model.loss(*batch, label_smoothing=self.label_smoothing)

    def tokens(self, batch: Batch) -> int:
        return batch[0].size

    def judge(self, model: Encoder, batch: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Logits are computed at the hidden places alone."""
        inputs, targets = batch
        places = np.flatnonzero(targets != IGNORE)
        logits, wanted = masked_logits(model, inputs, places), targets.reshape(-1)[places]
        losses, correct = np.zeros(targets.shape), np.zeros(targets.shape, bool)
        losses.reshape(-1)[places] = K.cross_entropy(logits, wanted)
        correct.reshape(-1)[places] = logits.argmax(axis=-1) == wanted
        return losses, correct


class Masked(TextKind):
    """Masked language modelling."""

    name = "masked"
    settings_class = MaskedSettings
    presets = MappingProxyType({"default": {}})
    head = "masked_language"
    sample_title = "what it makes of hidden words"
    settings: MaskedSettings

    def load(self, tokenizer: Tokenizer) -> MaskedLanguageModelling:
        settings = self.settings
        return MaskedLanguageModelling(
            self.load_sources(tokenizer),
            tokenizer,
            rate=settings.mask_rate,
            whole_words=settings.whole_words,
            **window_settings(settings),
        )

    def model_settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        return {"pad_token_id": find_special(tokenizer, "pad_token")} if self.init is None else {}

    @classmethod
    def measure_model(
        cls, lm: BeamGenerator, data: Paths, *, progress: Progress | None = None, **columns: str | None
    ) -> Scores:
        """The loss of hidden tokens and what follows from it; an example is a window of the model's context."""
        model, tokenizer = lm.model, lm.tokenizer
        split, name = read_split(data, tokenizer, columns, progress)
        task = MaskedLanguageModelling([Source("", split, split)], tokenizer, batch_size=1, context=model.context)
        return replace(task.measure(model, split), examples=f"{name} in {model.context:,} tokens")

    def sample(self, model: Encoder, tokenizer: Tokenizer) -> str:
        """The beginning of what is held out, every eighth word of it hidden, and what the model makes of those."""
        source = self.sources[0]
        split = source.validation if len(source.validation) else source.train
        words = tokenizer.decode(np.asarray(split.ids[: min(SAMPLE_TOKENS, model.context // 2)])).split()
        tokenizer, mask = require_special(tokenizer, "mask_token")
        hidden, words[3::8] = words[3::8], [tokenizer.token(mask)] * len(words[3::8])
        text = " ".join(words)
        if not hidden or len(tokenizer.inputs(text, truncation=None, padding=None).ids) > model.context:
            return ""
        lines = [text]
        for word, found in zip(hidden, fill_masks(model, tokenizer, text, 3), strict=True):
            guesses = ", ".join(f"{filling.text} {filling.probability:.0%}" for filling in found)
            lines.append(f"  {word}: {guesses}")
        return "\n".join(lines)

    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        return [(f'tinylm fill {best} "The [MASK] of the"', "what may stand there, and how likely")]


# Scripts that put no spaces between words: each of their characters counts as one.
_NO_SPACES = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")


def begins_words(tokenizer: PipelineTokenizer) -> np.ndarray:
    """Whether each token begins a word, (V,) bool: with a space, a sign that is no letter or digit, or in Chinese."""
    begins = np.ones(tokenizer.vocab_size, bool)
    for id, length in enumerate(tokenizer.byte_lengths().tolist()):
        if length:
            first = tokenizer.token_bytes(id).decode("utf-8", "replace")[0]
            begins[id] = first != "\ufffd" and (not first.isalnum() or bool(_NO_SPACES.match(first)))
    return begins
