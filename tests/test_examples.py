"""The examples run as they are."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serving_models import byte_model

import tinylm

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_tutorial_of_keras_runs_and_learns(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / "keras_tutorial.py", "--epochs", "2", "--samples", "192"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    losses = [float(line.rpartition("loss: ")[2]) for line in done.stdout.splitlines() if "loss: " in line]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    assert "the value of the" in done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples") / "best"
    byte_model(folder)
    return folder


def load(name: str, path: Path):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_fastapi_app_holds_a_model(folder, monkeypatch) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("prometheus_client")
    pytest.importorskip("httpx2")
    from starlette.testclient import TestClient

    monkeypatch.setenv("TINYLM_MODEL", str(folder))
    module = load("fastapi_app", ROOT / "examples" / "fastapi_app.py")
    with TestClient(module.app) as client:
        asked = {"prompt": "Hello", "max_tokens": 5, "temperature": 0}
        text = client.post("/llm/v1/completions", json=asked).json()["choices"][0]["text"]
        assert text == module.lm.generate("Hello", max_tokens=5, temperature=0)
        assert "<title>tinylm</title>" in client.get("/llm/").text
        assert len(client.get("/next", params={"text": "Hello", "k": 3}).json()) == 3
        assert client.get("/next", params={"text": ""}).status_code == 400


def test_a_serverless_handler_answers_with_numpy_alone(folder) -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import serverless, json\n"
        'for body in [\'{"prompt": "Hello", "max_tokens": 7}\', \'[]\', \'{"prompt": 3}\', None]:\n'
        "    response = serverless.handler({'body': body})\n"
        "    print(response['statusCode'], *json.loads(response['body']))\n"
    )
    shutil.copy(ROOT / "examples" / "serverless.py", folder.parent)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == ["200 text", "400 error", "400 error", "400 error"], done.stderr
    assert not done.stderr


def test_a_window_writes_without_freezing_and_stops(folder) -> None:
    tk = pytest.importorskip("tkinter")
    try:
        root = tk.Tk()
    except tk.TclError as error:
        pytest.skip(f"there is no screen: {error}")
    window = load("desktop_app", ROOT / "examples" / "desktop_app.py").Window(root, tinylm.load(folder))
    window.text.insert("end", "Hello")
    window.go_on()
    beats, deadline, stopped = 0, time.monotonic() + 60, False
    while window.button["text"] == "Stop" and time.monotonic() < deadline:
        root.update()
        beats += 1
        if not stopped and len(window.text.get("1.0", "end-1c")) > 20:
            window.button.invoke()
            stopped = True
    assert window.button["text"] == "Go on"
    assert len(window.text.get("1.0", "end-1c")) > 20
    assert beats > 10
    window.close()


@pytest.mark.slow
def test_the_translation_is_measured_beside_a_memory_and_says_what_is_missing(tmp_path):
    script = [sys.executable, "-W", "error", ROOT / "examples" / "translation.py"]
    words = {"open": "öffne", "close": "schließe", "the file": "die Datei", "the image": "das Bild", "now": "jetzt"}
    pairs = [(f"{a} {b} {n}", f"{words[a]} {words[b]} {n}") for a in list(words)[:2] for b in words for n in range(9)]
    rows = (json.dumps({"source": source, "target": target}) for source, target in pairs)
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows), encoding="utf-8")
    small = ["--set", "vocab_size=300", "--set", "width=16", "--steps", "2", "--data", "pairs.jsonl"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300, "check": False}
    done = subprocess.run([*script, *small], **options)
    assert done.returncode == 0, done.stderr
    assert "the model alone                   bleu" in done.stdout
    assert "a translation memory              bleu" in done.stdout
    assert "without: " in done.stdout
    missing = subprocess.run([*script, "--language", "nowhere"], **options)
    assert missing.returncode == 1
    assert "apt install gimp-data" in missing.stderr
