"""LM: a trained model, its tokenizer and everything one does with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from os import PathLike
from typing import Any, overload

import numpy as np

from tinylm.autograd import no_grad
from tinylm.data import Progress
from tinylm.errors import TinylmError
from tinylm.formats import (
    GenerationConfig,
    Pooling,
    open_model,
    read_card,
    read_generation_config,
    save_model,
)
from tinylm.inference import (
    AnswerSpan,
    BeamGenerator,
    Candidate,
    ChatGenerator,
    Embedder,
    Engine,
    Labelled,
    ModuleEngine,
    answer_from_context,
    answer_sources,
    classify,
    fill_masks,
    is_reader,
    log_probabilities,
    next_logits,
    open_engine,
    probabilities,
    window_start,
)
from tinylm.metrics import Scores
from tinylm.models import EncoderDecoder
from tinylm.tasks import Paths, find_task, task_of
from tinylm.text import Tokenizer

__all__ = ["LM", "Candidate", "Score", "load"]


KEPT_BYTES = 64 << 20


@dataclass(frozen=True)
class Score:
    """How likely a text is by the chain rule: ln p(text) is the sum of the log_probabilities.

    tokens: the text of each token; log_probabilities: of each but the first, given those before it, in nats.
    """

    tokens: list[str]
    log_probabilities: list[float]

    @property
    def total(self) -> float:
        """ln p of the text after its first token."""
        return float(sum(self.log_probabilities))


class LM(ChatGenerator, BeamGenerator, Embedder):
    """A language model with its tokenizer; `tinylm.load` opens one. The weights are read when they are first used."""

    def __init__(
        self,
        get_model: Callable[[], Any],
        get_tokenizer: Callable[[], Tokenizer],
        get_pooling: Callable[[], Pooling] = Pooling,
        get_generation_config: Callable[[], GenerationConfig] = GenerationConfig,
        get_card: Callable[[], Mapping[str, Any]] = dict,
        get_engine: Callable[..., Engine | None] = lambda **options: None,
        *,
        deterministic: bool = False,
        kept_bytes: int = KEPT_BYTES,
    ):
        """deterministic, kept_bytes: see `load`."""
        self._options: dict[str, Any] = {"deterministic": deterministic, "kept_bytes": kept_bytes}
        self._get_model, self._get_tokenizer = get_model, get_tokenizer
        self._get_pooling, self._get_generation_config, self._get_card = get_pooling, get_generation_config, get_card
        self._get_engine = get_engine

    @classmethod
    def open(cls, path: str | PathLike[str], **options: Any) -> LM:
        """Open a model: see `load`."""
        source = open_model(path)
        read = (
            source.get_pooling,
            partial(read_generation_config, source),
            partial(read_card, source.path),
            partial(open_engine, source),
        )
        return cls(source.build, source.tokenizer, *read, **options)

    @cached_property
    def model(self) -> Any:
        """The Module, built and its weights mapped when first asked for. From then on its weights generate."""
        return self._get_model()

    @property
    def decoder(self) -> Any:
        """What generates: the engine, on the weights as the file holds them, or once there is a Module, on that's.

        What is changed in the Module is seen by the next request; see `ModuleEngine`. Where there is no engine for the
        family, the Module generates.
        """
        if "model" not in vars(self) and self._engine is not None:
            return self._engine
        engine = self._module_engine.get()
        if self._options["deterministic"] and not isinstance(engine, Engine):
            raise TinylmError(
                f"{self.model.architecture} has no engine of fixed sums: deterministic=True is not for it"
            )
        return engine or self.model

    @cached_property
    def _module_engine(self) -> ModuleEngine:
        return ModuleEngine(self.model, **self._options)

    @cached_property
    def _engine(self) -> Engine | None:
        return self._get_engine(**self._options)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Between texts and ids, read when first asked for."""
        return self._get_tokenizer()

    @property
    def config(self) -> Any:
        """The model's settings."""
        return self.decoder.config

    @cached_property
    def generation_config(self) -> GenerationConfig:
        """The tokens that begin and end a text, read when first asked for."""
        return self._get_generation_config()

    @cached_property
    def pooling(self) -> Pooling:
        """How an encoder makes one vector of a text, read when first asked for."""
        return self._get_pooling()

    @cached_property
    def task(self) -> Mapping[str, Any]:
        """What tinylm trained the model for: the "name" of the task, and what using it needs; {} if not known."""
        return self._get_card().get("task", {})

    def save(self, folder: str | PathLike[str]) -> None:
        """Write a model folder."""
        generation, pooling = self.generation_config.settings, self.pooling
        save_model(folder, self.model, self.tokenizer, self._get_card(), generation, pooling)

    def logits(
        self,
        input_ids: Sequence[Sequence[int]] | np.ndarray,
        attention_mask: Sequence[Sequence[int]] | np.ndarray | None = None,
        decoder_input_ids: Sequence[Sequence[int]] | np.ndarray | None = None,
    ) -> np.ndarray:
        """The logits (B, T, V) float32 of the token after each one, or of a masked language model, at each place.

        input_ids: (B, T). attention_mask: (B, T), 0 for padding. decoder_input_ids: (B, T), what the decoder of an
        encoder-decoder reads, for which input_ids are the source. An encoder with another head gives what that gives.
        """
        ids = _ids("input_ids", input_ids)
        mask = None if attention_mask is None else _ids("attention_mask", attention_mask) != 0
        if mask is not None and mask.shape != ids.shape:
            raise ValueError(f"logits: attention_mask has shape {mask.shape}, expected that of input_ids, {ids.shape}")
        two = isinstance(self.model, EncoderDecoder)
        if two != (decoder_input_ids is not None):
            raise TypeError(f"logits: {self.model.architecture} takes {'' if two else 'no '}decoder_input_ids")
        targets = (_ids("decoder_input_ids", decoder_input_ids),) if two else ()
        with no_grad():
            return self.model(ids, *targets, key_mask=mask).data.astype(np.float32, copy=False)

    @overload
    def translate(self, texts: str, **settings: Any) -> str: ...
    @overload
    def translate(self, texts: Sequence[str], **settings: Any) -> list[str]: ...
    def translate(self, texts: str | Sequence[str], **settings: Any) -> str | list[str]:
        """The translation of a text, or of each of several, by a model of the task translation.

        settings: beams=4, and what else `beam_search` takes, or those of `generate`; without any, the likeliest token
        each time, many texts at once. A text that is too long for the model's context is cut with a RuntimeWarning.
        """
        return self._targets("translation", texts, "source", settings)

    @overload
    def summarize(self, texts: str, **settings: Any) -> str: ...
    @overload
    def summarize(self, texts: Sequence[str], **settings: Any) -> list[str]: ...
    def summarize(self, texts: str | Sequence[str], **settings: Any) -> str | list[str]:
        """The summary of a text, or of each of several, by a model of the task summaries; as `translate`."""
        return self._targets("summaries", texts, "text", settings)

    def answer(self, question: str, context: str | None = None, **settings: Any) -> str:
        """The answer to a question by a model of the task questions or reading, "" where it finds none.

        context: what the answer is to be found in, for models that were trained with one. settings: as in `translate`;
        a model that marks answers has none.
        """
        if is_reader(self.model):
            if context is None or settings:
                raise TypeError(f"answer: {self.model.architecture} marks answers in a context and takes nothing else")
            found = self.find_answers(question, context)
            return found[0].text if found else ""
        fields = {"question": question} | ({} if context is None else {"context": context})
        return answer_sources(self, "questions", [fields], settings)[0]

    def find_answers(self, question: str, context: str, k: int = 1) -> list[AnswerSpan]:
        """The k likeliest answers that an encoder with a span head marks in a context; see `answer_from_context`."""
        known = {"max_tokens": self.task.get("context"), "may_be_none": self.task.get("may_be_none", False)}
        return answer_from_context(self.model, self.tokenizer, question, context, k, **known)

    def _targets(self, task: str, texts: str | Sequence[str], field: str, settings: Mapping[str, Any]) -> Any:
        sources = [{field: text} for text in ([texts] if isinstance(texts, str) else texts)]
        written = answer_sources(self, task, sources, settings)
        return written[0] if isinstance(texts, str) else written

    def next(self, text: str, k: int = 10) -> list[Candidate]:
        """The k most likely tokens after a text, the most likely first."""
        ids = self._encode(text)
        begin = window_start(len(ids), self._causal.context)
        p = probabilities(next_logits(self._causal, ids[begin:]))
        best = np.argsort(-p, kind="stable")[:k]
        return [Candidate(int(i), self.tokenizer.token(int(i)), float(p[i])) for i in best]

    def fill(self, text: str, k: int = 5) -> list[list[Candidate]]:
        """For each masked token of a text ("The [MASK] sat.") the k likeliest tokens: id, text, and probability.

        Raises TinylmError for a model that predicts no masked tokens, or a text without one.
        """
        return fill_masks(self.model, self.tokenizer, text, k)

    @overload
    def classify(self, texts: str, pairs: str | None = None) -> Labelled: ...  # type: ignore[overload-overlap]
    @overload
    def classify(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Labelled]: ...
    def classify(self, texts: Any, pairs: Any = None) -> Any:
        """The label of a text, or of each of a sequence of texts, and the probabilities of all labels.

        pairs: the second text of each, for a model of pairs. Raises TinylmError for a model without labels.
        """
        if isinstance(texts, str):
            return classify(self.model, self.tokenizer, [texts], None if pairs is None else [pairs])[0]
        return classify(self.model, self.tokenizer, texts, pairs)

    def score(self, text: str) -> Score:
        """The probability of a text, token by token."""
        ids = self._encode(text)
        tokens = [self.tokenizer.token(int(i)) for i in ids]
        return Score(tokens, log_probabilities(self._causal, ids).tolist())

    def evaluate(self, data: Paths, **options: Any) -> dict[str, float]:
        """The metrics of what the model was trained for, on files and folders; the arguments are those of `measure`.

        Of language modelling loss, perplexity, bits per byte, accuracy; of classification accuracy, F1 and so on.
        """
        return self.measure(data, **options).result()

    def measure(
        self, data: Paths, *, task: str | None = None, progress: Progress | None = None, **columns: str | None
    ) -> Scores:
        """What `evaluate` sums up, example by example, for intervals and comparisons; see `TaskKind.measure_model`.

        task: what to measure it for; unless told, what it was trained for, or where no one says, a task with its head.
        columns: text_column and so on, as the task has them. progress: told how far the reading of large data is.
        Records that cannot be used are skipped with a RuntimeWarning that says how many.
        """
        kind = task_of(self.model, self.task.get("name")) if task is None else find_task(task)
        return kind.measure_model(self, data, progress=progress, **columns)


def _ids(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "iub":
        raise TypeError(f"logits: expected {name} of shape (B, T), received {array.dtype} of shape {array.shape}")
    return array


def load(path: str | PathLike[str], *, deterministic: bool = False, kept_bytes: int = KEPT_BYTES) -> LM:
    """Open a model folder, the best model of a run folder, a GGUF or npz file, or a repository of the Hugging Face Hub.

    Only headers are read until the weights or the tokenizer are asked for. Raises TinylmError, which names the file and
    what is wrong with it.

    deterministic: the logits after a text have the same bits alone, in a batch, and however much of it was in a cache;
    for models that continue a text. kept_bytes: how much memory caches of earlier texts may take, for texts that begin
    like them.
    """
    return LM.open(path, deterministic=deterministic, kept_bytes=kept_bytes)
