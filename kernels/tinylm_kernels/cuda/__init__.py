"""CUDA C kernels: what a launcher beside a kernel's .cu file needs."""

from .program import Program
from .results import contiguous, deliver, room_for

__all__ = ["Program", "contiguous", "deliver", "room_for"]
