"""tinylm eval: how well models do on data, how sure that is, and which is better."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinylm.errors import TinylmError
from tinylm.extras import check_folder

from ..settings_options import add_column_options, read_columns

if TYPE_CHECKING:
    from tinylm.evaluation import Evaluation

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "eval",
        help="measure models on data, and compare them",
        description="The metrics of models on data for their task (docs/tasks.md): of language models loss, "
        "perplexity, accuracy and bits per byte on text, of classifiers accuracy, F1 and so on. With the interval that "
        "holds 95 %% of the values when examples are drawn anew. Models that read the same examples are compared.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="MODEL... DATA...",
        help="models (folders, .gguf and .npz files, owner/name), and then files, folders or quoted patterns",
    )
    parser.add_argument("--task", metavar="NAME", help="what to measure; unless given, what each model was trained for")
    add_column_options(parser)
    parser.add_argument("--json", metavar="FILE", help="write all figures to a file, or with - print them as JSON")
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="how often examples are drawn anew")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table, or the JSON."""
    from tinylm.evaluation import evaluate

    from ..progress import ReadingBar

    models, data = _models_and_data(options.paths)
    columns = read_columns(options)
    if options.json not in (None, "-"):
        check_folder(options.json)
    with warnings.catch_warnings(record=True) as caught, closing(ReadingBar()) as bar:
        warnings.simplefilter("always", RuntimeWarning)
        evaluation = evaluate(
            models,
            data,
            seed=options.seed,
            resamples=options.resamples,
            task=options.task,
            **columns,
            progress=bar,
            notify=lambda message: print(message, file=sys.stderr) if len(models) > 1 else None,
        )
    for message in dict.fromkeys(str(warning.message) for warning in caught):  # each model has read the same data
        print(f"tinylm: warning: {message}", file=sys.stderr)
    if options.json == "-":
        print(json.dumps(evaluation.to_json()))
        return
    print("\n".join(_table(evaluation)))
    if options.json:
        Path(options.json).write_text(json.dumps(evaluation.to_json(), indent=2) + "\n", encoding="utf-8")


def _models_and_data(paths: list[str]) -> tuple[list[str], list[str]]:
    """The models come first: the first path, and those after it that are models."""
    count = 1
    while count < len(paths) and _is_model(Path(paths[count])):
        count += 1
    if count == len(paths):
        raise TinylmError(f"eval: no data after the model{'s' * (count > 1)} {', '.join(paths)}")
    return paths[:count], paths[count:]


def _is_model(path: Path) -> bool:
    folders = (path, path / "best")
    return path.suffix in (".gguf", ".npz") or any(
        (folder / name).is_file() for folder in folders for name in ("config.json", "adapter_config.json")
    )


def _table(evaluation: Evaluation) -> list[str]:
    """A row for each figure and a column for each model, the best value marked; then the differences from the first."""
    intervals = evaluation.intervals()
    names = list(intervals)
    figures = list(dict.fromkeys(figure for name in names for figure in intervals[name]))
    rows = [["", *names]]
    for figure in figures:
        best = evaluation.best(figure) if len(names) > 1 else None
        rows.append([figure, *(_cell(intervals[name].get(figure), name == best) for name in names)])
    lines = _aligned(rows)
    for name, differences in evaluation.comparisons().items():
        lines += ["", f"{name} minus {names[0]}, on the same examples"]
        lines += _aligned(
            [
                [figure, f"{found.difference:+,.4f}", f"[{found.low:+,.4f}, {found.high:+,.4f}]", f"p {found.p:.3f}"]
                for figure, found in differences.items()
            ]
        )
    if len(names) > 1 + len(evaluation.comparisons()):
        lines += ["", "models that read other windows are not compared: look at bits_per_byte and its intervals"]
    return lines


def _cell(interval: Any, best: bool) -> str:
    if interval is None:
        return "-"
    bounds = "" if interval.low != interval.low else f" [{interval.low:,.4f}, {interval.high:,.4f}]"
    return f"{interval.value:,.4f}{bounds}{' *' * best}"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
