"""Rotary position embedding; its backward is itself, the other way round."""

from .reference import rope

__all__ = ["rope"]
