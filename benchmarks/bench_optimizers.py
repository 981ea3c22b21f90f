"""Every optimizer on a shortened default run: the validation loss by learning rate, the time and size of its update.

python benchmarks/bench_optimizers.py                                    # each at the rate that settings give it
python benchmarks/bench_optimizers.py lion muon --rates 1e-4 3e-4 1e-3   # some, at several rates
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import environment  # noqa: F401 - before NumPy
import numpy as np

import tinylm
from tinylm.data import builtin_corpus
from tinylm.optim import OPTIMIZERS, make_optimizer
from tinylm.tasks import OPTIMIZER_SETTINGS, WritingSettings, build_tokenizer, new_model, resolve_settings

SAMPLES = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizers", nargs="*", default=list(OPTIMIZERS), metavar="OPTIMIZER")
    parser.add_argument("--rates", nargs="*", type=float, help="learning rates; the final one is 3 % of it")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="assignments")
    options = parser.parse_args()
    print(f"{'optimizer':<10} {'rate':>8} {'validation loss':>16}    after {options.steps} steps")
    for name in options.optimizers:
        for rate in options.rates or [resolve_settings(OPTIMIZER_SETTINGS.get(name, {})).learning_rate]:
            print(f"{name:<10} {rate:>8.1e} {validation_loss(name, rate, options):>16.4f}", flush=True)
    print(f"\n{'optimizer':<10} {'update, ms':>10} {'state, bytes a parameter':>26}")
    for name, (milliseconds, size) in time_updates(options.optimizers).items():
        print(f"{name:<10} {milliseconds:>10.2f} {size:>26.2f}")


def validation_loss(name: str, rate: float, options: argparse.Namespace) -> float:
    """Of the best weights of one run."""
    settings = dict(assignment.split("=") for assignment in options.assignments)
    settings |= {"steps": options.steps, "validate_every": options.steps, "checkpoint_every": options.steps}
    settings |= {"optimizer": name, "learning_rate": rate, "final_learning_rate": 0.03 * rate}
    with tempfile.TemporaryDirectory() as folder:
        run = tinylm.train(out=Path(folder) / "run", **settings)
    return run.trainer.memory.get("best_val_loss", float("nan"))


def time_updates(names: list[str]) -> dict[str, tuple[float, float]]:
    """The shortest time of an update of the default model, the optimizers taking turns, and the size of each state."""
    optimizers = {}
    tokenizer = build_tokenizer(WritingSettings(), builtin_corpus())
    for name in names:
        model = new_model(WritingSettings(), tokenizer.vocab_size)
        optimizers[name] = make_optimizer(name, model, weight_decay=0.1)
        for p in model.parameters():
            p.grad = np.full_like(p.data, 1e-3)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(SAMPLES):
        for name, optimizer in optimizers.items():
            begin = time.perf_counter()
            optimizer.step(1e-3, scale=0.5)
            times[name].append(1000 * (time.perf_counter() - begin))
    sizes = {
        name: sum(array.nbytes for array in optimizer.state_dict().values())
        / sum(group.data.size for group in optimizer.groups)
        for name, optimizer in optimizers.items()
    }
    return {name: (min(times[name]), sizes[name]) for name in names}


if __name__ == "__main__":
    main()
