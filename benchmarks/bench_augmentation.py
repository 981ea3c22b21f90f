"""How much each augmentation gains where labels are few: which of four programs says a text, learnt from 100 of each.

    python benchmarks/bench_augmentation.py --results augmentation.jsonl
    python benchmarks/bench_augmentation.py --results augmentation.jsonl --thesaurus /usr/share/mythes/th_en_US_v2.dat
    python benchmarks/bench_augmentation.py --results augmentation.jsonl --masked-model runs/MASKED

The texts are the English ones of the catalogues of GIMP, GnuCash, Evolution and GCC (Debian's gimp-data,
gnucash-common, evolution-common and gcc-12-locales). For each seed 100 of each program are drawn, and 2,000 others to
measure on; every method trains the same new model for the same steps. What the results file holds already is not run
again, and changes that need something that is not named are left out. docs/augmentation.md has the table of a run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import tinylm

tinylm.prepare_process()

import numpy as np  # noqa: E402 - a script prepares its process first

from tinylm.data import Records, make_records, open_records  # noqa: E402 - as above

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from data_sets import MESSAGES, PACKAGES  # noqa: E402 - as above

PROGRAMS = {"gimp": "gimp*.mo", "gnucash": "gnucash.mo", "evolution": "evolution.mo", "gcc": "gcc-*.mo"}
LABELLED, MEASURED, COPIES = 100, 2000, 4
NOTHING = "nothing"
METHODS: dict[str, dict[str, Any]] = {
    NOTHING: {},
    "copies": {},  # of each text, in the file
    **{name: {"augment": name} for name in ("keyboard:0.05", "typos:0.05", "swap:0.2", "delete:0.1", "delete:0.3")},
    **{name: {"augment": name} for name in ("synonyms:0.2", "context:0.2", "back-translation:0.5", "mixup:0.2")},
    **{name: {"augment": name} for name in ("mixup:1", "swap:0.2,delete:0.3", "delete:0.3,mixup:1")},
}
NEEDS = {"synonyms": "thesaurus", "context": "masked_model", "back-translation": "translators"}


def strings(folder: Path) -> Records:
    """The English texts of the catalogues in a folder, 3 to 25 words, with the program that says them; none twice."""
    rows, seen = [], set()
    for label, pattern in PROGRAMS.items():
        found = sorted(folder.glob(pattern))
        if not found:
            raise SystemExit(f"{folder} has no {pattern}: {PACKAGES['translations']}, or name the folder with --data")
        for record in open_records(found, {"source": None, "target": None}, strict=False):
            text = record["source"].replace("_", "")
            if text.lower() not in seen and 3 <= len(text.split()) <= 25:
                rows.append({"text": text, "label": label})
            seen.add(text.lower())
    return make_records(rows, {"text": None, "label": None}, name="strings")


def draw(records: Records, seed: int) -> tuple[Records, Records]:
    """So many records of each label to learn from, and others to measure on."""
    random, labels = np.random.default_rng(seed), np.array(list(records.column("label")))
    train = [random.permutation(np.flatnonzero(labels == label))[:LABELLED] for label in np.unique(labels)]
    others = np.setdiff1d(np.arange(len(records)), np.concatenate(train))
    return records.select(np.concatenate(train)), records.select(random.permutation(others)[:MEASURED])


def accuracy(name: str, train: Records, test: Records, seed: int, settings: dict[str, Any]) -> float:
    """The share of right labels after training by this method."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.jsonl"
        lines = "".join(json.dumps(record) + "\n" for record in train)
        data.write_text(lines * (COPIES if name == "copies" else 1), encoding="utf-8")
        fixed = {"task": "classification", "validation": 0.0, "deduplicate": False, "checkpoint_every": 10**6}
        run = tinylm.train(data, out=Path(folder) / "run", seed=seed, **fixed, **settings)
        said = tinylm.load(run.folder).classify(list(test.column("text")))
    return float(np.mean([s.label == right for s, right in zip(said, test.column("label"), strict=True)]))


def table(results: dict[tuple[str, int], float]) -> str:
    """The mean of each method over the seeds, and what it gains on the same seeds, in standard errors of that gain."""
    rows = [f"{'':<22} accuracy  std. error     gain  in std. errors"]
    for name in METHODS:
        seeds = [seed for method, seed in results if method == name and (NOTHING, seed) in results]
        if len(seeds) < 2:
            continue
        values = np.array([results[name, seed] for seed in seeds])
        gains = values - [results[NOTHING, seed] for seed in seeds]
        mean, error, gain = values.mean(), standard_error(values), gains.mean()
        told = "" if name == NOTHING else f"  {gain:+.4f}  {gain / standard_error(gains):+14.1f}"
        rows.append(f"{name:<22}  {mean:.4f}     {error:.4f}{told}")
    return "\n".join(rows)


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(MESSAGES.format(language="de")),
        metavar="PATH",
        help="the folder of the .mo files",
    )
    parser.add_argument("--results", type=Path, required=True, metavar="FILE", help="a line a run, added to")
    parser.add_argument("--model", default="gru")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--methods", default="", help="some of them, with spaces between; all unless given")
    parser.add_argument("--thesaurus", default="")
    parser.add_argument("--masked-model", default="")
    parser.add_argument("--translators", default="", metavar="THERE,BACK")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in NEEDS.values()}
    sizes = {"layers": 1, "width": 32, "heads": 2, "embedding": 32, "context": 48, "vocab_size": 1500}
    shared = {**sizes, "model": options.model, "batch_size": 20, "steps": options.steps, "learning_rate": 2e-3}
    lines = options.results.read_text(encoding="utf-8").splitlines() if options.results.exists() else []
    results = {(row["method"], row["seed"]): row["accuracy"] for row in map(json.loads, lines)}
    records = strings(options.data)
    for seed in range(options.seeds):
        train, test = draw(records, seed)
        for name in options.methods.split() or METHODS:
            needed = {setting: given[setting] for change, setting in NEEDS.items() if change in name}
            if (name, seed) in results or not all(needed.values()):
                continue
            results[name, seed] = accuracy(name, train, test, seed, {**shared, **METHODS[name], **needed})
            row = {"method": name, "seed": seed, "accuracy": results[name, seed]}
            with open(options.results, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"seed {seed}: {name:<22} {results[name, seed]:.4f}", flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
