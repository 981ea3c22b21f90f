"""Our functions against the node tests of the ONNX standard; the table of docs/proof.md is what this run gives."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytestmark = pytest.mark.oracle
onnx = pytest.importorskip("onnx")

import node_tests
from onnx_operators import OPERATORS

# At least so much of an operator's node tests must run.
SHARE = 0.9


@pytest.mark.parametrize(
    ("operator", "implementation"),
    [(operator, name) for operator in OPERATORS for name in node_tests.implementations(operator)],
)
def test_the_node_tests_of_an_operator_pass(operator, implementation):
    outcome = node_tests.outcome(operator, implementation)
    assert outcome.total
    assert outcome.ran >= SHARE * outcome.total, outcome.skipped


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_node_tests_of_an_operator_notice_a_small_error(operator, monkeypatch):
    right = OPERATORS[operator]

    def wrong(*arguments):
        first, *others = right.call(*arguments)
        return [first * 1.0001, *others]

    monkeypatch.setitem(OPERATORS, operator, replace(right, call=wrong))
    with pytest.raises(AssertionError):
        node_tests.outcome.__wrapped__(operator, "numpy")


def test_the_table_in_the_docs_is_what_the_run_gives(summary):
    table = node_tests.table()
    summary(table)
    shown = node_tests.shown_table()
    version, shown_version = table.splitlines()[0], shown.splitlines()[0]
    if version != shown_version:
        pytest.skip(f"docs/proof.md shows the table of {shown_version} this is {version}")
    assert shown == table, "run python tests/oracle/node_tests.py"
