"""Packages that only some of tinylm needs: imported at first use, and named where they are missing."""

from __future__ import annotations

import importlib
from os import PathLike
from pathlib import Path
from typing import Any

from .errors import TinylmError

__all__ = ["EXTRAS", "check_folder", "check_plot_file", "import_extra", "install_command"]

# Each package by the name it is imported under, and the extra that brings it.
EXTRAS = {
    "numba": "fast",
    "pyarrow": "data",
    "zstandard": "data",
    "yaml": "data",
    "polib": "data",
    "matplotlib": "plot",
    "tensorboardX": "track",
    "huggingface_hub": "hub",
    "jinja2": "chat",
    "starlette": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "optuna": "tune",
    "lm_eval": "harness",
}

PLOT_FORMATS = (".png", ".svg", ".pdf")


def install_command(package: str) -> str:
    """What brings a package of EXTRAS."""
    return f'pip install "tinylm[{EXTRAS[package]}]"'


def import_extra(module: str, purpose: str) -> Any:
    """The module, of a package in EXTRAS. Raises TinylmError, with what brings it, where it is missing.

    purpose: what needs it, for the message: "the report".
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:  # it is there, and lacks something of its own
            raise
        raise TinylmError(f"{purpose} needs {package}: {install_command(package)}") from None


def check_plot_file(path: str | PathLike[str]) -> None:
    """Raise TinylmError where no plot could be written under this name, before the work is done."""
    if Path(path).suffix not in PLOT_FORMATS:
        raise TinylmError(f"{path}: a plot takes a name that ends in {', '.join(PLOT_FORMATS)}")
    check_folder(path)
    import_extra("matplotlib.figure", "a plot")


def check_folder(path: str | PathLike[str]) -> None:
    """Raise TinylmError where there is no folder to write this file to, before the work is done."""
    if not Path(path).absolute().parent.is_dir():
        raise TinylmError(f"{path}: there is no folder {Path(path).parent}")
