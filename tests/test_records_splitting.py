"""Parts of records: the right share of each label, and nothing on both sides."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.data import EpochOrder, make_records, open_records
from tinylm.data.records.splitting import split_numbers
from tinylm.errors import TinylmError


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), min_size=2, max_size=200),
    st.lists(st.floats(0.01, 0.4), min_size=1, max_size=2),
    st.integers(0, 2**64 - 1),
)
def test_groups_stay_whole_and_every_record_is_in_one_part(rows, shares, seed):
    groups, strata = np.array(rows).T
    parts = split_numbers(groups, strata, shares, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(rows)))
    seen = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, seen)) == len(set(groups.tolist()))
    again = split_numbers(groups, strata, shares, seed)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))


@given(st.lists(st.integers(0, 3), min_size=40, max_size=300), st.integers(0, 99))
def test_each_label_has_its_share_and_stays_to_be_learned(labels, seed):
    strata = np.array(labels)
    rest, held_out = split_numbers(np.arange(len(labels)), strata, [0.25], seed)
    assert abs(len(held_out) - len(labels) / 4) <= 4
    counts, held = np.bincount(strata, minlength=4), np.bincount(strata[held_out], minlength=4)
    assert (np.abs(held - counts / 4) <= 1).all()
    assert set(strata[rest].tolist()) == set(labels)


def records(count: int = 200):
    rows = [
        {"text": f"Text  {at // 2}{' ' * (at % 2)}", "label": "rare" if at < 20 else "often"} for at in range(count)
    ]
    return make_records(rows)


def test_texts_that_differ_in_spaces_alone_are_never_on_both_sides():
    train, validation, test = records().split(0.1, 0.2, seed=1)
    assert (len(train), len(validation), len(test)) == (140, 20, 40)
    assert validation.labels() == {"often": 18, "rare": 2}
    texts = [{" ".join(text.split()) for text in part.column("text")} for part in (train, validation, test)]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert list(records().split(0.1, 0.2, seed=1)[1]) == list(validation)
    assert list(records().split(0.1, 0.2, seed=2)[1]) != list(validation)


def test_questions_about_one_context_stay_together():
    rows = [{"question": f"q{at}", "context": f"c{at % 5}"} for at in range(50)]
    train, validation = make_records(rows).split(0.2)
    assert set(train.column("context")).isdisjoint(validation.column("context"))
    assert len(validation) == 10


def test_splits_that_cannot_be_are_refused():
    for shares, words in (((0.5, 0.5), "less than 1"), ((0,), "above 0"), ((-0.1,), "above 0"), ((0.001,), "too few")):
        with pytest.raises(TinylmError, match=words):
            records().split(*shares)
    with pytest.raises(TinylmError, match="no field 'author'"):
        records().split(0.1, group="author")


def test_weights_make_labels_count_alike():
    weights = records().class_weights()
    assert weights == {"often": pytest.approx(200 / 360), "rare": 5}
    several = make_records(
        [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": ["x"]}, {"text": "c", "label": ["x"]}]
    )
    assert several.labels() == {"x": 3, "y": 1}
    assert list(several.split(0.34)[1].labels()) == ["x"]


def test_the_summary_says_what_there_is():
    assert records().summary().splitlines() == [
        "records: 200 records of text, label",
        "label: often 180, rare 20",
        "text: 7 to 9 characters, median 8, 99 % up to 9",
    ]
    assert records().lengths("text", measure=lambda text: len(text.split())).median == 2


@given(st.integers(1, 50), st.integers(0, 2**64 - 1), st.integers(0, 5))
def test_an_epoch_takes_each_record_once_in_an_order_of_its_own(count, seed, epoch):
    order = EpochOrder(count, seed)
    taken = [order[epoch * count + at] for at in range(count)]
    assert sorted(taken) == list(range(count))
    assert EpochOrder(count, seed)[epoch * count + count // 2] == taken[count // 2]
    assert order.rows(2, 3, slice(1, 3)) == order.rows(2, 3)[1:]


def test_data_is_shuffled_without_being_held(tmp_path):
    with open(tmp_path / "large.jsonl", "w") as file:
        for at in range(4_000):
            file.write(f'{{"text": "{at} {"words " * 200}", "label": {at % 2}}}\n')
    tracemalloc.start()
    found = open_records(tmp_path / "large.jsonl", {"text": None, "label": None})
    order = EpochOrder(len(found), seed=0)
    assert sum(len(found[order[at]]["text"]) > 600 for at in range(0, 4_000, 4)) == 1000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 4_000
    assert peak < (tmp_path / "large.jsonl").stat().st_size / 2
