"""Span corruption: an encoder-decoder learns to tell the stretches that were left out of a text.

Source: Raffel et al. 2020, arXiv:1910.10683, section 3.1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Tensor, no_grad
from tinylm.data import Progress, corrupted_batch
from tinylm.errors import TinylmError
from tinylm.inference import BeamGenerator, generate
from tinylm.metrics import Scores
from tinylm.models import EncoderDecoder
from tinylm.text import PipelineTokenizer, Tokenizer, find_special, with_sentinels

from .hiding import HiddenTokens, window_settings
from .kind import Paths
from .language_modelling import EVALUATION_CONTEXT
from .settings import INFINITY, check_range
from .text import Source, TextKind, TextSettings, read_split

__all__ = ["SpanCorruption", "Spans", "SpansSettings", "sentinel_ids"]

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # the source (B, S), its mask (B, S) bool, and the targets (B, U)

SENTINELS = 100  # of a new tokenizer, as T5's has them
SAMPLE_TOKENS = 40


@dataclass(frozen=True)
class SpansSettings(TextSettings):
    """The settings of span corruption."""

    models: ClassVar[tuple[str, ...]] = ("t5",)

    task: str = "spans"
    model: str = "t5"
    tokenizer: str = "unigram"
    batch_size: int = 32
    learning_rate: float = 3e-3
    warmup: float = 0.1
    left_out: float = 0.15  # the share of tokens that is left out
    span_length: float = 3.0  # tokens of a span, on average

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("left_out", self.left_out, 1e-9, 1)
        check_range("span_length", self.span_length, 1, INFINITY)
        check_range("context", self.context, 2, INFINITY)


def sentinel_ids(tokenizer: Tokenizer) -> list[int]:
    """The tokens that stand for what is left out, <extra_id_0> and so on, in their order; as many as there are."""
    ids = {added.text: added.id for added in tokenizer.added} if isinstance(tokenizer, PipelineTokenizer) else {}
    found: list[int] = []
    while (id := ids.get(f"<extra_id_{len(found)}>")) is not None:
        found.append(id)
    return found


class SpanCorruption(HiddenTokens):
    """Windows of which some spans are left out and to be told.

    left_out: the share of tokens that is left out; span_length: tokens of a span, on average.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        tokenizer: Tokenizer,
        *,
        left_out: float = 0.15,
        span_length: float = 3.0,
        **how: Any,
    ):
        pad, end, sentinels = find_special(tokenizer, "pad_token"), tokenizer.end_of_text, sentinel_ids(tokenizer)
        if pad is None or end is None or not sentinels:
            raise TinylmError(
                f"{tokenizer!r} lacks <pad>, a token that ends texts, or <extra_id_0>; a new unigram has them"
            )
        self._how: dict[str, Any] = {"pad_id": pad, "end_id": end, "sentinels": sentinels}
        self._how |= {"rate": left_out, "mean_length": span_length}
        super().__init__(sources, **how)

    def hide(self, windows: np.ndarray, *, seed: int, step: int, first_row: int) -> Batch:
        """Sources, their masks, and targets of windows of a text (B, T)."""
        return corrupted_batch(windows, seed=seed, step=step, first_row=first_row, **self._how)

    def loss(self, model: EncoderDecoder, batch: Batch) -> Tensor:
        source, mask, targets = batch
        return model.loss(source, targets, key_mask=mask, label_smoothing=self.label_smoothing)

    def tokens(self, batch: Batch) -> int:
        return batch[0].size + batch[2].size

    def judge(self, model: EncoderDecoder, batch: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        ids, mask, targets = batch
        with no_grad():
            logits = model(ids, model.shifted(targets), mask).data
        losses = K.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))
        return losses.reshape(targets.shape), logits.argmax(axis=-1) == targets


class Spans(TextKind):
    """Span corruption."""

    name = "spans"
    settings_class = SpansSettings
    head = "conditional"
    sample_title = "what it says of what is left out"
    settings: SpansSettings

    def learn_tokenizer(self) -> Tokenizer:
        """The one of the settings, with the tokens that stand for spans."""
        return with_sentinels(super().learn_tokenizer(), SENTINELS)

    def load(self, tokenizer: Tokenizer) -> SpanCorruption:
        settings = self.settings
        self.task = SpanCorruption(
            self.load_sources(tokenizer),
            tokenizer,
            left_out=settings.left_out,
            span_length=settings.span_length,
            **window_settings(settings),
        )
        return self.task

    def model_settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        pad = find_special(tokenizer, "pad_token")
        new = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": tokenizer.end_of_text}
        return new if self.init is None else {}

    def use(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "context": settings.context,
            "left_out": settings.left_out,
            "span_length": settings.span_length,
        }

    @classmethod
    def measure_model(
        cls, lm: BeamGenerator, data: Paths, *, progress: Progress | None = None, **columns: str | None
    ) -> Scores:
        """The loss of what is left out and what follows from it; an example is a window as in training."""
        split, name = read_split(data, lm.tokenizer, columns, progress)
        how = {"context": EVALUATION_CONTEXT, **{key: value for key, value in lm.task.items() if key != "name"}}
        if len(split) <= how["context"]:
            raise TinylmError(f"a text of {len(split):,} tokens; to be measured it takes {how['context'] + 1:,}")
        task = SpanCorruption([Source("", split, split)], lm.tokenizer, batch_size=1, **how)
        return replace(task.measure(lm.model, split), examples=f"{name} as {how}")

    def sample(self, model: EncoderDecoder, tokenizer: Tokenizer) -> str:
        """The beginning of what is held out, without some of it, what is missing, and what the model says it is."""
        source = self.sources[0]
        split = source.validation if len(source.validation) else source.train
        window = np.asarray(split.ids[: min(SAMPLE_TOKENS, self.settings.context)]).astype(np.int32)
        if len(window) < 2:
            return ""
        ids, mask, targets = self.task.hide(window[None], seed=0, step=0, first_row=0)
        given, start = model.given(ids, mask), [model.config.decoder_start_token_id]
        choose: Any = np.argmax
        said = np.array(list(generate(given, start, choose, max_tokens=2 * targets.size, stop=given.end_ids)), int)
        rows = {"text": ids[0, :-1], "left out": targets[0, :-1], "said": said}
        return "\n".join(f"{name}: {tokenizer.decode(row).strip()}" for name, row in rows.items())

    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        return [(f'tinylm generate {best} "The <extra_id_0> of the" --temperature 0', "what is left out there")]
