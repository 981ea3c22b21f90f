"""Measuring kernels, ours and a user's: realistic calls, whether a result is right, its time, the machine's roofs."""

from .calls import Case
from .cases import BENCHMARKS, Benchmark, shapes
from .machine import Roofs, measure_roofs
from .roofline import save_roofline
from .timing import Comparison, Measurement, compare
from .user_module import import_implementations

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Case",
    "Comparison",
    "Measurement",
    "Roofs",
    "compare",
    "import_implementations",
    "measure_roofs",
    "save_roofline",
    "shapes",
]
