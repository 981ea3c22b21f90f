"""The seconds from the command `tinylm train` to the end of its first step, with nothing compiled yet and afterwards.

python benchmarks/bench_first_step.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

# The command, stopped after the first step; the trainer is among what it imports anyway.
COMMAND = """
import os, sys
from tinylm.cli import main
from tinylm.training.trainer import Trainer

take_step = Trainer.train_step

def first_step(self):
    take_step(self)
    os._exit(0)

Trainer.train_step = first_step
sys.exit(main(["train", "--out", sys.argv[1]]))
"""


def seconds_to_first_step(cache: str) -> float:
    """Of one process, which keeps compiled kernels and the corpus in the folder `cache`."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", COMMAND, os.path.join(folder, "run")],
            env=os.environ | {"XDG_CACHE_HOME": cache},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often with compiled kernels")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as cache:
        print(f"nothing compiled: {seconds_to_first_step(cache):.2f} s")
        for _ in range(rounds):
            print(f"kernels compiled: {seconds_to_first_step(cache):.2f} s")


if __name__ == "__main__":
    main()
