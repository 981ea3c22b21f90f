"""What a run ran on, so that its numbers can be judged and found again."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

__all__ = ["describe_environment", "utc_now"]


def describe_environment() -> dict[str, Any]:
    """Versions (None for what is not installed), machine, command line and the time, for provenance.json."""
    return {
        **{name: _version(name) for name in ("tinylm", "numpy", "numba")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "command": list(sys.argv),
        "started": utc_now(),
    }


def utc_now() -> str:
    """The time in UTC to the second, as ISO 8601 writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)  # without the import, which would load numba
    except metadata.PackageNotFoundError:
        return None
