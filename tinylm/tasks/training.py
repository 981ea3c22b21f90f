"""A training run in its folder: begun or continued, with callbacks, interrupts, and what to do when it diverges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from tinylm.data import Corpus, Progress
from tinylm.errors import DivergedError, TinylmError
from tinylm.extras import import_extra
from tinylm.formats import save_model
from tinylm.inference import Sampler, first_ids, generate
from tinylm.models import CausalLanguageModel
from tinylm.text import Tokenizer
from tinylm.training import (
    Callback,
    Interrupts,
    RunFolder,
    TensorBoard,
    Trainer,
    discard_checkpoints,
    early_stopping,
    load_checkpoint,
    restore,
    save_best,
    save_checkpoints,
    stop_on_divergence,
    stop_on_interrupt,
    validate,
    write_metrics,
    write_samples,
)

from .building import build_model, build_task, build_trainer, read_corpora
from .settings import TrainSettings, resolve_settings, settings_to_json
from .tokenizers import build_tokenizer, resume_tokenizer

__all__ = ["TrainedRun", "resume_settings", "train_language_model"]

SAMPLE_TOKENS = 300


@dataclass
class TrainedRun:
    """What a run left behind. folder: holds the best weights in best/; stopped: why it ended early, or None."""

    folder: Path
    tokenizer: Tokenizer
    model: CausalLanguageModel  # as it was at the last step
    trainer: Trainer
    stopped: str | None

    def best_metrics(self) -> dict[str, Any]:
        """What metrics.jsonl says of the step with the best validation, {} where there was none."""
        best_step = self.trainer.memory.get("best_step")
        return next((m for m in RunFolder.open(self.folder).metrics() if m["step"] == best_step), {})

    def last_sample(self) -> str:
        """What the model wrote when it was last asked, "" if it never was."""
        samples = RunFolder.open(self.folder).read_samples()
        return samples[-1][1].strip() if samples else ""

    @property
    def best(self) -> Path:
        """The model folder with the best weights."""
        return self.folder / "best"


def train_language_model(
    settings: TrainSettings,
    *,
    out: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    notify: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> TrainedRun:
    """Train a language model into a run folder, or continue the run in one.

    out: the folder, a new one under runs/ where None. resume: a run folder; its settings must be these, but for
    STEERING.
    notify: told in one line each what happens; progress: how far the reading of large data is. Raises TinylmError or
    OSError with what is wrong and what to do; what was trained until then is kept.
    """
    if settings.track == "tensorboard":
        import_extra("tensorboardX", "track=tensorboard")  # or refused before anything is made
    corpus, sources = read_corpora(settings, notify=notify, progress=progress)
    begun = None if resume is None else _reopen(resume, corpus)
    if begun is None:
        tokenizer = build_tokenizer(settings, corpus, notify=notify, progress=progress)
    else:
        tokenizer = resume_tokenizer(begun.path, settings, corpus)
    task = build_task(settings, sources, tokenizer, progress=progress)
    model = build_model(settings, tokenizer, begins_documents=task.begins_documents)
    trainer = build_trainer(settings, model, task, notify=notify)
    run = begun or RunFolder.create(out, settings_to_json(settings), data_fingerprint=corpus.fingerprint())
    if begun is None:
        tokenizer.save(run.path)
    notify(
        f"data: {corpus.name}, {task.n_tokens:,} tokens of {tokenizer.vocab_size} kinds; "
        f"model: {settings.model}, {model.num_parameters():,} parameters"
    )
    for message in task.messages:
        notify(message)
    with run.lock(), Interrupts() as interrupts, ExitStack() as stack:
        if begun is not None:
            _continue(settings, trainer, run, notify)
        trainer.callbacks += _callbacks(settings, run, model, tokenizer, interrupts, stack)
        trainer.callbacks += callbacks
        try:
            trainer.run()
        except DivergedError as error:
            raise _with_advice(error, settings, run, trainer) from None
        run.end("interrupted" if interrupts.requested else "finished", trainer.stopped or "")
    return TrainedRun(run.path, tokenizer, model, trainer, trainer.stopped)


def _reopen(folder: str | PathLike[str], corpus: Corpus) -> RunFolder:
    run = RunFolder.open(folder)
    if run.provenance.get("data_fingerprint") != corpus.fingerprint():
        raise TinylmError(f"{run.path}: the data have changed since this run began; start a new run instead")
    return run


def _continue(settings: TrainSettings, trainer: Trainer, run: RunFolder, notify: Callable[[str], None]) -> None:
    checkpoint = load_checkpoint(run.checkpoints)
    for name, reason in checkpoint.skipped:
        notify(f"checkpoint {name} is damaged ({reason}): falling back to step {checkpoint.step}")
    restore(trainer, checkpoint)
    run.change_config(settings_to_json(settings), step=checkpoint.step)
    run.truncate_metrics(checkpoint.step)
    notify(f"continuing {run.path} at step {checkpoint.step} of {trainer.steps}")


def _with_advice(error: DivergedError, settings: TrainSettings, run: RunFolder, trainer: Trainer) -> DivergedError:
    """The error with what to do about it, once the last good checkpoint is the newest."""
    lower = f"--set learning_rate={settings.learning_rate / 3:.1g}"
    good = trainer.memory.get("last_good_checkpoint")
    if good is None:
        advice = f"No checkpoint was saved: start again with a lower rate, {lower}, or a longer warm-up"
    else:
        discard_checkpoints(run.checkpoints, after=good)
        advice = (
            f"From the last good checkpoint, step {good}, with a lower rate: tinylm train --resume {run.path} {lower}"
        )
    return type(error)(f"{error}. {advice}")


def _callbacks(
    settings: TrainSettings,
    run: RunFolder,
    model: CausalLanguageModel,
    tokenizer: Tokenizer,
    interrupts: Interrupts,
    stack: ExitStack,
) -> list[Callback]:
    """In this order: each reads what those before it have put into the result. stack: closes what they hold open."""
    chosen = [stop_on_interrupt(interrupts), validate(settings.validate_every)]
    if settings.patience:
        chosen.append(early_stopping(settings.patience))
    save = partial(save_model, run.best, model, tokenizer, run.provenance)
    boards = [stack.enter_context(TensorBoard(run.path / "tensorboard"))] if settings.track == "tensorboard" else []
    sample = partial(sample_text, model, tokenizer, seed=settings.seed)
    chosen += [
        save_best(save),
        write_samples([run.append_sample, *(board.add_sample for board in boards)], sample, settings.validate_every),
        write_metrics(run),
        *boards,
    ]
    if settings.divergence:
        chosen.append(stop_on_divergence(settings.divergence))
    chosen.append(save_checkpoints(run.checkpoints, settings.checkpoint_every))
    return chosen


def sample_text(model: CausalLanguageModel, tokenizer: Tokenizer, *, seed: int) -> str:
    """What the model writes from nothing, the same for the same weights and seed."""
    choose, start = Sampler(temperature=0.8, seed=seed), first_ids(model, tokenizer)
    return tokenizer.decode(list(generate(model, start, choose, max_tokens=SAMPLE_TOKENS, stop=model.end_ids)))


def resume_settings(folder: str | PathLike[str]) -> TrainSettings:
    """The settings of the run in a folder."""
    return resolve_settings(RunFolder.open(folder).config)
