"""Adam and AdamW over flat buffers, and the squared norm for clipping."""

from .reference import adamw, squared_norm

__all__ = ["adamw", "squared_norm"]
