"""Where the target of a source begins and ends: translations, summaries, what an encoder-decoder writes."""

from __future__ import annotations

from tinylm.formats import GenerationConfig

from .decoder import Decoder

__all__ = ["target_start"]


def target_start(model: Decoder, config: GenerationConfig, max_tokens: int) -> tuple[list[int], int]:
    """The ids that every target begins with, and how many may follow, so that it is no longer than max_tokens.

    model: what `given` made of a source. The tokens that the config forces at both ends count. A target is never longer
    than the model's context: it has no windows.
    """
    start = config.decoder_start_token_id
    first = [model.config.decoder_start_token_id if start is None else start]
    first += [] if config.forced_bos_token_id is None else [config.forced_bos_token_id]
    most = max_tokens if model.context is None else min(max_tokens, model.context)
    return first, max(0, most + 1 - len(first) - (config.forced_eos_token_id is not None))
