"""CUDA C kernels: what a launcher beside a kernel's .cu file needs."""

from .program import Program
from .results import (
    NUMBERS,
    THREADS,
    blocks_of,
    column_grid,
    contiguous,
    deliver,
    elements,
    integers,
    room_for,
    threads_for,
    whole_warps,
)

__all__ = [
    "NUMBERS",
    "THREADS",
    "Program",
    "blocks_of",
    "column_grid",
    "contiguous",
    "deliver",
    "elements",
    "integers",
    "room_for",
    "threads_for",
    "whole_warps",
]
