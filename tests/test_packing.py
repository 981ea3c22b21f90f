"""Packing and mixing: whole documents, each transition once an epoch, sources by their weights; no hidden state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.data import IGNORE, LanguageModelBatches, MixedBatches, PackedBatches, TokenSplit
from tinylm.data.packing import best_fit
from tinylm.errors import TinylmError

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=30).filter(lambda lengths: sum(lengths) > 1)


def split_of(lengths: list[int]) -> TokenSplit:
    """Documents of these lengths; an id is its own place."""
    ends = np.cumsum(lengths)
    return TokenSplit(np.arange(ends[-1], dtype=np.uint16), np.ones(ends[-1], np.int64), ends)


def packed(lengths: list[int], context: int, **options) -> PackedBatches:
    return PackedBatches(split_of(lengths), **{"batch_size": 1, "context": context, "seed": 0, **options})


@settings(max_examples=80)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_best_fit_puts_each_piece_into_the_fullest_window_that_has_room(lengths):
    found = best_fit(np.array(lengths), 20)
    rooms: dict[int, int] = {}
    for piece in sorted(range(len(lengths)), key=lambda piece: -lengths[piece]):
        window, length = int(found[piece]), lengths[piece]
        fitting = [room for room in rooms.values() if room >= length]
        assert rooms.get(window, 20) == min(fitting, default=20)
        assert window in rooms or not fitting
        rooms[window] = rooms.get(window, 20) - length
    assert set(rooms) == set(range(len(rooms)))
    assert min(rooms.values()) >= 0


@settings(max_examples=80)
@given(lengths=LENGTHS, context=st.integers(1, 12))
def test_each_transition_of_a_document_is_a_target_once_an_epoch_and_no_document_is_cut_that_fits(lengths, context):
    batches = packed(lengths, context)
    ends = np.cumsum(lengths)
    document_of = np.searchsorted(ends, np.arange(ends[-1]), "right")
    inside: list[tuple[int, int]] = []
    for step in range(batches.windows):
        inputs, targets = (rows[0] for rows in batches.train_batch(step))
        for at in np.flatnonzero(targets != IGNORE):
            before, after = int(inputs[at]), int(targets[at])
            if document_of[before] == document_of[after]:
                assert after == before + 1
                inside.append((before, after))
            else:  # only the first id of a document is predicted from another one's end
                assert after in (0, *ends)
                assert before + 1 in ends
        whole = [d for d, length in enumerate(lengths) if length <= context + 1]
        here = set(document_of[inputs[: int((targets != IGNORE).sum())]].tolist())
        for document in here.intersection(whole):  # with all of its ids, the last one perhaps as a target alone
            start, end = int(ends[document]) - lengths[document], int(ends[document])
            assert set(range(start, end)) <= {*inputs.tolist(), *targets.tolist()}
    expected = [(at, at + 1) for at in range(int(ends[-1]) - 1) if document_of[at] == document_of[at + 1]]
    assert sorted(inside) == expected


def test_padding_does_not_count_and_the_summary_tells_its_share():
    batches = packed([3, 3, 9], 4)
    assert batches.summary() == (
        "packing: 3 documents in 4 windows, 20.0% padding, 1 cuts of documents longer than the context"
    )
    inputs, targets = batches.train_batch(0, slice(0, 1))
    rows = [tuple(zip(*batches.train_batch(step), strict=True)) for step in range(4)]
    short = [(inputs.tolist(), targets.tolist()) for ((inputs, targets),) in rows if IGNORE in targets]
    assert sorted(short) == [([0, 1, 2, 0], [1, 2, IGNORE, IGNORE]), ([3, 4, 5, 0], [4, 5, IGNORE, IGNORE])]
    assert inputs.dtype == targets.dtype == np.int32


@given(
    seed=st.integers(0, 2**64 - 1),
    step=st.integers(0, 2**40),
    rows=st.slices(6).filter(lambda rows: len(range(6)[rows])),
)
def test_a_slice_of_the_rows_is_that_slice_of_the_batch(seed, step, rows):
    pack = packed([5] * 40, 9, batch_size=6, seed=seed)
    stream = LanguageModelBatches(split_of([200]), batch_size=6, context=9, seed=seed)
    for batches in (pack, MixedBatches([pack, stream], [1, 2], batch_size=6, seed=seed)):
        whole, part = batches.train_batch(step), batches.train_batch(step, rows)
        for a, b in zip(whole, part, strict=True):
            np.testing.assert_array_equal(a[rows], b)


def test_an_epoch_has_each_window_once_and_the_next_another_order():
    batches = packed([10] * 50, 9, batch_size=5)
    epochs = [
        [row.tolist() for step in range(first, first + 10) for row in batches.train_batch(step)[0]]
        for first in (0, 10, 20)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert len({tuple(map(tuple, epoch)) for epoch in epochs}) == 3
    assert epochs[0] == [row.tolist() for step in range(10) for row in batches.train_batch(step)[0]]
    assert packed([10] * 50, 9, batch_size=5, seed=1).train_batch(0)[0].tolist() != epochs[0][:5]


def test_the_windows_of_a_seed_never_change():
    """Fixed numbers: a run that another version began must resume with the same windows."""
    batches = packed([10] * 50, 9, batch_size=4, seed=7)
    assert batches.train_batch(3)[0][:, 0].tolist() == [480, 20, 190, 90]
    mixed = MixedBatches([batches, batches], [1, 3], batch_size=4, seed=7)
    assert [mixed.source_of(5, row) for row in range(8)] == [1, 0, 1, 1, 1, 1, 1, 0]


def test_rows_come_from_their_sources_as_often_as_the_weights_say():
    mixed = MixedBatches([packed([9] * 9, 8)] * 3, [2, 6, 12], batch_size=4, seed=0)
    counts = np.bincount([mixed.source_of(step, row) for step in range(1000) for row in range(4)])
    expected = np.array([0.1, 0.3, 0.6]) * 4000
    assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()
    first = packed([9] * 9, 8, batch_size=4)
    second = LanguageModelBatches(split_of([90]), batch_size=4, context=8, seed=0)
    both = MixedBatches([first, second], [1, 1], batch_size=4, seed=3)
    for step in range(5):
        rows = both.train_batch(step)[0]
        for row in range(4):
            own = (first, second)[both.source_of(step, row)].train_batch(step, slice(row, row + 1))[0]
            np.testing.assert_array_equal(rows[row : row + 1], own)


def test_what_makes_no_batch_is_refused():
    with pytest.raises(TinylmError, match="ends of documents"):
        PackedBatches(TokenSplit(np.zeros(9, np.uint8), np.ones(1)), batch_size=1, context=4, seed=0)
    for wrong in ({"batch_size": 0}, {"context": 0}, {"seed": -1}):
        with pytest.raises(TinylmError, match=next(iter(wrong))):
            packed([5], **{"context": 4, **wrong})
    source = packed([5], 4)
    for weights, words in (([1], "as many weights"), ([1, 0], "positive"), ([1, float("inf")], "positive")):
        with pytest.raises(TinylmError, match=words):
            MixedBatches([source, source], weights, batch_size=1, seed=0)
    for batches in (source, MixedBatches([source], [1], batch_size=1, seed=0)):
        with pytest.raises(TinylmError, match="step must be at least 0"):
            batches.train_batch(-1)
