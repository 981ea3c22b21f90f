"""tinylm report: a page about runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..run_folders import open_run

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "report",
        help="write a page about runs",
        description="Write one HTML file about one run or several: curves, results, settings, provenance, samples.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or their names under runs/")
    parser.add_argument("--out", metavar="FILE", help="report.html in the folder of a single run, else here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the page and say where."""
    from tinylm.inspect import write_report

    folders = [open_run(name) for name in options.runs]
    out = Path(options.out) if options.out else (folders[0].path if len(folders) == 1 else Path()) / "report.html"
    write_report(folders, out)
    print(f"the report: {out}")
