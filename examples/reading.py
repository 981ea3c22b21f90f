"""Read for an answer: a model marks it in a text, or says that it is not there, learnt from generated facts.

    python examples/reading.py                            # a new BERT
    python examples/reading.py --init MODEL               # begins with another encoder, such as MiniLM
    python examples/reading.py --data train-v2.0.json     # SQuAD itself, or any file in its format

Unless --data names some, it writes a data set in the format of SQuAD 2.0: a context says of three people three of five
things that may be asked, in sentences of several forms and in any order; two in five questions have no answer. Contexts
that are held out are new, names and what is said of them are not.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tinylm
from tinylm.baselines import SpanBaseline
from tinylm.data import Records
from tinylm.metrics import answers

NAMES = """Anna Ben Clara David Emma Felix Grace Henry Ida Jonas Karin Leo Maria Nils Olga Paul Rosa Simon Tina Victor
Walter Yara Zoe Amir Bianca Carlos Dora Erik Fatima Georg"""
# Of each relation: how it is told, how it is asked, and what may be said.
RELATIONS: dict[str, tuple[list[str], list[str], str]] = {
    "city": (
        ["{name} lives in {value}.", "The home of {name} is in {value}.", "{name} moved to {value} years ago."],
        ["Where does {name} live?", "In which city does {name} live?"],
        "Paris, Rome, Oslo, Madrid, Vienna, New York, Lisbon, Dublin, Cairo, Buenos Aires, Prague, Athens",
    ),
    "work": (
        ["{name} works as a {value}.", "By profession {name} is a {value}.", "{name} earns money as a {value}."],
        ["What is the job of {name}?", "What does {name} work as?"],
        "baker, nurse, taxi driver, teacher, gardener, painter, lawyer, bus driver, cook, tailor, farmer, pilot",
    ),
    "pet": (
        ["{name} has a {value}.", "At home {name} keeps a {value}.", "A {value} belongs to {name}."],
        ["Which animal does {name} have?", "What pet does {name} keep?"],
        "cat, dog, parrot, white rabbit, horse, tortoise, goldfish, hamster, grey donkey, canary",
    ),
    "food": (
        ["{name} likes {value}.", "The favourite dish of {name} is {value}.", "For dinner {name} often eats {value}."],
        ["What does {name} like to eat?", "What is the favourite dish of {name}?"],
        "rice, fish soup, pasta, green salad, pancakes, roast chicken, lentils, onion soup, dumplings, cheese",
    ),
    "year": (
        ["{name} was born in {value}.", "The year of birth of {name} is {value}."],
        ["When was {name} born?", "In which year was {name} born?"],
        ", ".join(map(str, range(1930, 2010))),
    ),
}
PEOPLE, TOLD, QUESTIONS = 3, 3, 5  # of a context; relations that are told of each person

COMMON: dict[str, Any] = {"context": 128, "precision": "bfloat16", "measured": 200}
SETTINGS: dict[str, Any] = {"layers": 3, "width": 96, "vocab_size": 1000, "dropout": 0.0}  # of a new model
TUNED: dict[str, Any] = {"batch_size": 16, "learning_rate": 3e-4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FILE", help="in SQuAD's format; generated unless given")
    parser.add_argument("--contexts", type=int, default=3000, help="of the generated data set (3000)")
    parser.add_argument("--init", metavar="MODEL", help="begin with this encoder")
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--out", type=Path, default=Path("runs/reading"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the run")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    data = options.data or write(options.out / "facts.json", options.contexts)
    chosen = {"init": options.init, **TUNED} if options.init else SETTINGS
    run = tinylm.train(
        data,
        task="reading",
        out=options.out / "run",
        steps=options.steps,
        validate_every=max(options.steps // 5, 1),
        notify=print,
        **COMMON | chosen | dict(assignment.split("=", 1) for assignment in options.set),
    )
    train, test = run.kind.train, run.kind.validation
    lm = tinylm.load(run.best)
    found = [lm.answer(question["question"], question["context"]) for question in test]
    baseline = SpanBaseline([*dict.fromkeys(train.column("context"))])
    nearest = [baseline.answer(question["question"], question["context"]).text for question in test]
    show("the model", found, test)
    show("the nearest words", nearest, test)
    for question, answer in zip(test[:4], found, strict=False):
        print(f"{question['context']}\n  {question['question']}\n  -> {answer or '(no answer)'}")


def write(path: Path, contexts: int) -> Path:
    """A data set in the format of SQuAD 2.0."""
    rng = random.Random(0)
    paragraphs = [paragraph(rng, str(number)) for number in range(contexts)]
    squad = {"version": "v2.0", "data": [{"title": "people", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(squad), encoding="utf-8")
    return path


def paragraph(rng: random.Random, number: str) -> dict[str, Any]:
    """A context and questions about it; those of relations that are not told have no answer."""
    people = rng.sample(NAMES.split(), PEOPLE)
    told = [(name, relation) for name in people for relation in rng.sample(sorted(RELATIONS), TOLD)]
    rng.shuffle(told)
    context, facts = "", {}
    for name, relation in told:
        templates, _, values = RELATIONS[relation]
        before, after = rng.choice(templates).format(name=name, value="|").split("|")
        value = rng.choice(values.split(", "))
        context += f"{before}{value}{after} "
        facts[name, relation] = {"text": value, "answer_start": len(context) - 1 - len(after) - len(value)}
    asked = rng.sample([(name, relation) for name in people for relation in RELATIONS], QUESTIONS)
    questions = [
        {
            "id": f"{number}-{at}",
            "question": rng.choice(RELATIONS[relation][1]).format(name=name),
            "answers": [facts[name, relation]] if (name, relation) in facts else [],
            "is_impossible": (name, relation) not in facts,
        }
        for at, (name, relation) in enumerate(asked)
    ]
    return {"context": context.rstrip(), "qas": questions}


def show(name: str, found: Sequence[str], questions: Records) -> None:
    """Exact match and F1 of all questions, and of those that have an answer."""
    right = [*questions.column("answers")]
    answerable = [number for number, texts in enumerate(right) if texts]
    every = answers(found, right).result()
    some = answers([found[number] for number in answerable], [right[number] for number in answerable]).result()
    for what, found_of in ((f"{len(right):,} questions", every), (f"{len(answerable):,} with an answer", some)):
        print(f"{name:<17} of {what}: exact {found_of['exact_match']:.1f}, F1 {found_of['f1']:.1f}")


if __name__ == "__main__":
    main()
