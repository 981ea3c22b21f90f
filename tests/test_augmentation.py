"""Augmentation: a function of seed, step and row, which changes texts as often as it says, and nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import Tensor
from tinylm.autograd import functional as F
from tinylm.data.augment import (
    KEYBOARDS,
    Augmenter,
    BackTranslation,
    Compose,
    DeleteWords,
    KeyboardNoise,
    OneOf,
    ReplaceByContext,
    ReplaceBySynonym,
    Sometimes,
    SwapWords,
    Typos,
    draw_mixup,
    read_mythes,
    read_wordnet,
)
from tinylm.data.augment.units import split_units
from tinylm.errors import FileFormatError, TinylmError

ENGLISH = "The quick brown fox doesn't jump over the lazy dog; it's well-known, isn't it? " * 40
CHINESE = "床前明月光。疑是地上霜。举头望明月。低头思故乡。" * 40
SYNONYMS = {"quick": ["fast", "rapid"], "lazy": ["idle"], "月": ["星"], "the": ["a"]}
CHANGES = {
    "keyboard": KeyboardNoise(0.2),
    "typos": Typos(0.2),
    "swap": SwapWords(0.2),
    "delete": DeleteWords(0.2),
    "synonyms": ReplaceBySynonym(SYNONYMS, 0.5),
    "context": ReplaceByContext(lambda text, places: [[text[start:end][::-1], "x"] for start, end in places], 0.2),
    "back": BackTranslation(str.upper, str.lower),
}
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    [ENGLISH[:99], CHINESE[:40]]
)


@pytest.mark.parametrize("name", CHANGES)
@given(ANY_TEXT, st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(0, 2**20))
def test_a_change_is_a_function_of_seed_step_and_row_and_touches_no_label(name, text, seed, step, row):
    record = {"text": text, "label": ["a", "b"], "other": text}
    changed = Augmenter(CHANGES[name], seed=seed)(record, step=step, row=row)
    assert changed == Augmenter(CHANGES[name], seed=seed)(record, step=step, row=row)
    assert list(changed) == list(record)
    assert changed["label"] is record["label"]
    assert changed["other"] == text
    assert record["text"] == text
    assert bool(changed["text"].strip()) >= bool(text.strip())  # nothing becomes empty


@pytest.mark.parametrize("name", ["keyboard", "typos", "swap", "delete"])
def test_seeds_steps_and_rows_differ(name):
    texts = {
        Augmenter(CHANGES[name], seed=seed)({"text": ENGLISH[:300]}, step=step, row=row)["text"]
        for seed, step, row in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    }
    assert len(texts) == 4


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_a_rate_of_nothing_changes_nothing_and_words_and_gaps_make_the_text(text):
    random = np.random.default_rng(0)
    for change in (KeyboardNoise(0), Typos(0), SwapWords(0), DeleteWords(0), ReplaceBySynonym(SYNONYMS, 0)):
        assert change(text, random) == text
    assert split_units(text).join() == text
    assert split_units("doesn't well-known 中文 3.5").words == ["doesn't", "well-known", "中", "文", "3", "5"]


@given(st.integers(0, 2**32))
def test_keyboard_noise_keeps_the_length_and_hits_as_often_as_it_says(seed):
    text = "abc XYZ, 床! " * 100
    changed = KeyboardNoise(0.1)(text, np.random.default_rng(seed))
    assert len(changed) == len(text)
    hits = [(a, b) for a, b in zip(text, changed, strict=True) if a != b]
    assert abs(len(hits) - 60) < 6 * np.sqrt(600 * 0.09)  # six standard deviations of 600 letters
    assert all(a.isascii() and a.isalpha() and a.isupper() == b.isupper() for a, b in hits)


def test_keys_touch_each_other_both_ways():
    for name in KEYBOARDS:
        near = KeyboardNoise(keyboard=name)._near
        assert all(key in near[other] for key, others in near.items() for other in others)
    assert sorted(KeyboardNoise()._near["s"]) == sorted("wedxza")


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_typos_and_swaps_keep_what_they_do_not_drop(text):
    changed = Typos(0.1)(text, np.random.default_rng(1))
    count = sum(letter.isalnum() for letter in text)
    assert abs(len(changed) - len(text)) < 6 * np.sqrt(count * 0.1)
    assert set(changed) == set(text)
    swapped = SwapWords(0.3)(text, np.random.default_rng(2))
    assert Counter(split_units(swapped).words) == Counter(split_units(text).words)
    assert split_units(swapped).gaps == split_units(text).gaps


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_deleting_leaves_the_share_that_is_not_chosen_in_order(text):
    words = split_units(text).words
    left = split_units(DeleteWords(0.25)(text, np.random.default_rng(3))).words
    assert abs(len(left) - 0.75 * len(words)) < 6 * np.sqrt(len(words) * 0.1875)
    rest = iter(words)
    assert all(word in rest for word in left)
    assert DeleteWords(1)("All of it, gone.", np.random.default_rng(4)) == "All, ."
    drawn = {DeleteWords(0.5)("a b, c d", np.random.default_rng(seed)) for seed in range(200)}
    assert {"a, c d", "b, c d", "a b, d", "a b, c"} <= drawn
    assert not any("  " in text for text in drawn)


def test_synonyms_keep_a_capital_and_hit_as_often_as_they_say():
    changed = ReplaceBySynonym({"the": ["this"], "fox": ["hare"]}, 0.5)(ENGLISH, np.random.default_rng(5))
    counts = Counter(split_units(changed).words)
    assert counts["This"] + counts["The"] == counts["this"] + counts["the"] == counts["hare"] + counts["fox"] == 40
    assert 10 < counts["hare"] < 30
    assert ReplaceBySynonym(SYNONYMS, 1)("明月", np.random.default_rng(6)) == "明星"


def test_a_model_is_asked_once_for_the_words_at_all_places_of_a_text():
    asked = []

    def candidates(text: str, places: list[tuple[int, int]]) -> list[list[str]]:
        asked.append([text[start:end] for start, end in places])
        return [["cat", "x"], ["B"], ["z"], []]

    assert ReplaceByContext(candidates, 1)("Cat, b 中 d", np.random.default_rng(7)) == "X, b z d"  # no word as it was
    assert asked == [["Cat", "b", "中", "d"]]


def test_changes_are_put_together():
    random = np.random.default_rng(8)
    assert Compose([str_change("a"), str_change("b")])("x", random) == "xab"
    assert {OneOf([str_change("a"), str_change("b")])("x", random) for _ in range(20)} == {"xa", "xb"}
    often = sum(Sometimes(str_change("a"), 0.3)("x", random) == "xa" for _ in range(1000))
    assert abs(often - 300) < 6 * np.sqrt(210)
    assert BackTranslation(lambda text: "", lambda text: text)("x", random) == "x"


def str_change(suffix: str):
    return lambda text, random: text + suffix


def test_records_are_followed_by_their_changed_copies():
    augment = Augmenter(Typos(0.3), seed=1)
    records = [{"text": ENGLISH[:60], "label": "a"}, {"text": CHINESE[:20], "label": "b"}]
    found = list(augment.expand(records, 2))
    assert [record["label"] for record in found] == ["a"] * 3 + ["b"] * 3
    assert found[::3] == records
    assert found[5] == augment(records[1], step=1, row=1)
    assert len({record["text"] for record in found}) == 6


def test_what_makes_no_sense_is_refused():
    for make in (KeyboardNoise, Typos, SwapWords, DeleteWords):
        with pytest.raises(TinylmError, match=f"{make.__name__}: expected a probability"):
            make(1.5)
    with pytest.raises(TinylmError, match="cannot be changed; augment the question"):
        Augmenter(Typos(), seed=0, fields=["context"])({"context": "a", "starts": [0]}, step=0, row=0)
    with pytest.raises(TinylmError, match="positive alpha"):
        draw_mixup(2, alpha=0, seed=0, step=0)


# Thesaurus files -----------------------------------------------------------------------------------------


def test_a_thesaurus_gives_single_words_and_names_the_line_that_is_wrong(tmp_path):
    path = tmp_path / "th.dat"
    path.write_text("UTF-8\nquick|2\n(adj)|fast|rapid (similar term)|in a hurry\n(noun)|Quick|fast\na b|1\n(noun)|c\n")
    assert read_mythes(path) == {"quick": ["fast", "rapid"]}
    for content, words in (("UTF-8\nquick\n", ":2: expected a word"), ("klingon\n", ":1: expected an encoding")):
        path.write_text(content)
        with pytest.raises(FileFormatError, match=words):
            read_mythes(path)


def test_synsets_of_wordnet_give_their_words(tmp_path):
    for name in ("noun", "verb", "adv"):
        (tmp_path / f"data.{name}").write_text("  1 licence\n")
    line = "00001740 00 a 03 quick 0 fast(p) 0 lightning_fast 0 001 & 000 a 0000 | gloss\n"
    (tmp_path / "data.adj").write_text("  1 licence\n" + line)
    assert read_wordnet(tmp_path) == {"quick": ["fast"], "fast": ["quick"]}
    (tmp_path / "data.adj").write_text("00001740 00 a zz\n")
    with pytest.raises(FileFormatError, match=r"data.adj:1: no synset"):
        read_wordnet(tmp_path)
    (tmp_path / "data.verb").unlink()
    with pytest.raises(FileFormatError, match="no such file"):
        read_wordnet(tmp_path)


# Mixup ---------------------------------------------------------------------------------------------------


@given(st.integers(1, 20), st.floats(0.05, 5), st.integers(0, 2**32), st.integers(0, 2**32))
def test_mixup_keeps_means_and_makes_targets_of_two_labels(rows, alpha, seed, step):
    mixup = draw_mixup(rows, alpha=alpha, seed=seed, step=step)
    assert sorted(mixup.partner.tolist()) == list(range(rows))
    assert ((mixup.weight >= 0.5) & (mixup.weight <= 1)).all()
    assert (draw_mixup(rows, alpha=alpha, seed=seed, step=step).weight == mixup.weight).all()
    labels = np.arange(rows) % 3
    targets = mixup.targets(labels, 3)
    assert np.allclose(targets.sum(axis=1), 1)
    assert (targets[np.arange(rows), labels] >= 0.5).all()
    assert (mixup.mix(np.full((rows, 2), 3.0)) == pytest.approx(3)) is True


def test_the_loss_of_mixed_targets_is_the_mixed_loss_and_gradients_reach_both_examples():
    mixup = draw_mixup(4, alpha=1.0, seed=1, step=2)
    x = Tensor(np.random.default_rng(9).normal(size=(4, 5, 3)), requires_grad=True)
    mixed = mixup.mix(x)
    assert np.allclose(mixed.data, mixup.mix(x.data))
    logits, labels = mixed.mean(axis=1), np.array([0, 1, 2, 1])
    losses = F.cross_entropy(logits, labels, reduction="none") * mixup.weight
    losses = losses + F.cross_entropy(logits, labels[mixup.partner], reduction="none") * (1 - mixup.weight)
    soft = -(F.log_softmax(logits) * mixup.targets(labels, 3)).sum(axis=1)
    assert np.allclose(losses.data, soft.data)
    losses.sum().backward()
    assert np.isfinite(x.grad).all()
    assert mixup.mix(x.data.astype(np.float32)).dtype == np.float32
