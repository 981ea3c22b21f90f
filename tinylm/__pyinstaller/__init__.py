"""What PyInstaller has to know of tinylm. It finds this folder through the entry point `pyinstaller40`."""

from __future__ import annotations

from pathlib import Path

__all__ = ["hook_folders"]


def hook_folders() -> list[str]:
    """The folder of the hooks."""
    return [str(Path(__file__).parent)]
