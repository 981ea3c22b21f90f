"""The report is one page that loads nothing, shows what was trained, and lets no text become HTML."""

from __future__ import annotations

import html.parser
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.cli import main
from tinylm.errors import TinylmError
from tinylm.inspect import write_report
from tinylm.inspect.html import INVISIBLE, Markup, escape, page, tag
from tinylm.training import RunFolder

HOSTILE = [
    "<script>alert(1)</script>",
    "]]><!-- </style></title></pre>",
    "\"><img src=x onerror='alert(1)'>",
    "a\x00b\x1b[31m\x85c",
    "\u202eright to left\u202c \u2066isolated\u2069",
    "&lt;already&gt; &#60;",
    "$\\frac{1}{2}$ \ud83d",
]


class Reader(html.parser.HTMLParser):
    """The elements, attributes and texts of a page; raises where they are not closed in turn."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += attributes
        if name not in ("meta", "br", "hr", "img"):
            self._open.append(name)

    def handle_startendtag(self, name, attributes):
        self.tags.append(name)
        self.attributes += attributes

    def handle_endtag(self, name):
        assert self._open.pop() == name

    def handle_data(self, data):
        self.text += data


@given(st.text(st.characters(codec=None)) | st.sampled_from(HOSTILE))
def test_what_is_escaped_is_read_back_as_text_and_nothing_else(text: str) -> None:
    expected = INVISIBLE.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)
    reader = Reader(tag("p", {"title": text}, text))
    assert reader.tags == ["p"]
    assert reader.attributes == [("title", expected)]
    assert reader.text == expected
    escape(text).encode("utf-8")


def test_markup_is_only_what_was_made_as_markup() -> None:
    assert tag("p", "<b>", Markup("<br>"), None, 3) == "<p>&lt;b&gt;<br>3</p>"
    assert tag("meta", {"name": "<"}) == '<meta name="&lt;">'
    assert "<title>&lt;x&gt;</title>" in page("<x>", "<y>")


def add_run(root: Path, name: str, *, steps: int = 40, **settings) -> RunFolder:
    """A run whose every text is hostile."""
    config = {"model": HOSTILE[0], "steps": steps, "learning_rate": 1e-3, HOSTILE[2]: HOSTILE[1], **settings}
    run = RunFolder.create(root / name, config, data_fingerprint=HOSTILE[1])
    rng = np.random.default_rng(len(name))
    for step in range(1, steps + 1):
        record = {"step": step, "train_loss": 4 / step + rng.random(), "learning_rate": 1e-3, "seconds": step / 10}
        record |= {"gradient_norm": np.nan if step == 7 else rng.random(), "tokens_per_second": 1000.0, HOSTILE[0]: 1}
        if step % 10 == 0:
            record |= {"val_loss": 4 / step + 0.1, "val_bits_per_byte": 2 / step}
            run.append_sample(step, "\n".join(HOSTILE))
        run.append_metrics(record)
    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        root = tmp_path_factory.mktemp("runs")
        add_run(root, "first")
        add_run(root, "<b>second", learning_rate=2e-3)
        add_run(root, "empty", steps=0)
    return root


@pytest.mark.parametrize("names", [["first"], ["first", "<b>second", "empty"], ["empty"]])
def test_a_report_is_one_well_formed_page_without_scripts_or_anything_from_elsewhere(
    root: Path, tmp_path: Path, names: list[str]
) -> None:
    pytest.importorskip("matplotlib")
    write_report([RunFolder.open(root / name) for name in names], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    reader = Reader(text)
    assert not {"script", "img", "link", "iframe", "object", "base"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    links = [value for name, value in reader.attributes if name in ("href", "src", "xlink:href")]
    assert all(value and value.startswith("#") for value in links)
    assert "url(http" not in text
    assert not INVISIBLE.search(text)
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in links} | set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    for name in names:
        assert name in reader.text
    assert reader.tags.count("svg") == (0 if names == ["empty"] else 6)
    if "first" in names:
        assert "\n".join(HOSTILE[:2]) in reader.text
        assert "[U+202E]right to left" in reader.text
        assert 'dir="auto"' in text


def test_several_runs_show_the_settings_in_which_they_differ(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_report([RunFolder.open(root / name) for name in ("first", "<b>second")], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    differing = text[text.index("Settings that differ") : text.index("all settings")]
    assert "learning_rate" in differing
    assert "0.002" in differing
    assert "steps" not in differing


def test_a_long_run_makes_no_long_page_and_keeps_its_spikes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from tinylm.inspect.curves import POINTS, _moving_average, _thinned

    values = np.random.default_rng(0).random(100_000)
    values[54_321], values[99] = 50.0, np.nan
    steps, kept = _thinned(np.arange(100_000.0), values)
    assert len(steps) <= POINTS
    assert 54_321 in steps
    assert kept.max() == 50.0
    assert (np.diff(steps) > 0).all()
    assert np.allclose(_moving_average(np.full(300, 2.5)), 2.5)
    assert np.isnan(_moving_average(np.array([np.nan, 1.0]))[0])


def test_the_command_says_where_the_report_is_and_what_is_missing(
    root: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(root / "empty")]) == 0
    assert (root / "empty" / "report.html").is_file()
    assert str(root / "empty" / "report.html") in capsys.readouterr().out
    assert main(["report", str(root / "empty"), str(root / "empty")]) == 0
    assert (tmp_path / "report.html").is_file()
    assert main(["report", str(root / "none")]) == 2
    assert "no run folder" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TinylmError, match=r'the report needs matplotlib: pip install "tinylm\[plot\]"'):
        write_report([RunFolder.open(root / "first")], tmp_path / "x.html")
