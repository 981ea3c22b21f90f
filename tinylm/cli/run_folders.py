"""Run folders as they are named on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinylm.errors import TinylmError

__all__ = ["open_run"]


def open_run(name: str, root: str = "runs") -> Any:
    """The RunFolder at a path, or of that name under the root. Raises TinylmError where there is none."""
    from tinylm.training import RunFolder

    for path in (Path(name), Path(root) / name):
        if (path / "config.json").exists():
            return RunFolder.open(path)
    raise TinylmError(f"there is no run folder {name!r}, nor one of that name under {root}; see tinylm runs")
