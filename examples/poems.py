"""Poems in the manner of the Tang poets: a small model learns 281 of them, a token for each Chinese character.

    python examples/poems.py                     # needs: apt install fortunes-zh
    python examples/poems.py --title 春夜 --begin 明月

After 300 steps (13 s and 272 MB on two cores) it predicts the 32 poems that are held out with 8.36 bits a character. It
does not quote: the longest run of characters that one of its poems shares with those it has read is 3 (median) or 5 (at
most), in the poems held out 4 or 6. The form is learnt in part: three lines of ten are two halves of five or of seven.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tinylm

tinylm.prepare_process()  # before the first model: keeps memory for the next step instead of giving it back

from data_sets import poems, write_jsonl  # noqa: E402 - a script prepares its process first

from tinylm.errors import TinylmError  # noqa: E402 - as above

SETTINGS: dict[str, Any] = {
    "model": "llama",
    "layers": 2,
    "heads": 4,
    "width": 64,
    "context": 96,
    "packing": "documents",  # a window begins where a poem does
    "batch_size": 16,
    "learning_rate": 2e-3,
    "label_smoothing": 0.1,  # this and the decay keep it from learning the poems by heart
    "weight_decay": 0.5,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="the poems as a fortune file; looked for unless given"
    )
    parser.add_argument("--title", default="春夜", help="of the poem that is written (春夜)")
    parser.add_argument("--begin", default="", metavar="TEXT", help="what its first line begins with")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("runs/poems"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the run")
    options = parser.parse_args()
    settings = SETTINGS | {"steps": options.steps, "validate_every": options.steps}  # the last weights are kept
    settings |= dict(assignment.split("=", 1) for assignment in options.set)
    try:
        learnt, held_out = ([*part.column("text")] for part in poems(options.data).split(0.1))
        texts = ({"text": f"{poem}\n"} for poem in learnt + held_out)  # an empty line ends a poem
        data = write_jsonl(options.out / "poems.jsonl", texts)
        run = tinylm.train(data, out=options.out / "run", notify=tell, **settings)
        prompt = f"《{options.title}》\n{options.begin}"
        found = tinylm.load(run.best).complete(
            prompt, n=50, temperature=0.8, top_p=0.9, max_tokens=100, stop="\n\n", seed=0
        )
    except TinylmError as error:
        sys.exit(f"poems.py: {error}")
    written = [f"{options.begin}{poem.text}".strip() for poem in found]
    print(run.kind.headline(run.tokenizer, run.best_metrics()))
    print(
        f"{sum(map(is_regular, written))} of {len(written)} poems have lines of five or of seven characters throughout"
    )
    report("what it writes", written, learnt)
    report("held-out poems", held_out, learnt)
    for poem in written[:3]:
        print(f"\n《{options.title}》\n{poem}")


def tell(line: str) -> None:
    print(line, file=sys.stderr)


def is_regular(poem: str) -> bool:
    """Whether all lines are two halves of five characters, or all are two of seven."""
    return bool(poem) and any(
        all(re.fullmatch(rf"\w{{{n}}}\W\w{{{n}}}\W", line) for line in poem.splitlines()) for n in (5, 7)
    )


def report(name: str, texts: Sequence[str], learnt: Sequence[str]) -> None:
    """How much of texts stands in what was learnt."""
    runs = [longest_copy(text, "\n".join(learnt)) for text in texts]
    middle = statistics.median(runs)
    print(
        f"{name}: the longest run of characters that is in a learnt poem has {middle:.0f} (median), at most {max(runs)}"
    )


def longest_copy(text: str, known: str) -> int:
    """The characters of the longest run of a text that stands in another."""
    longest = 0
    for start in range(len(text)):
        while start + longest < len(text) and text[start : start + longest + 1] in known:
            longest += 1
    return longest


if __name__ == "__main__":
    main()
