"""What the documentation shows is true: its examples run, what they print is what it says, its links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from tinylm.cli import build_parser

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(document: Path) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in BLOCK.finditer(document.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_python_examples_run_and_print_what_is_shown(document: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "example"}
    found = blocks(document)
    for number, (language, code) in enumerate(found):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{document.name}, block {number}", "exec"), names)
        following = found[number + 1] if number + 1 < len(found) else ("", "")
        if "print" in code and following[0] == "":
            assert normal(printed.getvalue()) == normal(following[1])


def normal(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    prose = re.sub(r"`[^`]*`", "", BLOCK.sub("", document.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_that_are_shown_exist(document: Path) -> None:
    parser = build_parser()
    for language, code in blocks(document):
        for line in code.splitlines() if language in ("", "sh", "console") else []:
            command = line.split("#")[0].strip().removeprefix("$ ")
            for part in command.split("&&"):
                words = part.split()
                if words[:1] == ["tinylm"] and len(words) > 1 and not words[1].startswith("-"):
                    with contextlib.redirect_stderr(io.StringIO()) as complaint:
                        try:
                            parser.parse_args(shlex.split(part)[1:])
                        except SystemExit:
                            pytest.fail(f"{part.strip()}: {complaint.getvalue()}")


def test_the_help_shown_in_the_readme_is_the_help(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = next(code for _, code in blocks(ROOT / "README.md") if code.startswith("usage: tinylm"))
    assert normal(shown) == normal(build_parser().format_help())
