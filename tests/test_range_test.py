"""The learning-rate range test and its plots."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.cli import main
from tinylm.cli.text_plot import plot_lines
from tinylm.errors import TinylmError
from tinylm.training import RangeTest

SMALL = {"layers": 1, "heads": 2, "width": 16, "context": 16, "batch_size": 4}


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch) -> None:
    """Runs do not go to the project."""
    monkeypatch.chdir(tmp_path)


def curve(losses) -> RangeTest:
    return RangeTest(np.geomspace(1e-5, 1.0, len(losses)), np.asarray(losses, float), diverged=True)


def test_the_suggestions_are_those_of_the_curve() -> None:
    x = np.linspace(-5, 0, 101)  # log10 of the rate
    found = curve(4 - 2 / (1 + np.exp(-6 * (x + 2.5))) + 40 * np.maximum(0, x + 1.5) ** 2)
    assert found.steepest == pytest.approx(10**-2.5, rel=0.15)
    assert found.lowest == pytest.approx(10**-1.5, rel=0.6)
    assert (found.suggested, found.careful) == (found.lowest / 2, found.lowest / 10)


def test_smoothing_keeps_a_line_within_the_curve_and_lags_nowhere() -> None:
    line = np.linspace(5, 3, 50)
    found = curve(line)
    assert np.allclose(found.smoothed[5:-5], line[5:-5])
    assert found.smoothed.max() <= 5
    assert found.smoothed.min() >= 3


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    with pytest.raises(TinylmError, match=r"did not fall between the rates 1\.0e-05 and 1\.0e\+00"):
        _ = curve(np.linspace(1, 2, 20)).suggested


def test_the_rates_rise_by_one_factor_and_the_sweep_ends_where_the_loss_blows_up(text: Path, tmp_path: Path) -> None:
    found = tinylm.find_learning_rate(text, lowest=1e-4, highest=1e4, steps=80, optimizer="sgd", **SMALL)
    assert found.diverged
    assert len(found.rates) == len(found.losses) < 80
    assert np.allclose(found.rates[1:] / found.rates[:-1], 1e8 ** (1 / 79))
    assert found.rates[0] < found.suggested < found.lowest < found.rates[-1]
    assert not (tmp_path / "runs").exists()


def test_the_command_shows_the_curve_and_draws_it(text: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("matplotlib")
    settings = [f"--set={name}={value}" for name, value in SMALL.items()]
    assert main(["lr-find", str(text), "--steps", "40", "--plot", "curve.svg", "--model", "gpt2", *settings]) == 0
    printed = capsys.readouterr().out
    repeated = " ".join(f"--set {name}={value}" for name, value in SMALL.items())
    assert f"next: tinylm train {text} --model gpt2 {repeated} --set learning_rate=" in printed
    assert "suggested" in printed
    assert "*" in printed
    assert "<svg" in (tmp_path / "curve.svg").read_text(encoding="utf-8")


def test_a_plot_that_cannot_be_is_refused_before_the_run(text: Path, monkeypatch, capsys) -> None:
    assert main(["lr-find", str(text), "--plot", "curve.docx"]) == 2
    assert "curve.docx: a plot takes a name that ends in .png, .svg, .pdf" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    assert main(["lr-find", str(text), "--plot", "curve.png"]) == 2
    assert 'pip install "tinylm[plot]"' in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"lowest": 0.0}, {"lowest": 2.0}, {"steps": 1}])
def test_impossible_sweeps_are_named(text: Path, wrong) -> None:
    with pytest.raises(TinylmError, match="0 < lowest < highest"):
        tinylm.find_learning_rate(text, **wrong, **SMALL)


def test_a_curve_in_characters_has_its_ends_at_the_axes() -> None:
    lines = plot_lines(np.geomspace(1e-4, 1, 30), np.linspace(4, 1, 30), width=20, height=5)
    assert lines[0].startswith("4.00 |*")
    assert lines[4].endswith("*")
    assert lines[4].startswith("1.00 |")
    assert lines[6].split() == ["1.0e-04", "1.0e+00"]
    assert {len(line) for line in lines[5:]} == {26}
    assert len(plot_lines(np.geomspace(1e-4, 1, 3), np.ones(3))) == 14
