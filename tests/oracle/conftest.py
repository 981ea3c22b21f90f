"""What the comparisons print when all tests have run."""

from __future__ import annotations

import pytest

SUMMARY = pytest.StashKey[str]()


@pytest.fixture
def summary(pytestconfig):
    """A function that keeps a text for the end of the run."""

    def keep(text: str) -> None:
        pytestconfig.stash[SUMMARY] = text

    return keep


def pytest_terminal_summary(terminalreporter, config):
    if text := config.stash.get(SUMMARY, None):
        terminalreporter.section("node tests of the ONNX standard")
        terminalreporter.write_line(text)
