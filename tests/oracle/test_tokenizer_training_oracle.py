"""What is learnt here and what `tokenizers` learns cut other text into about as many tokens."""

from __future__ import annotations

import importlib
import json

import pytest
from tokenizer_texts import ENGLISH

from tinylm.text import PipelineTokenizer, train_unigram, train_wordpiece

library = pytest.importorskip("tokenizers")
pytestmark = [pytest.mark.oracle, pytest.mark.slow]

TOPICS = importlib.import_module("pydoc_data.topics").topics
ALL = "\n".join(TOPICS[name] for name in sorted(TOPICS))
HELD_OUT, TRAINING = ALL[: len(ENGLISH)], ALL[len(ENGLISH) :]


@pytest.mark.parametrize("vocab_size", [1000, 4000])
@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_held_out_text_has_as_many_tokens_within_a_hundredth(kind, vocab_size):
    ours = {"wordpiece": train_wordpiece, "unigram": train_unigram}[kind]([TRAINING], vocab_size)
    fields = ours.to_json()
    special = [token["content"] for token in fields["added_tokens"]]
    if kind == "wordpiece":
        model = library.models.WordPiece(unk_token="[UNK]")
        trainer = library.trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    else:  # it has no tokens for bytes
        model = library.models.Unigram()
        trainer = library.trainers.UnigramTrainer(
            vocab_size=vocab_size - 256, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    theirs = library.Tokenizer.from_str(json.dumps({**fields, "added_tokens": [], "post_processor": None}))
    theirs.model = model
    theirs.train_from_iterator(TRAINING.splitlines(keepends=True), trainer)
    n_ours, n_theirs = len(ours.encode(HELD_OUT)), len(theirs.encode(HELD_OUT).ids)
    assert n_ours < 1.01 * n_theirs
    assert isinstance(ours, PipelineTokenizer)
