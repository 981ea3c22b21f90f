"""Generating tokens, and scoring those of a given text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from tinylm.errors import TinylmError
from tinylm.text import Tokenizer

from .decoder import Decoder
from .logits import log_softmax
from .reading import Reader, window_start

__all__ = ["first_ids", "generate", "log_probabilities", "mean_loss", "next_logits"]


def generate(
    model: Decoder,
    ids: Sequence[int] | np.ndarray,
    choose: Callable[[np.ndarray], int],
    *,
    max_tokens: int,
    stop: Collection[int] = (),
    use_cache: bool = True,
) -> Iterator[int]:
    """Yield up to max_tokens new ids after `ids`, each chosen from the logits (V,) by `choose`.

    A token in `stop` ends it and is not yielded. Without the cache every step computes the whole window again:
    slower, the same tokens. Raises TinylmError for an empty prompt.
    """
    seen = [int(i) for i in ids]
    if not seen:
        raise TinylmError("generation needs at least one token to start from; the prompt is empty")
    reader = Reader(model, use_cache=use_cache)
    for _ in range(max_tokens):
        token = choose(reader.logits(seen)[-1])
        if token in stop:
            return
        seen.append(token)
        yield token


def first_ids(model: Decoder, tokenizer: Tokenizer) -> list[int]:
    """What to generate from where there is no prompt: the token that begins a text, where the model has learnt one.

    Else a line break, or where the tokenizer has none, its first token.
    """
    if model.config.bos_token_id is not None:
        return [model.config.bos_token_id]
    try:
        return tokenizer.encode("\n").tolist() or [0]
    except TinylmError:
        return [0]


def next_logits(model: Decoder, ids: Sequence[int] | np.ndarray, cache: object = None) -> np.ndarray:
    """The logits (V,) of the token after `ids`."""
    return model.last_logits(np.asarray([ids]), cache)[0, -1]


def log_probabilities(model: Decoder, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """ln p(ids[t] | ids before t) for t = 1 ... n - 1, as (n - 1,) float64: the terms of the chain rule.

    Texts longer than the context are scored in windows that overlap by half, so that each token but those of the
    first window is predicted from at least half a context.
    """
    tokens = np.asarray(ids)
    scores = np.empty(max(len(tokens) - 1, 0))
    done = 0
    while done < len(scores):
        end = len(scores) if model.context is None else min(done + _stride(done, model.context), len(scores))
        begin = window_start(end, model.context)
        logits = model.last_logits(tokens[None, begin:end], None, end - done)[0]
        scores[done:end] = np.take_along_axis(log_softmax(logits), tokens[done + 1 : end + 1, None], axis=-1)[:, 0]
        done = end
    return scores


def mean_loss(model: Decoder, ids: Sequence[int] | np.ndarray, *, window: int = 512) -> float:
    """The mean of -ln p of the tokens, in nats, in windows of so many that do not see each other."""
    most = window if model.context is None else min(window, model.context)
    parts = [np.asarray(ids)[start : start + most] for start in range(0, len(ids), most)]
    scores = np.concatenate([log_probabilities(model, part) for part in parts])
    if not len(scores):
        raise TinylmError(f"the loss is of tokens after the first; received {len(ids)}")
    return float(-scores.mean())


def _stride(done: int, context: int) -> int:
    """The first window is scored whole, those after it in their second half."""
    return context if done == 0 else max(context // 2, 1)
