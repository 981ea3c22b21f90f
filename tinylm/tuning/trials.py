"""The trials of a search and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from tinylm.extras import check_plot_file, import_extra
from tinylm.metrics import higher_is_better

from .space import Choices, Range, Space

__all__ = ["TrialRecord", "TunedStudy"]


@dataclass(frozen=True)
class TrialRecord:
    """A trial. state: "finished", "pruned", "interrupted", "failed"; reason: why it failed.

    settings: what was drawn for it; values: the metric of its validations by step; value: the best of them.
    """

    number: int
    state: str
    settings: Mapping[str, Any]
    value: float | None = None
    values: Mapping[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""

    @property
    def step(self) -> int:
        """The last step that was validated."""
        return max(self.values, default=0)


@dataclass(frozen=True)
class TunedStudy:
    """What a search found. folder: holds the trials, and the best model in best/; metric: what they are compared by;
    space: what was searched.
    """

    folder: Path
    metric: str
    space: Space
    trials: Sequence[TrialRecord]
    stopped: str = ""  # why it ended before all trials were done

    @property
    def ranked(self) -> list[TrialRecord]:
        """The finished trials from the best, then the pruned ones and the others in their order."""
        sign = -1 if higher_is_better(self.metric) else 1
        order = {"finished": 0, "pruned": 1}

        def key(trial: TrialRecord) -> tuple[Any, ...]:
            rank = order.get(trial.state, 2)
            return rank, sign * trial.value if rank == 0 and trial.value is not None else trial.number

        return sorted(self.trials, key=key)

    @property
    def best(self) -> TrialRecord | None:
        """The finished trial with the best value, None where none is finished."""
        first = next(iter(self.ranked), None)
        return first if first is not None and first.state == "finished" else None

    def table(self) -> str:
        """A line a trial, the best first."""
        names = list(self.space)
        rows = [["trial", self.metric, *names, "steps", "seconds", ""]]
        for trial in self.ranked:
            value = "-" if trial.value is None else f"{trial.value:.4f}"
            drawn = [_short(trial.settings.get(name, "-")) for name in names]
            state = trial.state if not trial.reason else f"{trial.state}: {trial.reason}"
            rows.append([str(trial.number), value, *drawn, str(trial.step), f"{trial.seconds:.0f}", state])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        return "\n".join(
            "  ".join([*(f"{cell:>{width}}" for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]).rstrip()
            for row in rows
        )

    def save_plot(self, path: str | PathLike[str]) -> None:
        """Draw the validation curves, and the value by each setting, into a PNG, SVG or PDF file (extra "plot")."""
        check_plot_file(path)
        panels = 1 + len(self.space)
        columns = min(panels, 3)
        rows = -(-panels // columns)
        figure = import_extra("matplotlib.figure", "a plot").Figure(
            figsize=(4 * columns, 3 * rows), layout="constrained"
        )
        axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
        best = self.best
        for trial in self.trials:
            style = {"color": "C1", "zorder": 3} if trial is best else {"color": "0.6", "alpha": 0.7}
            axes[0].plot(list(trial.values), list(trial.values.values()), **style)
        axes[0].set(xlabel="step", ylabel=self.metric)
        for panel, (name, values) in zip(axes[1:panels], self.space.items(), strict=True):
            self._plot_setting(panel, name, values)
        for panel in axes[panels:]:
            panel.set_axis_off()
        figure.savefig(path)

    def _plot_setting(self, axes: Any, name: str, values: Range | Choices) -> None:
        """The value of each trial by one of its settings: the best in one color, pruned ones pale."""
        best = self.best
        for trial in self.trials:
            if trial.value is not None and name in trial.settings:
                drawn = trial.settings[name]
                x = values.labels.index(drawn) if isinstance(values, Choices) else drawn
                axes.scatter(
                    x, trial.value, color="C1" if trial is best else "C0" if trial.state == "finished" else "0.7"
                )
        axes.set(xlabel=name, ylabel=self.metric)
        if isinstance(values, Choices):
            axes.set_xticks(range(len(values.labels)), map(str, values.labels))
            axes.margins(x=0.2)
        elif values.is_logarithmic:
            axes.set_xscale("log")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
