"""Dropout by Philox4x32-10."""

from .reference import dropout

__all__ = ["dropout"]
