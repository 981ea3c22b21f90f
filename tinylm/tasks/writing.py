"""Language modelling as a kind of task: learn a text, to write more of its kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from tinylm.data import Progress
from tinylm.errors import TinylmError
from tinylm.inference import BeamGenerator, Sampler, first_ids, generate
from tinylm.metrics import Scores
from tinylm.models import CausalLanguageModel
from tinylm.text import Tokenizer

from .continued import ContinuedLanguageModelling
from .kind import Paths
from .language_modelling import EVALUATION_CONTEXT, PACKINGS, LanguageModelling, measure_split
from .settings import RECURRENT, check_choice
from .text import TextKind, TextSettings, read_split

__all__ = ["PRESETS", "Writing", "WritingSettings"]

SAMPLE_TOKENS = 300

_LSTM: dict[str, Any] = {
    "model": "lstm",
    "layers": 2,
    "width": 256,
    "embedding": 128,
    "tie_embeddings": False,
    "context": 64,
    "batch_size": 32,
    "steps": 1000,
    "learning_rate": 3e-3,
    "final_learning_rate": 3e-4,
    "weight_decay": 0.0,
}
PRESETS: dict[str, dict[str, Any]] = {
    # The main job: the best text that two cores learn in about two minutes.
    "default": {},
    # nanoGPT's configuration for CPUs, for a comparison line by line.
    "nanogpt-cpu": {
        "context": 64,
        "batch_size": 12,
        "layers": 4,
        "heads": 4,
        "width": 128,
        "steps": 2000,
        "dropout": 0.0,
        "initial_std": 0.02,
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-4,
        "warmup": 0.05,  # 100 steps
        "beta1": 0.9,
        "beta2": 0.99,
        "weight_decay": 0.1,
        "clip": 1.0,
        "validation": 0.1,
    },
    "lstm": _LSTM,
    "gru": {**_LSTM, "model": "gru"},
}


@dataclass(frozen=True)
class WritingSettings(TextSettings):
    """The settings of language modelling."""

    models: ClassVar[tuple[str, ...]] = ("gpt2", "llama", "gpt_neox", *RECURRENT)

    task: str = "language-modelling"
    packing: str = "stream"  # windows anywhere in the text, or of whole documents, which see each other or not
    carry_state: bool = False  # of recurrent models: each step goes on in the text, and from the state, of the last

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("packing", self.packing, tuple(PACKINGS))
        if self.packing == "separate" and self.model in RECURRENT:
            raise TinylmError(f"packing=separate is for Transformers, whose tokens can be kept apart, not {self.model}")
        if self.carry_state and self.model not in RECURRENT:
            raise TinylmError(f"carry_state is for {' and '.join(RECURRENT)}; model is {self.model!r}")
        if self.carry_state and (self.packing != "stream" or self.weights):
            raise TinylmError(
                "carry_state reads one text in its order: it goes with packing=stream and without weights"
            )


class Writing(TextKind):
    """Language modelling: a causal model learns to predict each token of a text from those before it."""

    name = "language-modelling"
    settings_class = WritingSettings
    presets = MappingProxyType(PRESETS)
    head = "language"
    settings: WritingSettings
    task: LanguageModelling

    def load(self, tokenizer: Tokenizer) -> LanguageModelling:
        settings = self.settings
        kind = ContinuedLanguageModelling if settings.carry_state else LanguageModelling
        self.task = kind(
            self.load_sources(tokenizer),
            batch_size=settings.batch_size,
            context=settings.context,
            seed=settings.seed,
            label_smoothing=settings.label_smoothing,
            packing=settings.packing,
        )
        for message in self.task.messages:
            self.notify(message)
        return self.task

    def model_settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Of a new model: the token that ends a text, where generation stops, and that begins one, if it sees that."""
        end = tokenizer.end_of_text
        new = {"bos_token_id": end if self.task.begins_documents else None, "eos_token_id": end}
        return new if self.init is None else {}

    @classmethod
    def measure_model(
        cls, lm: BeamGenerator, data: Paths, *, progress: Progress | None = None, **columns: str | None
    ) -> Scores:
        """The loss of each token and what follows from it; an example is a window of the model's context."""
        split, name = read_split(data, lm.tokenizer, columns, progress)
        if len(split) < 2:
            raise TinylmError("a text of one token predicts nothing; give a longer one")
        model = lm.model
        if not isinstance(model, CausalLanguageModel):
            raise TinylmError(f"{model.architecture} is no causal language model, which is what predicts a text")
        context = model.context or EVALUATION_CONTEXT
        return replace(measure_split(model, split, context=context), examples=f"{name} in {context:,} tokens")

    def sample(self, model: CausalLanguageModel, tokenizer: Tokenizer) -> str:
        """What the model writes from nothing."""
        choose, start = Sampler(temperature=0.8, seed=self.settings.seed), first_ids(model, tokenizer)
        return tokenizer.decode(list(generate(model, start, choose, max_tokens=SAMPLE_TOKENS, stop=model.end_ids)))

    def headline(self, tokenizer: Tokenizer, metrics: Mapping[str, float]) -> str:
        """In a unit that other tokenizers can be compared by: characters or bytes, not tokens."""
        loss = metrics["val_loss"]
        if tokenizer.kind == "chars":
            return f"{loss / math.log(2):.3f} bits per character (loss {loss:.4f})"
        return f"{metrics['val_bits_per_byte']:.3f} bits per byte (loss {loss:.4f})"

    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        return [
            (f'tinylm generate {best} "The "', "let it write"),
            (f'tinylm next {best} "The quick"', "what may come next, and how likely"),
            (f"tinylm eval {best} FILE", "how well it predicts another text"),
        ]
