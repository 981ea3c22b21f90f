"""Runs the node tests of the ONNX standard on our functions, and writes the table in docs/proof.md.

    python tests/oracle/node_tests.py

A node test is a model of one node with its inputs and expected outputs, made by the standard's own reference.
Half-precision inputs are computed in float32, and compared within the precision that they have.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx_operators import OPERATORS, Skip

import tinylm_kernels as K

PAGE = Path(__file__).parents[2] / "docs" / "proof.md"
BEGIN, END = "<!-- the table of node tests, from tests/oracle/node_tests.py -->\n", "<!-- end of the table -->\n"
# The last place of numbers near 1 in the formats that are computed in float32.
LAST_PLACE = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass
class Outcome:
    """What came of an operator's node tests: how many there are, and the names of those left out by reason."""

    total: int
    skipped: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ran(self) -> int:
        return self.total - sum(map(len, self.skipped.values()))


@functools.cache
def all_node_tests() -> list[Any]:
    """Every node test of the standard. The library keeps them in a global list, so that it is asked once."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(collect_testcases(None))


def implementations(operator: str) -> list[str]:
    """The implementations that an operator's kernel has for the CPU; the reference where NumPy alone computes it."""
    kernel = OPERATORS[operator].kernel
    if kernel is None:
        return ["numpy"]
    return [name for name, implementation in kernel.implementations.items() if implementation.device != "gpu"]


@functools.cache
def outcome(operator: str, implementation: str) -> Outcome:
    """Run an operator's node tests. Raises AssertionError at the first that fails."""
    # The tests of the operator alone, not those that spell it out in simpler operators.
    selected = [t for t in all_node_tests() if [n.op_type for n in t.model.graph.node] == [operator]]
    result = Outcome(len(selected))
    for node_test in selected:
        try:
            with K.use(implementation):
                run(operator, node_test)
        except Skip as reason:
            result.skipped.setdefault(str(reason), []).append(node_test.name)
    return result


def run(operator: str, node_test: Any) -> None:
    """Raise AssertionError unless our function gives the outputs of the node test, Skip where it cannot."""
    from onnx.helper import get_attribute_value

    (node,) = node_test.model.graph.node
    attributes = {a.name: get_attribute_value(a) for a in node.attribute}
    for arrays, expected in node_test.data_sets:
        given = iter(_widened(np.asarray(a)) for a in arrays)
        inputs = [next(given) if name else None for name in node.input] + [None] * 8
        results = OPERATORS[operator].call(inputs, attributes, list(node.output))
        wanted = [r for r, name in zip(results, node.output, strict=False) if name]
        for received, e in zip(wanted, expected, strict=True):
            _compare(received, np.asarray(e), node_test.name)


def _widened(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float32) if a.dtype.name in LAST_PLACE else a


def _compare(received: np.ndarray, expected: np.ndarray, name: str) -> None:
    places = LAST_PLACE.get(expected.dtype.name)
    rtol, atol = (1e-5, 2e-6) if places is None else (2 * places, 2 * places)
    rounded = np.asarray(received).astype(expected.dtype)
    np.testing.assert_allclose(rounded.astype(np.float64), expected.astype(np.float64), rtol, atol, err_msg=name)


def table() -> str:
    """The outcomes as a table in Markdown."""
    import onnx

    lines = [
        f"onnx {onnx.__version__}:",
        "",
        "| operator | computed by | node tests | run and pass | the others |",
        "|---|---|---|---|---|",
    ]
    total = ran = 0
    for operator, about in OPERATORS.items():
        names = implementations(operator)
        first, *others = (outcome(operator, name) for name in names)
        assert all(other == first for other in others)
        reasons = "; ".join(f"{len(tests)}: {reason}" for reason, tests in first.skipped.items()) or "-"
        lines.append(f"| {operator} | {about.words} ({', '.join(names)}) | {first.total} | {first.ran} | {reasons} |")
        total, ran = total + first.total, ran + first.ran
    lines.append(f"| all | | {total} | {ran} | |")
    return "\n".join(lines) + "\n"


def shown_table() -> str:
    """The table that the page shows."""
    return PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page.replace(shown_table(), table()), encoding="utf-8")
    print(table(), end="")


if __name__ == "__main__":
    main()
