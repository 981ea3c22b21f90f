"""Translate what programs say: a small encoder-decoder that learns from gettext catalogues, in minutes.

    python examples/translation.py                      # English to German
    python examples/translation.py --language zh_CN     # to Chinese

Where the data are missing it says which package brings them; --data takes catalogues (.po, .mo), JSON Lines or a table
with a source and a target. Of the messages 5 % are held out, and the model is measured on them beside a translation
memory, which gives the translation of the most similar message that it knows. Programs say the same thing in many
ways, so that most messages have near-duplicates among those that are known: figures are also shown by whether they do.

The model learns each pair twice: as it is, and with the memory's suggestion behind the source, which it may copy from
(Bulte and Tezcan 2019, "Neural fuzzy repair"). So one model translates with a memory and without. Best is what
translators do: the memory's translation where a message is similar, and the model's where it is not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinylm

tinylm.prepare_process()  # before the first model: keeps memory for the next step instead of giving it back

from data_sets import translations  # noqa: E402 - a script prepares its process first

from tinylm.baselines import TranslationMemory  # noqa: E402 - as above
from tinylm.errors import TinylmError  # noqa: E402 - as above
from tinylm.metrics import bleu, chrf  # noqa: E402 - as above
from tinylm.tasks.translation import tokenization_for  # noqa: E402 - as above

SETTINGS: dict[str, Any] = {
    "model": "marian",
    "layers": 2,
    "heads": 4,
    "width": 128,
    "context": 96,
    "vocab_size": 4000,
    "batch_size": 64,
    "dropout": 0.1,
    "learning_rate": 2e-3,
    "final_learning_rate": 3e-5,
    "beta2": 0.98,
    "precision": "bfloat16",
    "validation": 0.02,  # chooses the weights alone: some of it is also learnt, with or without a suggestion
}
SIMILAR = 0.7  # from here on a message counts as a near-duplicate
WORTH_SHOWING = 0.4  # a memory's least similar suggestion
BEHIND = " ¦ "  # between a source and a suggestion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="PATH", help="where the pairs are; looked for unless given")
    parser.add_argument("--language", default="de", help="of the catalogues: de, fr, zh_CN, ... (de)")
    parser.add_argument("--steps", type=int, default=6500)
    parser.add_argument("--out", type=Path, default=Path("runs/translation"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the run")
    options = parser.parse_args()
    try:
        train, test = translations(options.language, options.data).split(0.05)
        memory = TranslationMemory([*train.column("source")], [*train.column("target")], pieces)
        run = tinylm.train(
            write(options.out / "train.jsonl", with_suggestions(memory, train)),
            task="translation",
            out=options.out / "run",
            steps=options.steps,
            validate_every=max(options.steps // 5, 1),
            notify=lambda line: print(line, file=sys.stderr),
            **SETTINGS | dict(assignment.split("=", 1) for assignment in options.set),
        )
    except TinylmError as error:
        sys.exit(f"translation.py: {error}")
    write(options.out / "test.jsonl", test)
    sources, right = ([*test.column(side)] for side in ("source", "target"))
    lm = tinylm.load(run.best)
    similar = np.array([memory.nearest(source).similarity >= SIMILAR for source in sources])
    known, shown = memory.translate(sources), lm.translate([suggested(memory, source) for source in sources])
    ways = {
        "a translation memory": known,
        "the model alone": lm.translate(sources),
        "the model, shown the memory's": shown,
        "the memory if similar, or else it": [
            a if near else b for near, a, b in zip(similar, known, shown, strict=True)
        ],
    }
    for what, rows in (("all", similar | True), ("with a near-duplicate", similar), ("without", ~similar)):
        print(f"{what}: {rows.sum():,} messages")
        for name, written in ways.items():
            show(name, *([texts[row] for row in np.flatnonzero(rows)] for texts in (written, right)))
    for source, *written in list(zip(sources, *ways.values(), strict=True))[:5]:
        print(source, *written, sep="\n  -> ")


def pieces(text: str) -> list[str]:
    """Words and runs of three characters of a text: what sources are compared by."""
    text = f" {' '.join(text.lower().split())} "
    return [*text.split(), *(text[start : start + 3] for start in range(len(text) - 2))]


def suggested(memory: TranslationMemory, source: str, besides: int | None = None) -> str:
    """A source, and what the memory suggests behind it, if that is not too far."""
    found = memory.nearest(source, besides=besides)
    return f"{source}{BEHIND}{memory.targets[found.number]}" if found.similarity >= WORTH_SHOWING else source


def with_suggestions(memory: TranslationMemory, records: Iterable[Mapping[str, str]]) -> Iterator[dict[str, str]]:
    """Each pair of the memory as it is, and with a suggestion that is not its own target, if there is one."""
    for number, record in enumerate(records):
        source, target = record["source"], record["target"]
        shown = suggested(memory, source, besides=number)
        yield from ({"source": text, "target": target} for text in dict.fromkeys((source, shown)))


def write(path: Path, records: Iterable[Mapping[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def show(name: str, written: Sequence[str], right: Sequence[str]) -> None:
    """BLEU and chrF with the intervals that hold 95 % of a bootstrap."""
    if not right:
        return
    figures = {**bleu(written, right, tokenize=tokenization_for(right)).intervals(), **chrf(written, right).intervals()}
    told = [f"{what} {f.value:.1f} ({f.low:.1f} to {f.high:.1f})" for what, f in figures.items()]
    print(f"  {name:<33} {told[0]}, {told[-1]}")


if __name__ == "__main__":
    main()
