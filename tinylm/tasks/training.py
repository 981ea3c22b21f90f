"""From settings to a trained model: puts corpus, tokenizer, task, model, optimizer and callbacks together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from tinylm.data import Corpus, Progress, builtin_corpus, open_corpus
from tinylm.errors import DivergedError, TinylmError
from tinylm.extras import import_extra
from tinylm.files import cache_folder
from tinylm.formats import save_model
from tinylm.inference import Sampler, generate
from tinylm.models import FAMILIES, GPT2, CausalLanguageModel, GPT2Config
from tinylm.nn import Initializer
from tinylm.optim import EMA, make_optimizer, make_schedule
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

from .continued import ContinuedLanguageModelling
from .language_modelling import LanguageModelling
from .settings import TrainSettings, resolve_settings, settings_to_json
from .tokenizers import build_tokenizer, resume_tokenizer

__all__ = [
    "TrainedRun",
    "build_model",
    "build_task",
    "build_trainer",
    "read_corpora",
    "resume_settings",
    "train_language_model",
]

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
    model = build_model(settings, tokenizer)
    trainer = build_trainer(settings, model, task)
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


def build_trainer(settings: TrainSettings, model: CausalLanguageModel, task: LanguageModelling) -> Trainer:
    """A trainer of a model on a task, with the optimizer and the schedule of the settings, and no callbacks."""
    optimizer = make_optimizer(
        settings.optimizer,
        model,
        weight_decay=settings.weight_decay,
        beta1=settings.beta1,
        beta2=settings.beta2,
        eps=settings.eps,
    )
    schedule = make_schedule(
        settings.schedule,
        peak=settings.learning_rate,
        final=settings.final_learning_rate,
        warmup=settings.warmup_steps,
        steps=settings.steps,
        decay_share=settings.decay_share,
        decay_shape=settings.decay_shape,
        power=settings.power,
    )
    return Trainer(
        model,
        task,
        optimizer,
        schedule,
        steps=settings.steps,
        seed=settings.seed,
        clip=settings.clip or None,
        accumulate=settings.accumulate,
        ema=EMA(optimizer.groups, settings.ema) if settings.ema else None,
    )


def read_corpora(
    settings: TrainSettings, *, notify: Callable[[str], None], progress: Progress | None = None
) -> tuple[Corpus, list[Corpus]]:
    """The whole text, and the sources that batches are drawn from: itself, or with weights one for each of `data`.

    The text is read through once; notify is told what had to be left out.
    """
    open_ = partial(
        open_corpus,
        text_column=settings.text_column,
        strict=settings.strict,
        deduplicate=settings.deduplicate,
    )
    corpus = open_(settings.data) if settings.data else builtin_corpus()
    for message in corpus.survey(progress).omissions:
        notify(message)
    return corpus, [open_(path, name=path) for path in settings.data] if settings.weights else [corpus]


def build_task(
    settings: TrainSettings, sources: Sequence[Corpus], tokenizer: Tokenizer, *, progress: Progress | None = None
) -> LanguageModelling:
    """The task on these texts, with their tokens from the cache or made now."""
    kind = ContinuedLanguageModelling if settings.carry_state else LanguageModelling
    return kind.load(sources, tokenizer, settings, cache_folder() / "tokens", progress=progress)


def build_model(settings: TrainSettings, tokenizer: Tokenizer) -> CausalLanguageModel:
    """A new model with its first weights; its config names the token that ends a text, where generation stops."""
    model = MODELS[settings.model](settings, tokenizer.vocab_size)
    end = tokenizer.end_of_text
    model.config = dataclasses.replace(model.config, bos_token_id=end, eos_token_id=end)
    if settings.gradient_checkpointing:
        if model.gradient_checkpointing is None:
            raise TinylmError(f"gradient_checkpointing: {settings.model} has no blocks that could be computed again")
        model.gradient_checkpointing = True
    return model


def _build_gpt2(settings: TrainSettings, vocab_size: int) -> GPT2:
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=settings.context,
        n_embd=settings.width,
        n_layer=settings.layers,
        n_head=settings.heads,
        embd_pdrop=settings.dropout,
        resid_pdrop=settings.dropout,
        initializer_range=settings.initial_std,
        tie_word_embeddings=settings.tie_embeddings,
    )
    return GPT2(config, Initializer(settings.seed))


def _build_recurrent(settings: TrainSettings, vocab_size: int) -> CausalLanguageModel:
    family = FAMILIES[settings.model]
    config = family.config_class(
        vocab_size=vocab_size,
        embedding_size=settings.embedding,
        hidden_size=settings.width,
        num_layers=settings.layers,
        dropout=settings.dropout,
        variational_dropout=settings.variational_dropout,
        tie_word_embeddings=settings.tie_embeddings,
    )
    return family(config, Initializer(settings.seed))


MODELS: dict[str, Callable[[TrainSettings, int], CausalLanguageModel]] = {
    "gpt2": _build_gpt2,
    "lstm": _build_recurrent,
    "gru": _build_recurrent,
}


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
    """What the model writes after a line break, the same for the same weights and seed."""
    choose = Sampler(temperature=0.8, seed=seed)
    start = tokenizer.encode("\n") if _knows(tokenizer, "\n") else [0]
    end = tokenizer.end_of_text
    stop = () if end is None else (end,)
    return tokenizer.decode(list(generate(model, start, choose, max_tokens=SAMPLE_TOKENS, stop=stop)))


def _knows(tokenizer: Tokenizer, text: str) -> bool:
    try:
        tokenizer.encode(text)
    except TinylmError:
        return False
    return True


def resume_settings(folder: str | PathLike[str]) -> TrainSettings:
    """The settings of the run in a folder."""
    return resolve_settings(RunFolder.open(folder).config)
