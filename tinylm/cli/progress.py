"""The progress bars: of a training run, and of the reading of large data before it."""

from __future__ import annotations

import sys

from tqdm import tqdm

from tinylm.training import StepResult, Trainer

__all__ = ["ProgressBar", "ReadingBar"]


class ReadingBar:
    """Shows how far something is, where it takes longer than a second; on stderr. unit: of what; bytes unless told."""

    def __init__(self, unit: str = "B") -> None:
        self._unit = unit
        self._bar: tqdm | None = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._bar is None or what != self._what:
            self.close()
            self._bar = tqdm(desc=what, total=total, unit=self._unit, unit_scale=True, delay=1, leave=False)
            self._what = what
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


# What is shown of a validation beside its loss: the bits of language modelling, the scores of other tasks.
BITS = {"val_bits_per_token": "bits per token", "val_bits_per_byte": "bits per byte"}
SCORES = {"val_accuracy": "accuracy", "val_f1_micro": "micro F1", "val_f1_macro": "macro F1"}
SCORES |= {"val_bleu": "BLEU", "val_rougeL": "ROUGE-L", "val_exact_match": "exact match"}
SCORES |= {"val_recall@1": "recall@1", "val_spearman": "Spearman"}


class ProgressBar:
    """A callback that shows step, loss, speed and the time left, and a line for each validation; on stderr."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __call__(self, trainer: Trainer, result: StepResult) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=trainer.steps,
                initial=result.step - 1,
                unit="step",
                # A file or a pipe cannot redraw a line: there one now and then does.
                mininterval=0.1 if sys.stderr.isatty() else 10,
                bar_format="{desc} |{bar:20}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}",
            )
        self._bar.set_description_str(f"step {result.step}", refresh=False)
        speed = result.tokens / result.seconds
        self._bar.set_postfix_str(f"loss {result.loss:.3f}, {speed:,.0f} tokens/s", refresh=False)
        self._bar.update()
        if "val_loss" in result.metrics:
            best = "  (best)" if trainer.memory.get("best_step") == result.step else ""
            shown = BITS if BITS.keys() & result.metrics.keys() else SCORES
            values = [
                f", {result.metrics[name]:.3f} {words}" for name, words in shown.items() if name in result.metrics
            ]
            self.say(f"step {result.step}: validation loss {result.metrics['val_loss']:.4f}{''.join(values)}{best}")

    def say(self, message: str) -> None:
        """Print a line without breaking the bar."""
        tqdm.write(message, file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
