"""What may stand at a masked place of a text."""

from __future__ import annotations

import numpy as np

from tinylm.autograd import no_grad
from tinylm.errors import TinylmError
from tinylm.models import Encoder, Model
from tinylm.models.heads import MaskedLanguageHead
from tinylm.text import Tokenizer, require_special

from .completion import Candidate
from .logits import probabilities

__all__ = ["fill_masks", "masked_head", "masked_logits"]


def fill_masks(model: Encoder, tokenizer: Tokenizer, text: str, k: int) -> list[list[Candidate]]:
    """For each masked token of a text, in their order, the k likeliest, the likeliest first.

    Raises TinylmError where the text has no masked token, or is longer than the model can look at.
    """
    tokenizer, mask = require_special(tokenizer, "mask_token")
    ids = tokenizer.inputs(text, truncation=None, padding=None).ids
    places = np.flatnonzero(ids == mask)
    if not len(places):
        raise TinylmError(f"nothing is masked in {text!r:.60}: write {tokenizer.token(mask)} where a word is wanted")
    if len(ids) > model.context:
        raise TinylmError(f"the text has {len(ids)} tokens, and the model can look at {model.context}")
    found = []
    for logits in masked_logits(model, ids[None], places):
        p = probabilities(logits)
        best = np.argsort(-p, kind="stable")[:k].tolist()
        found.append([Candidate(id, tokenizer.decode([id]), float(p[id])) for id in best])
    return found


def masked_logits(
    model: Encoder, ids: np.ndarray, places: np.ndarray, key_mask: np.ndarray | None = None
) -> np.ndarray:
    """The logits (N, V) at some places of ids (B, T), counted row by row; no others are computed.

    Raises TinylmError for a model that predicts no masked tokens.
    """
    head = masked_head(model)
    with no_grad():
        hidden = model.hidden(ids, key_mask=key_mask).data
        return head(hidden.reshape(-1, hidden.shape[-1])[places]).data


def masked_head(model: Model) -> MaskedLanguageHead:
    """What predicts masked tokens. Raises TinylmError for a model that has nothing of the kind."""
    if not isinstance(model, Encoder) or not isinstance(model.head, MaskedLanguageHead):
        raise TinylmError(f"{model.architecture} predicts no masked tokens; a model of the task masked does")
    return model.head
