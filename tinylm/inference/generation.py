"""Generating tokens, and scoring those of a given text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from tinylm.autograd import no_grad
from tinylm.errors import TinylmError
from tinylm.models import CausalLanguageModel
from tinylm.text import Tokenizer

__all__ = ["first_ids", "forbid", "generate", "log_probabilities", "next_logits", "window_start"]


def window_start(length: int, context: int | None) -> int:
    """Where the model's view of `length` tokens begins when it can look at `context` of them.

    Up to the context, at 0. Beyond, the view jumps on by half a context at a time, so that a cache lasts for half a
    context of new tokens, and every token is predicted from at least half a context.
    """
    if context is None or length <= context:
        return 0
    stride = max(context // 2, 1)
    return -(-(length - context) // stride) * stride


def generate(
    model: CausalLanguageModel,
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
    start, cache = None, None
    for _ in range(max_tokens):
        begin = window_start(len(seen), model.context)
        if begin != start or not use_cache:
            start, cache = begin, model.new_cache(1) if use_cache else None
        done = cache.length if cache is not None else 0
        token = choose(next_logits(model, seen[begin + done :], cache))
        if token in stop:
            return
        seen.append(token)
        yield token


def forbid(choose: Callable[[np.ndarray], int], tokens: Collection[int]) -> Callable[[np.ndarray], int]:
    """`choose` among the logits (V,) without these tokens."""
    banned = list(tokens)

    def choose_another(logits: np.ndarray) -> int:
        logits = logits.copy()
        logits[banned] = -np.inf
        return choose(logits)

    return choose_another if banned else choose


def first_ids(model: CausalLanguageModel, tokenizer: Tokenizer) -> list[int]:
    """What to generate from where there is no prompt: the token that begins a text, where the model has learnt one.

    Else a line break, or where the tokenizer has none, its first token.
    """
    if model.config.bos_token_id is not None:
        return [model.config.bos_token_id]
    try:
        return tokenizer.encode("\n").tolist() or [0]
    except TinylmError:
        return [0]


def next_logits(model: CausalLanguageModel, ids: Sequence[int] | np.ndarray, cache: object = None) -> np.ndarray:
    """The logits (V,) of the token after `ids`."""
    with no_grad():
        return model(np.asarray([ids]), cache).data[0, -1]


def log_probabilities(model: CausalLanguageModel, ids: Sequence[int] | np.ndarray) -> np.ndarray:
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
        with no_grad():
            logits = model(tokens[None, begin:end]).data[0].astype(np.float64)
        logits = logits[done - begin :]
        peak = logits.max(axis=-1, keepdims=True)
        log_p = logits - peak - np.log(np.exp(logits - peak).sum(axis=-1, keepdims=True))
        scores[done:end] = np.take_along_axis(log_p, tokens[done + 1 : end + 1, None], axis=-1)[:, 0]
        done = end
    return scores


def _stride(done: int, context: int) -> int:
    """The first window is scored whole, those after it in their second half."""
    return context if done == 0 else max(context // 2, 1)
