"""Figures of merit, in NumPy alone: floor 2."""

from .language import LanguageMetrics

__all__ = ["LanguageMetrics"]
