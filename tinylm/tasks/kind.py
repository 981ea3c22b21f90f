"""A kind of task: the way from the settings of a run to what the trainer takes, and to what the model is for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from tinylm.data import Progress
from tinylm.data.augment import Change
from tinylm.errors import TinylmError
from tinylm.formats import Pooling, open_model
from tinylm.inference import BeamGenerator
from tinylm.metrics import Scores
from tinylm.models import FAMILIES, Model
from tinylm.text import Tokenizer
from tinylm.training import Task

from .initial import continue_model, prepare_model
from .new_models import new_model
from .settings import TrainSettings

__all__ = ["Paths", "TaskKind"]

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


class TaskKind(ABC):
    """A kind of task on the data of one run. A subclass is a task that `tinylm train --task NAME` knows; see `TASKS`.

    name: what users call it; settings_class: its settings, those of every run and its own; presets: settings to start
    from, by name; tuned: what a run that begins with another model (`init`) starts from instead; head: what its
    models end in (see `tinylm.models.Model.architectures`); sample_title: what a sample shows; metric: the one of its
    validation by which weights are kept as the best.

    A run makes one and calls, in this order, `fingerprint`, `build_tokenizer`, `load`, `build_model`, and `sample` on
    the way. init: the model that the run begins with, None for a new one. notify: told in one line each what happens;
    progress: how far the reading of large data is. change: made in the texts to learn from, where the task `augments`.
    """

    name: ClassVar[str]
    settings_class: ClassVar[type[TrainSettings]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"default": {}})
    tuned: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "learning_rate": 5e-5,  # of BERT's and GPT's fine-tuning: Devlin et al. 2019, A.3; Radford et al. 2018
            "final_learning_rate": 0.0,
            "warmup": 0.1,
            "beta2": 0.999,
            "weight_decay": 0.01,
            "steps": 300,
            "validate_every": 50,
            "checkpoint_every": 150,
        }
    )
    head: ClassVar[str] = ""  # of no single kind, where a subclass has its own `head_for`
    sample_title: ClassVar[str] = "what it writes"
    metric: ClassVar[str] = "loss"
    augments: ClassVar[bool] = False

    def __init__(
        self,
        settings: Any,
        *,
        notify: Callable[[str], None] = lambda message: None,
        progress: Progress | None = None,
        change: Change | None = None,
    ):
        if change is not None and not self.augments:
            raise TinylmError(f"the task {self.name} changes no texts: leave out the change")
        self.settings, self.notify, self.progress, self.change = settings, notify, progress, change
        self.init = open_model(settings.init) if settings.init else None
        if self.init is not None:
            self.init.family.architecture_with(self.head_for(self.init.family))  # or refused before anything is read
        self.read_data()

    @classmethod
    def head_for(cls, family: type[Model]) -> str:
        """What a model of this family ends in; `head`, unless the families of the task end in different things."""
        return cls.head

    @abstractmethod
    def read_data(self) -> None:
        """Read what `settings.data` names, once. Raises TinylmError for what cannot be used."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """What tells these data from any other."""

    @abstractmethod
    def learn_tokenizer(self) -> Tokenizer:
        """The tokenizer that the settings name, learnt from the data where it needs that."""

    @abstractmethod
    def load(self, tokenizer: Tokenizer) -> Task:
        """What the trainer takes batches and losses from, and measures the model with."""

    @abstractmethod
    def describe(self, tokenizer: Tokenizer) -> str:
        """The data in a few words: how much there is of what."""

    @abstractmethod
    def sample(self, model: Any, tokenizer: Tokenizer) -> str:
        """What the model does now, for people to read; the same for the same weights. "" for nothing."""

    @abstractmethod
    def headline(self, tokenizer: Tokenizer, metrics: Mapping[str, float]) -> str:
        """The figures that count, from the metrics of a validation, "val_loss" among them."""

    @abstractmethod
    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        """Commands to go on with, the model being in this folder, and what each does."""

    @classmethod
    def measure_model(
        cls, lm: BeamGenerator, data: Paths, *, progress: Progress | None = None, **columns: str | None
    ) -> Scores:
        """How well a trained model does on other data, by example. columns: text_column and such, None to guess.

        Raises TinylmError for data that cannot be used; warns (RuntimeWarning) of records that are left out.
        """
        raise TinylmError(f"models of the task {cls.name} are measured while they are trained, and not on other data")

    @classmethod
    def metric_of(cls, settings: Any) -> str:
        """The metric that a run with these settings goes by; `metric`, unless they decide what is measured."""
        return cls.metric

    def pooling(self) -> Pooling | None:
        """How its models make one vector of a text, where that is what they are for."""
        return None

    def use(self) -> dict[str, Any]:
        """What `tinylm.json` says of the task beside its name: what using the model needs to know."""
        return {}

    def model_settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """What the model's config.json says for the sake of the task, such as special tokens and labels."""
        return {}

    def build_tokenizer(self) -> Tokenizer:
        """The tokenizer of the run: that of the model it begins with, or the one of the settings."""
        return self.learn_tokenizer() if self.init is None else self.init.tokenizer()

    def build_model(self, tokenizer: Tokenizer) -> Model:
        """The model at the first step: a new one, or the one that the run begins with. After `load`.

        Its parameters that are trained are those with requires_grad.
        """
        model, new = self._first_model(tokenizer)
        prepare_model(model, self.settings, new)
        return model

    def _first_model(self, tokenizer: Tokenizer) -> tuple[Model, list[str]]:
        """The model, and those of its tensors that the one it begins with does not have."""
        settings, changes = self.settings, self.model_settings(tokenizer)
        if self.init is None:
            head = self.head_for(FAMILIES[settings.model])
            return new_model(settings, tokenizer.vocab_size, head=head, **changes), []
        model, new = continue_model(self.init, head=self.head_for(self.init.family), seed=settings.seed, **changes)
        if new:
            self.notify(f"{settings.init} has no {', '.join(new)}: new weights, which this task needs")
        if model.config.vocab_size < tokenizer.vocab_size:
            sizes = f"{tokenizer.vocab_size:,} tokens, and its model knows {model.config.vocab_size:,}"
            raise TinylmError(f"{settings.init}: its tokenizer has {sizes}")
        return model, new
