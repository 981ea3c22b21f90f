"""The microseconds that the engine adds to an operation.

    python benchmarks/bench_overhead.py

Small models are bound by Python: what counts there is not the arithmetic but what surrounds it. Each line is the
median time on an array of 8 numbers, and what each operation of it adds to the line it is compared with.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import environment  # noqa: F401 - before NumPy
import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Observer, Tensor, no_grad, observe
from tinylm.autograd import functional as F
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer

CALLS, ROUNDS = 2000, 15
# Lines of more than one operation: a forward and its backward are two.
OPERATIONS = {"Tensor + Tensor, recorded and pulled back": 2}


def microseconds(function: Callable[[], object]) -> float:
    """The median over rounds of the time of one call."""
    function()
    rounds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(CALLS):
            function()
        rounds.append((time.perf_counter() - begin) / CALLS * 1e6)
    return statistics.median(rounds)


class Count(Observer):
    """Counts operations."""

    operations = 0

    def forward(self, operation):
        self.operations += 1


def main() -> None:
    print(f"{'operation':<45}{'us':>8}{'adds':>8}")
    for name, (time_of_call, added) in measure().items():
        print(f"{name:<45}{time_of_call:>8.2f}" + ("" if added is None else f"{added:>8.2f}"))
    print(f"\ngraph nodes per Transformer block: {nodes_per_block()}")


def measure() -> dict[str, tuple[float, float | None]]:
    """By operation the microseconds of a call, and what it adds to the one it is compared with."""
    x = np.ones((1, 8), np.float32)
    weight = np.ones((8, 8), np.float32)
    plain, wanted = Tensor(x), Tensor(x, requires_grad=True)
    implementation = K.softmax.implementations.get("numba") or K.softmax.implementations["numpy"]

    def forward_without_graph() -> None:
        with no_grad():
            F.add(wanted, wanted)

    def forward_and_backward() -> None:
        F.add(wanted, wanted).backward(x)
        wanted.grad = None

    def the_same_in_numpy() -> None:
        np.add(x, x)
        gradient = np.array(x)
        gradient += x

    rows = [
        ("np.add", lambda: np.add(x, x), None),
        ("Tensor + Tensor, no gradient wanted", lambda: plain + plain, "np.add"),
        ("Tensor + Tensor under no_grad", forward_without_graph, "np.add"),
        ("Tensor + Tensor, recorded", lambda: wanted + wanted, "np.add"),
        ("np.add, and the sum of two gradients", the_same_in_numpy, None),
        ("Tensor + Tensor, recorded and pulled back", forward_and_backward, "np.add, and the sum of two gradients"),
        (f"softmax[{implementation.name!r}], the function alone", lambda: implementation.function(x), None),
        ("K.softmax: check and choice", lambda: K.softmax(x), f"softmax[{implementation.name!r}], the function alone"),
        ("F.softmax: a Tensor, recorded", lambda: F.softmax(wanted), "K.softmax: check and choice"),
        ("x @ W.T", lambda: x @ weight.T, None),
        ("K.linear", lambda: K.linear(x, weight), "x @ W.T"),
    ]
    times: dict[str, float] = {}
    for name, function, _ in rows:
        times[name] = microseconds(function)
    return {
        name: (times[name], (times[name] - times[base]) / OPERATIONS.get(name, 1) if base else None)
        for name, _, base in rows
    }


def nodes_per_block() -> int:
    """Operations of a model with two blocks, less those of one with one."""
    counts = []
    for layers in (1, 2):
        config = GPT2Config(7, n_positions=4, n_embd=8, n_layer=layers, n_head=2)
        with observe(Count()) as count:
            GPT2(config, Initializer(0)).loss(np.zeros((1, 4), int), np.zeros((1, 4), int))
        counts.append(count.operations)
    return counts[1] - counts[0]


if __name__ == "__main__":
    main()
