"""Which of two values of a metric is the better one."""

from __future__ import annotations

__all__ = ["higher_is_better"]

LOWER = frozenset(
    {
        *("loss", "perplexity", "bits_per_token", "bits_per_byte", "bits_per_character"),
        *("log_loss", "brier", "calibration_error", "hamming_loss"),
    }
)


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better: of scores it is, of losses and errors less is; "loss/NAME" is a loss."""
    return metric.partition("/")[0] not in LOWER
