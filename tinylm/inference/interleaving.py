"""The matrices of a plan in the order in which products read them fastest."""

from __future__ import annotations

from dataclasses import replace

from tinylm.models import Matrix, Plan, Project
from tinylm_kernels.packed import Interleaved, Packed
from tinylm_kernels.packed.interleaved import LAYOUTS

__all__ = ["with_interleaved"]


def with_interleaved(plan: Plan) -> Plan:
    """The plan with the matrices interleaved that can be; the embedding's single rows are read where they lie."""
    made: dict[int, Matrix] = {}

    def interleaved(weight: Matrix) -> Matrix:
        if not isinstance(weight, Packed) or weight.format not in LAYOUTS:
            return weight
        if id(weight) not in made:
            made[id(weight)] = Interleaved(weight)
        return made[id(weight)]

    return replace(
        plan,
        steps=tuple(
            replace(step, products=tuple(replace(p, weight=interleaved(p.weight)) for p in step.products))
            if isinstance(step, Project)
            else step
            for step in plan.steps
        ),
    )
