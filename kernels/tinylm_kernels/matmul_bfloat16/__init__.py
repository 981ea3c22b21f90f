"""The matrix product in bfloat16 with float32 sums."""

from .reference import matmul_bfloat16

__all__ = ["matmul_bfloat16"]
