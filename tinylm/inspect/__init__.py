"""Looking at what was trained: pages, and what a model holds inside. Floor 6."""

from .report import write_report
from .states import InnerStates, inner_states

__all__ = ["InnerStates", "inner_states", "write_report"]
