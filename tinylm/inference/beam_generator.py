"""Beam search from text to text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tinylm.errors import TinylmError

from .beam import BeamSettings, Hypothesis, beam_search, force, repeated_ngrams
from .completion import Completion, GenerationSettings
from .text_generator import TextGenerator

__all__ = ["BeamGenerator"]


class BeamGenerator(TextGenerator):
    """Generates the text that is likeliest as a whole, as far as a few beams can see."""

    def beam_search(
        self,
        prompt: str,
        *,
        beams: int = 4,
        length_penalty: float = 1.0,
        early_stopping: bool | Literal["never"] = False,
        no_repeat_ngram_size: int = 0,
        **settings: Any,
    ) -> list[Completion]:
        """The continuations, or targets, that are worth most, the best first, each with its `beam_score`.

        beams, length_penalty, early_stopping: see `BeamSettings`. no_repeat_ngram_size: so many tokens in a row are
        never written twice. Of the other settings, the penalties and biases count, max_tokens and stop.
        """
        chosen, how = GenerationSettings.of(settings), BeamSettings(beams, length_penalty, early_stopping)
        if chosen.regex is not None or chosen.json_schema is not None:
            raise TinylmError("beam_search takes no regex and no json_schema")
        reader, writer = self._begin(prompt, chosen)
        context = reader.model.context
        ids, most = list(writer.ids), chosen.max_tokens
        if self._conditional:
            ids = ids[:1]  # the search chooses the tokens that are forced
            most = most if context is None else min(most, context)
        elif context is not None:
            most = min(most, context - len(ids))
        if most < 1:
            raise TinylmError(f"beam_search: the prompt has {len(ids)} tokens, the model looks at {context}: none fits")

        def process(log_p: np.ndarray, ids: Sequence[int], new: int) -> np.ndarray:
            changed = writer.settings.penalized(log_p, ids, len(ids) - new).copy()
            if no_repeat_ngram_size:
                changed[repeated_ngrams(ids, no_repeat_ngram_size)] = -np.inf
            return force(changed, self._forced(new, most))

        ends = self._end_ids(reader.model)
        found = beam_search(reader.model, ids, how, max_tokens=most, end_ids=ends, process=process)
        return [self._completed(prompt, chosen, hypothesis) for hypothesis in found]

    def _forced(self, new: int, most: int) -> int | None:
        """The token that an encoder-decoder has to write after `new` others, of `most` at most."""
        if not self._conditional:
            return None
        config = self.generation_config
        last = config.forced_eos_token_id if new == most - 1 else None
        return config.forced_bos_token_id if new == 0 and config.forced_bos_token_id is not None else last

    def _completed(self, prompt: str, settings: GenerationSettings, found: Hypothesis) -> Completion:
        """The text of tokens that were found."""
        tokens = found.tokens
        if tokens[0] == self._forced(0, len(tokens) + 1):
            tokens = tokens[1:]
        room = dataclasses.replace(settings, max_tokens=len(tokens) + 4, logprobs=None)
        _, writer = self._begin(prompt, room)
        for token in tokens:
            if writer.finish_reason is None:
                writer.append(token, np.empty(0))
        return dataclasses.replace(writer.close("length"), beam_score=found.score)
