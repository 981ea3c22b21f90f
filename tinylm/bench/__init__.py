"""Measuring kernels, ours and a user's: realistic calls, whether a result is right, its time, the machine's roofs."""

from .calls import Case
from .cases import BENCHMARKS, Benchmark, shapes
from .emulated import EmulatedRun, cuda_programs, run_emulated
from .ladder import LADDERS, RUNGS, lessons, load_ladders, steps
from .machine import Roofs, measure_roofs
from .roofline import save_roofline
from .timing import Comparison, Measurement, compare
from .user_module import import_implementations

__all__ = [
    "BENCHMARKS",
    "LADDERS",
    "RUNGS",
    "Benchmark",
    "Case",
    "Comparison",
    "EmulatedRun",
    "Measurement",
    "Roofs",
    "compare",
    "cuda_programs",
    "import_implementations",
    "lessons",
    "load_ladders",
    "measure_roofs",
    "run_emulated",
    "save_roofline",
    "shapes",
    "steps",
]
