"""Looking at what was trained: pages, and what a model holds inside. Floor 6."""

from .report import write_report
from .sizes import Sizes, machines, measure_sizes, model_without_weights, read_sized_config
from .states import InnerStates, inner_states

__all__ = [
    "InnerStates",
    "Sizes",
    "inner_states",
    "machines",
    "measure_sizes",
    "model_without_weights",
    "read_sized_config",
    "write_report",
]
