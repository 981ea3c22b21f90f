"""Schedules are those of transformers and PyTorch, at every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
optimization = pytest.importorskip("transformers.optimization")

from tinylm.optim import make_schedule

pytestmark = pytest.mark.oracle

PEAK, STEPS = 0.3, 200


def rates_of(make: Callable[[Any], Any], steps: int, rate: float = PEAK) -> list[float]:
    """What a scheduler of theirs gives the optimizer at each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def ours(name: str, **settings) -> list[float]:
    rate = make_schedule(name, peak=PEAK, steps=STEPS, **settings)
    return [rate(step) for step in range(STEPS + 1)]


# Our warm-up begins above zero where transformers' begins at it: theirs is a step longer, and one step ahead.
@pytest.mark.parametrize("warmup", [0, 1, 30])
@pytest.mark.parametrize(
    "name", ["constant", "linear", "cosine", "inverse_sqrt", "polynomial", "wsd-1-sqrt", "wsd-linear"]
)
def test_schedules_are_those_of_transformers(name: str, warmup: int) -> None:
    w = {"num_warmup_steps": warmup + 1}
    n = {**w, "num_training_steps": STEPS + 1}
    final = 0.0 if name in ("linear", "cosine", "inverse_sqrt") else 0.01
    kind, _, shape = name.partition("-")
    settings: dict[str, Any] = {"warmup": warmup, "final": final}
    theirs: Callable[[Any], Any] = {
        "constant": lambda o: optimization.get_constant_schedule_with_warmup(o, **w),
        "linear": lambda o: optimization.get_linear_schedule_with_warmup(o, **n),
        "cosine": lambda o: optimization.get_cosine_schedule_with_warmup(o, **n),
        "inverse_sqrt": lambda o: optimization.get_inverse_sqrt_schedule(o, timescale=max(warmup, 1), **w),
        "polynomial": lambda o: optimization.get_polynomial_decay_schedule_with_warmup(o, lr_end=final, power=1.7, **n),
        "wsd": lambda o: optimization.get_wsd_schedule(
            o, num_decay_steps=50, decay_type=shape, min_lr_ratio=final / PEAK, warmup_type="linear", **n
        ),
    }[kind]
    settings |= {"power": 1.7, "decay_share": 0.25} | ({"decay_shape": shape} if shape else {})
    expected = rates_of(theirs, STEPS + 2)[1:]
    received = ours(kind, **settings)
    # Theirs rises from the final rate instead of zero for wsd; from the peak on they are one.
    start = warmup if kind == "wsd" else 0
    assert received[start:] == pytest.approx(expected[start:], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("warmup", [1, 60])
def test_one_cycle_is_that_of_pytorch(warmup: int) -> None:
    def theirs(optimizer):
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            PEAK,
            total_steps=STEPS + 1,
            pct_start=(warmup + 1) / (STEPS + 1),
            final_div_factor=PEAK / 25 / 0.001,
            cycle_momentum=False,
        )

    optimizer_rates = rates_of(theirs, STEPS)
    assert ours("one_cycle", warmup=warmup, final=0.001)[:-1] == pytest.approx(optimizer_rates, rel=1e-12)
