"""Using a model: generation, sampling, scoring. Floor 5."""

from .generation import first_ids, forbid, generate, log_probabilities, next_logits, window_start
from .sampling import Sampler, probabilities
from .sentence_vectors import sentence_vectors
from .targets import generate_target

__all__ = [
    "Sampler",
    "first_ids",
    "forbid",
    "generate",
    "generate_target",
    "log_probabilities",
    "next_logits",
    "probabilities",
    "sentence_vectors",
    "window_start",
]
