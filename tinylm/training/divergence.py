"""A loss that blows up and stays there ends the run, and does not spoil its checkpoints."""

from __future__ import annotations

from typing import Any

from ..errors import DivergedError
from .trainer import Callback, StepResult, Trainer

__all__ = ["is_suspicious", "stop_on_divergence"]

# Steps: long enough that a bad batch, or the spike from which a run recovers, is no divergence.
PATIENCE = 50


def stop_on_divergence(margin: float) -> Callback:
    """Raise DivergedError once the loss has been more than `margin` above its best for 50 steps in a row.

    margin: in nats; 1 is a perplexity e times as high. Its best is the lowest value of an exponential moving average
    over 50 steps, which begins at the first loss. Both count on across a resume.
    """

    def callback(trainer: Trainer, result: StepResult) -> None:
        memory = trainer.memory
        mean = memory.get("mean_loss", result.loss)
        mean += (result.loss - mean) / PATIENCE
        best = min(memory.get("best_mean_loss", mean), mean)
        above = memory.get("steps_above", 0) + 1 if result.loss > best + margin else 0
        memory |= {"mean_loss": mean, "best_mean_loss": best, "steps_above": above}
        if above >= PATIENCE:
            raise DivergedError(
                f"step {result.step}: the run has diverged: the loss, {result.loss:.4g}, has been more than {margin:g} "
                f"above its best mean, {best:.4g}, for {PATIENCE} steps"
            )

    return callback


def is_suspicious(memory: dict[str, Any]) -> bool:
    """Whether the loss of the last step was so high that the weights are not worth keeping beside good ones."""
    return memory.get("steps_above", 0) > 0
