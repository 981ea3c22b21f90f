"""Embeddings: texts as vectors, near each other where the texts belong together."""

from .kind import Embeddings, EmbeddingSettings
from .pairs import Pairs, pair_scores
from .task import EmbeddingTask, contrastive_loss

__all__ = ["EmbeddingSettings", "EmbeddingTask", "Embeddings", "Pairs", "contrastive_loss", "pair_scores"]
