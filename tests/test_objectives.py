"""What models are trained to do: masked tokens, and spans that are left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data import IGNORE, corrupt_spans, corrupted_batch, mask_tokens
from tinylm.errors import TinylmError

V, MASK, END, PAD = 1000, 999, 998, 0
SENTINELS = [990, 989, 988, 987]
IDS = np.random.default_rng(0).integers(1, 900, (64, 100)).astype(np.int32)
MASKING = {"mask_id": MASK, "vocab_size": V}


def test_fifteen_percent_are_predicted_eight_in_ten_of_them_hidden() -> None:
    inputs, targets = mask_tokens(IDS, seed=1, step=2, **MASKING)
    chosen = targets != IGNORE
    assert (chosen.sum(axis=1) == 15).all()
    assert np.array_equal(targets[chosen], IDS[chosen])
    assert np.array_equal(inputs[~chosen], IDS[~chosen])
    hidden, kept = (inputs == MASK)[chosen].mean(), (inputs == IDS)[chosen].mean()
    assert abs(hidden - 0.8) < 0.05
    assert abs(kept - 0.1) < 0.03


def test_special_tokens_are_never_chosen_and_words_only_as_a_whole() -> None:
    special = np.zeros(IDS.shape, bool)
    special[:, ::10] = True
    begins = np.random.default_rng(1).random(IDS.shape) < 0.4
    _, targets = mask_tokens(IDS, seed=1, step=2, special=special, begins=begins, rate=0.3, **MASKING)
    chosen = targets != IGNORE
    assert not chosen[special].any()
    assert (chosen.sum(axis=1) <= 27).all()
    assert abs(chosen.sum(axis=1).mean() - 27) < 2
    for row in range(len(IDS)):
        word = np.cumsum(begins[row])
        for unit in np.unique(word[chosen[row]]):
            assert chosen[row][(word == unit) & ~special[row]].all()


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 60))
def test_a_slice_of_a_batch_sees_what_the_whole_does(seed: int, step: int, first: int) -> None:
    whole = mask_tokens(IDS, seed=seed, step=step, **MASKING)
    part = mask_tokens(IDS[first : first + 4], seed=seed, step=step, first_row=first, **MASKING)
    assert all(np.array_equal(a[first : first + 4], b) for a, b in zip(whole, part, strict=True))
    assert not np.array_equal(whole[0], mask_tokens(IDS, seed=seed, step=step + 1, **MASKING)[0])


@given(st.integers(2, 60), st.integers(0, 1000), st.floats(0.05, 0.9), st.floats(1, 6))
def test_source_and_target_together_are_the_text(length: int, step: int, rate: float, mean: float) -> None:
    text = np.arange(1, length + 1)
    settings = {"sentinels": SENTINELS, "end_id": END, "rate": rate, "mean_length": mean}
    source, target = corrupt_spans(text, seed=3, step=step, row=5, **settings)
    assert source[-1] == target[-1] == END
    spans: dict[int, list[int]] = {}
    for id in target[:-1].tolist():
        if id in SENTINELS:
            spans[id] = []
        else:
            spans[list(spans)[-1]].append(id)
    assert list(spans) == SENTINELS[: len(spans)]
    assert all(spans.values())
    restored = [i for id in source[:-1].tolist() for i in spans.get(id, [id])]
    assert restored == text.tolist()
    assert sum(map(len, spans.values())) == min(max(round(rate * length), 1), length - 1)


def test_a_batch_of_corrupted_texts_is_padded_on_the_right() -> None:
    settings = {"seed": 1, "step": 2, "pad_id": PAD, "sentinels": SENTINELS, "end_id": END, "rate": 0.2}
    source, mask, targets = corrupted_batch(IDS[:4, :20], **settings)
    assert source.shape == mask.shape
    assert (source[~mask] == PAD).all()
    assert ((targets == END).sum(axis=1) == 1).all()
    part = corrupted_batch(IDS[2:4, :20], first_row=2, **settings)
    assert np.array_equal(part[0], source[2:4][:, : part[0].shape[1]])


def test_impossible_settings_are_named() -> None:
    with pytest.raises(TinylmError, match="rate is 1"):
        mask_tokens(IDS, seed=0, step=0, rate=1, **MASKING)
    with pytest.raises(TinylmError, match="at least 2 ids"):
        corrupt_spans(IDS[0, :1], seed=0, step=0, row=0, sentinels=SENTINELS, end_id=END)
