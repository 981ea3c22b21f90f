"""Looking at what was trained: pages. Floor 6."""

from .report import write_report

__all__ = ["write_report"]
