"""From settings to their parts: the texts, the task on them, the model and its trainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

from tinylm.data import Corpus, Progress, builtin_corpus, open_corpus
from tinylm.errors import TinylmError
from tinylm.files import cache_folder
from tinylm.models import (
    GPT2,
    CausalLanguageModel,
    GPT2Config,
    GPTNeoX,
    GPTNeoXConfig,
    GRULanguageModel,
    Llama,
    LlamaConfig,
    LSTMLanguageModel,
)
from tinylm.nn import Initializer
from tinylm.optim import EMA, make_optimizer, make_schedule
from tinylm.text import Tokenizer
from tinylm.training import Trainer
from tinylm_kernels import why_not_bfloat16

from .continued import ContinuedLanguageModelling
from .language_modelling import LanguageModelling
from .settings import TrainSettings

__all__ = ["build_model", "build_task", "build_trainer", "read_corpora"]


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


def build_trainer(
    settings: TrainSettings, model: CausalLanguageModel, task: LanguageModelling, *, notify: Callable[[str], None]
) -> Trainer:
    """A trainer of a model on a task, with the optimizer and the schedule of the settings, and no callbacks.

    It trains in float32 where this machine cannot multiply fast in the precision of the settings; notify is told.
    """
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
        precision=_precision(settings, notify),
        ema=EMA(optimizer.groups, settings.ema) if settings.ema else None,
    )


def _precision(settings: TrainSettings, notify: Callable[[str], None]) -> str:
    """The precision of the settings, where this machine gains from it."""
    if settings.precision == "bfloat16":
        reason = why_not_bfloat16()
        if reason is not None:
            notify(f"precision: float32, since bfloat16 is no gain here: {reason}")
            return "float32"
        notify("precision: bfloat16 for the matrix products of training, float32 for the rest")
    return settings.precision


def build_model(
    settings: TrainSettings, tokenizer: Tokenizer, *, begins_documents: bool = False
) -> CausalLanguageModel:
    """A new model with its first weights.

    Its config names the token that ends a text, where generation stops. begins_documents: the model will see what
    follows that token, so that it can begin a text as well.
    """
    model = MODELS[settings.model](settings, tokenizer.vocab_size)
    end = tokenizer.end_of_text
    model.config = dataclasses.replace(model.config, bos_token_id=end if begins_documents else None, eos_token_id=end)
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
    family = LSTMLanguageModel if settings.model == "lstm" else GRULanguageModel
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


def _build_llama(settings: TrainSettings, vocab_size: int) -> Llama:
    if settings.dropout:
        raise TinylmError(f"dropout={settings.dropout}: the Llama family has none")
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=settings.width,
        intermediate_size=round(settings.width / 3) * 8,  # 8/3 C, with three matrices as many weights as two of 4 C
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads or settings.heads,
        max_position_embeddings=settings.context,
        initializer_range=settings.initial_std,
        tie_word_embeddings=settings.tie_embeddings,
    )
    return Llama(config, Initializer(settings.seed))


def _build_gpt_neox(settings: TrainSettings, vocab_size: int) -> GPTNeoX:
    head_width = settings.width // settings.heads
    config = GPTNeoXConfig(
        vocab_size=vocab_size,
        hidden_size=settings.width,
        intermediate_size=4 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        hidden_dropout=settings.dropout,
        rotary_pct=0.25 if head_width % 8 == 0 else 1.0,  # whole pairs of columns
        max_position_embeddings=settings.context,
        initializer_range=settings.initial_std,
        tie_word_embeddings=settings.tie_embeddings,
    )
    return GPTNeoX(config, Initializer(settings.seed))


MODELS: dict[str, Callable[[TrainSettings, int], CausalLanguageModel]] = {
    "gpt2": _build_gpt2,
    "llama": _build_llama,
    "gpt_neox": _build_gpt_neox,
    "lstm": _build_recurrent,
    "gru": _build_recurrent,
}
