"""The n-gram model that the default run has to beat, and the figure that the README quotes."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import pytest
from ngram import witten_bell_bits

from tinylm.data import builtin_corpus

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.parametrize("history", ["abra", "caba", "bbbb"])
def test_the_model_is_a_distribution(history: str) -> None:
    train = "abracadabra" * 3
    log_p = {c: -witten_bell_bits(train, history + c, 3) * (len(history) + 1) for c in "abcdr"}
    before = -witten_bell_bits(train, history, 3) * len(history)
    assert sum(2 ** (bits - before) for bits in log_p.values()) == pytest.approx(1, rel=1e-9)


def test_what_was_seen_once_is_predicted_better_than_by_chance() -> None:
    assert witten_bell_bits("ab" * 50, "ab" * 10, 3) < 0.2
    assert witten_bell_bits("ab" * 50, "ba" * 10, 1) == pytest.approx(1, abs=0.05)
    assert witten_bell_bits("aab", "c", 1) == pytest.approx(-math.log2((2 / 3) / 5), rel=1e-9)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the text is that of Python 3.11's help pages")
def test_the_readme_quotes_the_order_five_model_on_the_built_in_text() -> None:
    text = "".join(builtin_corpus().chunks())
    cut = len(text) - int(0.1 * len(text))
    bits = witten_bell_bits(text[:cut], text[cut:], 5)
    assert bits == pytest.approx(1.905, abs=0.001)
    assert re.search(r"order-5 n-gram.*?1\.905", README.read_text(encoding="utf-8"), re.DOTALL)
