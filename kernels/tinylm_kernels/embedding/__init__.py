"""Look-up of rows by id, forward and backward."""

from .reference import embedding, embedding_backward

__all__ = ["embedding", "embedding_backward"]
