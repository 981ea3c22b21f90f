"""Targets of sources, many at a time: what translations, summaries and answers are written with."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tinylm.data import pad_rows
from tinylm.errors import TinylmError
from tinylm.formats import GenerationConfig
from tinylm.models import EncoderDecoder
from tinylm.nn import Module
from tinylm.text import Tokenizer

from .beam_generator import BeamGenerator
from .following import ModuleEngine
from .greedy import greedy
from .prompts import PairFormat
from .targets import target_start

__all__ = ["answer_sources", "find_format", "write_targets"]

ROWS = 32  # at a time
MOST_TOKENS = 200  # of a target, where a model says nothing of it


def answer_sources(
    generator: BeamGenerator, name: str, sources: Sequence[Mapping[str, str]], settings: Mapping[str, Any]
) -> list[str]:
    """The targets that a model of the task `name` writes for sources, the fields of each.

    settings: of generation, or of beam_search where "beams" is among them; without any, the likeliest token each time,
    many at once. A source that has to be cut to
    the context is told by a RuntimeWarning. Raises TinylmError for a model of another task, and for missing fields.
    """
    made, most = find_format(generator.model, generator.tokenizer, generator.task, name)
    texts = []
    for fields in sources:
        text, cut = made.source(fields, made.room(most))
        texts.append(text)
        if cut:
            whole = max(map(len, fields.values()))
            warnings.warn(f"a text of {whole:,} characters is longer than what the model reads: cut", RuntimeWarning, 4)
    if settings:
        chosen = {"temperature": 0.0, "max_tokens": most, **settings}
        if "beams" in settings:
            return [generator.beam_search(text, **chosen)[0].text.strip() for text in texts]
        return [text.strip() for text in generator.generate(texts, **chosen)]
    return write_targets(generator.decoder, made, texts, max_tokens=most, config=generator.generation_config)


def find_format(model: Any, tokenizer: Tokenizer, task: Mapping[str, Any], name: str) -> tuple[PairFormat, int]:
    """How a model that was trained for the task `name` takes its sources, and the most tokens of its targets.

    task: what its tinylm.json says. An encoder-decoder that says nothing, since others trained it, takes the source
    as it is. Raises TinylmError for a model that was trained for something else.
    """
    conditional = isinstance(model, EncoderDecoder)
    if task.get("name", name if conditional else None) != name:
        what = f"the task {task['name']}" if "name" in task else "no task that its tinylm.json would name"
        raise TinylmError(f"{model.architecture}: was trained for {what}; train one with --task {name}")
    ends = [model.config.eos_token_id] if isinstance(model.config.eos_token_id, int) else model.config.eos_token_id
    if not ends:
        raise TinylmError(f"{model.architecture}: its config.json names no eos_token_id, which ends a target")
    prompt = task.get("prompt", "{source}")
    made = PairFormat(tokenizer, prompt, conditional, task.get("context", model.context), ends[0])
    most = made.most_of_target() or MOST_TOKENS
    return made, min(task.get("max_tokens", MOST_TOKENS), most)


def write_targets(
    model: Any,
    made: PairFormat,
    texts: Sequence[str],
    *,
    max_tokens: int,
    config: GenerationConfig,
) -> list[str]:
    """The target of each text that `PairFormat.source` made, the likeliest token each time.

    model: a Module, or an engine. max_tokens: of a target, with its end; config: what else the model's folder says of
    how texts begin and end.
    """
    if isinstance(model, Module):
        model = ModuleEngine(model).get() or model
    rows = [made.source_ids(text) for text in texts]
    written = [""] * len(rows)
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    ends = {made.end, *config.eos_token_id}
    for first in range(0, len(order), ROWS):
        numbers = order[first : first + ROWS]
        found = _write([rows[number] for number in numbers], model, made.conditional, max_tokens, ends, config)
        for number, ids in zip(numbers, found, strict=True):
            written[number] = made.text(ids)
    return written


def _write(
    rows: Sequence[np.ndarray],
    model: Any,
    conditional: bool,
    max_tokens: int,
    ends: Collection[int],
    config: GenerationConfig,
) -> list[list[int]]:
    """The targets of some sources."""
    if not conditional:
        return greedy(model, rows, max_tokens=max_tokens, end_ids=ends, banned=config.banned)
    given = model.given(*pad_rows(rows, model.config.pad_token_id))
    start, most = target_start(given, config, max_tokens)
    return greedy(given, [start] * len(rows), max_tokens=most, end_ids=ends, banned=config.banned)
