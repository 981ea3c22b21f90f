"""Which of several runs is the best, among those that can be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TinylmError, nearest
from ..metrics import higher_is_better
from .run_folder import RunFolder

__all__ = ["Ranking", "rank_runs"]

# Settings that say on which text a run is validated, and in which tokens; with the fingerprint of the data.
TEXT = ("task", "text_column", "strict", "deduplicate", "weights", "packing", "validation")
TOKENS = ("tokenizer", "vocab_size", "init")

# A loss is for a token, and means another thing where tokens are others. This one is for a byte of the text.
OF_THE_TEXT = "bits_per_byte"


@dataclass(frozen=True)
class Ranking:
    """Runs that were validated on the same text, the best first, by the best value that each has reached.

    entries: (value, step, run).
    """

    metric: str
    entries: list[tuple[float, int, RunFolder]]


def rank_runs(runs: Sequence[RunFolder], metric: str | None = None) -> list[Ranking]:
    """Rank the runs by a metric of their validation; those on different texts apart, those without validation nowhere.

    metric: "loss", "accuracy", ...; where None, the loss, or bits per byte where tokenizers differ. Raises TinylmError
    for a metric that no run has, or that tokenizers of different kinds make incomparable.
    """
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        if any(name.startswith("val_") for record in run.metrics() for name in record):
            groups.setdefault(_key(run, TEXT) + json.dumps(run.provenance.get("data_fingerprint")), []).append(run)
    return [_rank(group, metric) for group in groups.values()]


def _rank(runs: Sequence[RunFolder], metric: str | None) -> Ranking:
    same_tokens = len({_key(run, TOKENS) for run in runs}) == 1
    chosen = metric or ("loss" if same_tokens else OF_THE_TEXT)
    if not same_tokens and chosen != OF_THE_TEXT:
        raise TinylmError(f"{chosen} is for a token, and the tokenizers of these runs differ; take {OF_THE_TEXT}")
    entries = [(*best, run) for run in runs if (best := _best(run, chosen)) is not None]
    if not entries:
        there = {name.removeprefix("val_") for run in runs for record in run.metrics() for name in record}
        raise TinylmError(f"no run has the metric {chosen!r}{nearest(chosen, sorted(there - {'step', 'seconds'}))}")
    sign = -1 if higher_is_better(chosen) else 1
    return Ranking(chosen, sorted(entries, key=lambda entry: (sign * entry[0], entry[1], entry[2].path.name)))


def _best(run: RunFolder, metric: str) -> tuple[float, int] | None:
    """The best value and its step."""
    values = [(record.get(f"val_{metric}"), record.get("step")) for record in run.metrics()]
    found = [(value, step) for value, step in values if isinstance(value, int | float) and isinstance(step, int)]
    sign = -1 if higher_is_better(metric) else 1
    return min(found, key=lambda pair: sign * pair[0], default=None)


def _key(run: RunFolder, names: Sequence[str]) -> str:
    settings: dict[str, Any] = run.config
    return json.dumps([settings.get(name) for name in names])
