"""Generating the target of a source: translations, summaries, what an encoder-decoder writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinylm.formats import GenerationConfig
from tinylm.models import Conditional

from .generation import generate

__all__ = ["generate_target"]


def generate_target(
    model: Conditional,
    choose: Callable[[np.ndarray], int],
    config: GenerationConfig,
    *,
    max_tokens: int,
    use_cache: bool = True,
) -> Iterator[int]:
    """Yield the ids of the target of one source, at most max_tokens with those that the config forces at both ends.

    model: of `EncoderDecoder.given`. choose, use_cache: as `generate` takes them. The forced tokens and the one that
    ends the text are not yielded. A target is never longer than the model's context: it has no windows.
    """
    start = config.decoder_start_token_id
    first = [model.config.decoder_start_token_id if start is None else start]
    first += [] if config.forced_bos_token_id is None else [config.forced_bos_token_id]
    most = max_tokens if model.context is None else min(max_tokens, model.context)
    room = most + 1 - len(first) - (config.forced_eos_token_id is not None)
    stop = config.eos_token_id or model.end_ids
    yield from generate(model, first, choose, max_tokens=room, stop=stop, use_cache=use_cache)
