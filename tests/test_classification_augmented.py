"""Augmentation within a run: drawn anew at each step, held-out texts as they are, and the same bits when resumed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.autograd import functional as F
from tinylm.errors import TinylmError
from tinylm.files import read_json
from tinylm.inference import classifier_inputs
from tinylm.models import Bert, BertConfig
from tinylm.nn import Initializer
from tinylm.optim import SGD
from tinylm.tasks import new_model, resolve_settings
from tinylm.tasks.augmentation import WordCandidates, read_augment
from tinylm.tasks.classification import Classification, Examples, LabelTask
from tinylm.text import Inputs, train_wordpiece
from tinylm.training import Trainer
from tinylm.tuning import Choices, parse_space, resume_tuning
from tinylm.tuning.space import read_space

SIZES = {"layers": 1, "heads": 2, "width": 16, "embedding": 16, "context": 16, "vocab_size": 90, "batch_size": 8}
SMALL = {**SIZES, "task": "classification", "steps": 6, "validate_every": 3, "checkpoint_every": 3, "model": "gru"}
WORDS = ["the", "film", "was", "a", "story", "about", "people", "and", "music"]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    rng, rows = random.Random(0), ["text,label"]
    for number in range(60):
        words = [*rng.sample(WORDS, 6), rng.choice(["great", "lovely"] if number % 2 else ["dull", "awful"])]
        rows.append(f"{' '.join(words)},{'good' if number % 2 else 'bad'}")
    path = tmp_path / "films.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


@pytest.fixture
def thesaurus(tmp_path: Path) -> Path:
    path = tmp_path / "th.dat"
    path.write_text("UTF-8\nfilm|1\n(noun)|movie|picture\nstory|1\n(noun)|tale\n", encoding="utf-8")
    return path


def task_of(films: Path, change=None, **settings) -> tuple[Classification, LabelTask]:
    kind = Classification(resolve_settings({**SMALL, "data": str(films), **settings}), change=change)
    return kind, kind.load(kind.build_tokenizer())


def test_texts_are_drawn_anew_each_step_and_those_held_out_stay(films: Path, thesaurus: Path) -> None:
    changes = "swap:0.3,delete:0.2,synonyms:0.9,typos,keyboard"
    _, task = task_of(films, augment=changes, thesaurus=str(thesaurus))
    _, plain = task_of(films)
    assert [row.ids.tolist() for row in task.validation.rows] == [row.ids.tolist() for row in plain.validation.rows]
    epoch = task._buckets.batches
    texts = [[row.ids.tolist() for row in task.batch(step, slice(None)).rows] for step in (0, epoch, 0)]
    assert texts[0] == texts[2]
    assert texts[0] != texts[1]
    assert texts[0] != [row.ids.tolist() for row in plain.batch(0, slice(None)).rows]
    _, other = task_of(films, augment=changes, thesaurus=str(thesaurus), seed=1)
    assert texts[0] != [row.ids.tolist() for row in other.batch(0, slice(None)).rows]
    parts = [row.ids.tolist() for part in (slice(0, 3), slice(3, 8)) for row in task.batch(0, part).rows]
    assert parts == texts[0]
    assert len({task.batch(0, part).length for part in (slice(0, 3), slice(3, 8))}) == 1


@pytest.mark.parametrize("augment", ["delete:0.3,swap", "mixup:0.4"])
def test_a_run_goes_on_to_the_same_bits(films: Path, tmp_path: Path, augment: str) -> None:
    whole = tinylm.train(films, out=tmp_path / "whole", augment=augment, **SMALL)

    def stop(trainer: Trainer, result) -> None:
        if trainer.step == 3:
            trainer.stop("enough")

    tinylm.train(films, out=tmp_path / "parts", augment=augment, callbacks=[stop], **SMALL)
    parts = tinylm.train(resume=tmp_path / "parts")
    first, second = whole.model.state_dict(), parts.model.state_dict()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    unchanged = tinylm.train(films, out=tmp_path / "plain", **SMALL).model.state_dict()
    assert not all(np.array_equal(first[name], unchanged[name]) for name in first)


def test_a_function_changes_the_texts_to_learn_from_and_those_alone(films: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    kind, task = task_of(films, change=lambda text, random: seen.append(text) or "great")
    assert not seen
    assert {tuple(row.ids) for row in task.batch(0, slice(None)).rows} == {
        tuple(task.batch(1, slice(0, 1)).rows[0].ids)
    }
    assert set(seen) <= set(kind.train.column("text"))
    with pytest.raises(TinylmError, match="the task masked changes no texts"):
        tinylm.train(films, task="masked", change=lambda text, random: text)


MISTAKES = {
    "name": ({"augment": "delet"}, "there is no change 'delet'; did you mean 'delete'"),
    "number": ({"augment": "delete:much"}, "expected NAME:STRENGTH with a number, received 'delete:much'"),
    "range": ({"augment": "delete:1.5"}, "delete takes a strength above 0 and up to 1"),
    "twice": ({"augment": "delete,delete:0.2"}, "names delete twice"),
    "no thesaurus": ({"augment": "synonyms"}, "augment=synonyms needs the setting thesaurus"),
    "no model": ({"augment": "context"}, "augment=context needs the setting masked_model"),
    "nowhere": ({"augment": "synonyms", "thesaurus": "no/th.dat"}, "there is no no/th.dat"),
    "model nowhere": ({"augment": "context", "masked_model": "./no/model"}, "no such model folder"),
    "one way": ({"augment": "back-translation", "translators": "a"}, "two models, there and back, received 1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_before_a_run_is_made(films: Path, tmp_path: Path, name: str) -> None:
    settings, words = MISTAKES[name]
    with pytest.raises(TinylmError, match=words):
        tinylm.train(films, out=tmp_path / "run", **SMALL, **settings)
    assert not (tmp_path / "run").exists()


def test_a_model_of_another_kind_is_refused(films: Path, tmp_path: Path) -> None:
    run = tinylm.train(films, out=tmp_path / "run", **{**SMALL, "steps": 1})
    for settings, words in (
        ({"augment": "context", "masked_model": run.best}, "predicts no masked tokens"),
        ({"augment": "back-translation", "translators": (run.best, run.best)}, "train one with --task translation"),
    ):
        with pytest.raises(TinylmError, match=words):
            tinylm.train(films, out=tmp_path / "other", **SMALL, **settings)


def test_augment_is_read_in_order() -> None:
    assert read_augment(["swap", "delete:0.3", "mixup:1.5"]) == {"swap": 0.1, "delete": 0.3, "mixup": 1.5}
    assert read_augment(["none"]) == read_augment(()) == {}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_search_chooses_among_changes_and_goes_on(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = read_space(parse_space(["augment=none,delete:0.2+swap"]), resolve_settings(SMALL))
    assert space == {"augment": Choices(((), ("delete:0.2", "swap")))}
    found = tinylm.tune(films, trials=2, space=space, out=tmp_path / "search", **SMALL)
    more = resume_tuning(tmp_path / "search", trials=3)
    assert [trial.settings for trial in more.trials[:2]] == [trial.settings for trial in found.trials]
    assert {trial.settings["augment"] for trial in more.trials} <= {"none", "delete:0.2,swap"}
    for trial in more.trials:
        config = read_json(tmp_path / "search" / "trials" / f"{trial.number:04d}" / "config.json")
        assert (",".join(config["augment"]) or "none") == trial.settings["augment"]


# Models that change texts.


def masked_model(tokenizer, context: int = 12) -> Bert:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(tokenizer.vocab_size, max_position_embeddings=context, initializer_range=0.3, **sizes)
    return Bert(config, Initializer(1), head="masked_language")


def test_a_masked_model_names_whole_words_for_each_place_also_of_long_texts() -> None:
    tokenizer = train_wordpiece(["the cat sat on the mat. 猫坐在垫子上 " * 20], 120)
    find = WordCandidates(masked_model(tokenizer), tokenizer, 4)
    text = "the cat sat on the mat, " * 9 + "the cat 猫坐"
    places = [(0, 3), (8, 11), (len(text) - 2, len(text) - 1)]
    found = find(text, places)
    assert [len(words) for words in found] == [4, 4, 4]
    assert all(
        word in {"the", "cat", "sat", "on", "mat", *"猫坐在垫子上"} or len(word) == 1 for w in found for word in w
    )
    assert find(text, places) == found
    assert find("a [MASK] here", [(0, 1)]) == [[]]


def test_what_a_masked_model_and_two_translators_say_reaches_the_batch(tmp_path: Path, films: Path) -> None:
    tiny = {"layers": 1, "heads": 2, "width": 16, "batch_size": 8, "vocab_size": 300, "steps": 1, "context": 16}
    (tmp_path / "pairs.csv").write_text("source,target\n" + "".join(f"film {n},Film {n}\n" for n in range(40)))
    there = tinylm.train(tmp_path / "pairs.csv", task="translation", deduplicate=False, out=tmp_path / "t", **tiny)
    (tmp_path / "text.txt").write_text("the film was a story about people and music. " * 40)
    masked = tinylm.train(tmp_path / "text.txt", task="masked", out=tmp_path / "m", **tiny)
    for settings in (
        {"augment": "context:0.5", "masked_model": masked.best},
        {"augment": "back-translation:1", "translators": (there.best, there.best)},
    ):
        (_, changed), (_, plain) = task_of(films, **settings), task_of(films)
        texts = [[row.ids.tolist() for row in task.batch(0, slice(None)).rows] for task in (changed, plain)]
        assert texts[0] != texts[1]
        assert texts[0] == [row.ids.tolist() for row in task_of(films, **settings)[1].batch(0, slice(None)).rows]


# Mixtures of embeddings.


def encoded(*lengths: int) -> list[Inputs]:
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 50, length).astype(np.int32) for length in lengths]
    return [Inputs(row, np.zeros_like(row), np.ones(len(row), bool)) for row in rows]


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2", "gru"])
@pytest.mark.parametrize("weights", [None, {"a": 0.5, "b": 3.0}])
def test_the_loss_of_mixed_texts_is_the_mixture_of_the_losses_of_both_labels(family: str, weights) -> None:
    settings = resolve_settings({**SMALL, "data": ["x"], "model": family, "tie_embeddings": False, "dropout": 0.0})
    model = new_model(settings, 50, head="classification", problem_type="single_label_classification")
    model.astype(np.float64)
    task = LabelTask(
        Examples(encoded(3, 9, 1, 7, 5, 2), list("abbaba")),
        Examples([], []),
        "ab",
        batch_size=6,
        class_weights=weights,
        mixup=0.7,
    )
    batch = task.batch(0, slice(None))
    mixup = batch.mixup
    ids, seen = classifier_inputs(model, batch.rows, batch.length)
    seen["key_mask"] |= seen["key_mask"][mixup.partner]
    table = model.tokens.weight.data
    share = mixup.weight[:, None, None]
    mixed = share * table[ids] + (1 - share) * table[ids[mixup.partner]]  # (B, T, C)
    with model.tokens.changed(lambda rows: rows * 0 + mixed):
        logits = model(ids, **seen)
    own = batch.targets[:6]
    of_class = np.ones(2) if weights is None else np.array(list(weights.values()))
    both = [
        (F.cross_entropy(logits, targets, reduction="none").data, share * of_class[targets])
        for targets, share in ((own, mixup.weight), (own[mixup.partner], 1 - mixup.weight))
    ]
    expected = sum(losses @ weighed for losses, weighed in both)
    assert task.loss(model, batch).item() * task.count(batch) == pytest.approx(expected, rel=1e-6)
    assert model.tokens(ids).data == pytest.approx(table[ids])  # as it was


def test_mixtures_of_several_labels_have_shares_of_them_and_gradients_reach_both() -> None:
    settings = resolve_settings({**SMALL, "data": ["x"], "model": "bert"})
    model = new_model(settings, 50, head="classification", problem_type="multi_label_classification")
    task = LabelTask(
        Examples(encoded(3, 4, 5, 6), [["a"], ["a", "b"], [], ["b"]]),
        Examples([], []),
        "ab",
        batch_size=4,
        several=True,
        mixup=1.0,
    )
    batch = task.batch(0, slice(None))
    assert ((batch.targets > 0) & (batch.targets < 1)).any()
    trainer = Trainer(model, task, SGD(list(model.parameters())), lambda step: 0.1, steps=1)
    trainer.train_step()
    used = np.unique(np.concatenate([row.ids for row in batch.rows]))
    assert (np.abs(model.tokens.weight.grad[used]).sum(axis=1) > 0).all()
