"""The likeliest next token each time, for several rows at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from .decoder import Decoder

__all__ = ["greedy"]


def greedy(
    model: Decoder,
    prompts: Sequence[Sequence[int] | np.ndarray],
    *,
    max_tokens: int,
    end_ids: Collection[int],
    banned: Collection[int] = (),
) -> list[list[int]]:
    """What follows each prompt, up to a token in end_ids, which is left out, or max_tokens.

    Rows need no padding: all begin with as many tokens as the shortest prompt has, and where another goes on, its own
    tokens take the place of those that the model would choose. A prompt and max_tokens fit into the context together.
    """
    prompts = [[int(id) for id in prompt] for prompt in prompts]
    written: list[list[int]] = [[] for _ in prompts]
    if not max_tokens:
        return written
    forbidden, cache = sorted(banned), model.new_cache(len(prompts))
    active, read = np.arange(len(prompts)), min(map(len, prompts))
    ids = np.array([prompt[:read] for prompt in prompts])
    while True:
        logits = model.last_logits(ids, cache)[:, -1]
        logits[:, forbidden] = -np.inf
        chosen = logits.argmax(axis=-1)
        goes_on = np.ones(len(active), bool)
        for at, row in enumerate(active.tolist()):
            if read < len(prompts[row]):
                chosen[at] = prompts[row][read]
            elif chosen[at] in end_ids:
                goes_on[at] = False
            else:
                written[row].append(int(chosen[at]))
                goes_on[at] = len(written[row]) < max_tokens
        if not goes_on.any():
            return written
        if not goes_on.all():
            cache.select(np.flatnonzero(goes_on))
            active, chosen = active[goes_on], chosen[goes_on]
        ids, read = chosen[:, None], read + 1
