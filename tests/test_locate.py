"""Models by the name of a repository, from a server that stands in for the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import save_model
from tinylm.formats.locate import locate_model
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[str]:
    """The address of a server with one repository, owner/tiny, which also holds a pickle."""
    folder = tmp_path_factory.mktemp("repository")
    config = GPT2Config(vocab_size=256, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    save_model(folder, GPT2(config, Initializer(0)), ByteTokenizer())
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")

    def files() -> list[Path]:
        return sorted(folder.iterdir())

    class Repository(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            if path.startswith("/api/models/owner/tiny/tree/"):
                listed = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": f.name} for f in files()]
                content = json.dumps(listed).encode()
            elif path.startswith("/api/models/owner/tiny"):
                names = [{"rfilename": file.name} for file in files()]
                content = json.dumps({"id": "owner/tiny", "sha": COMMIT, "siblings": names}).encode()
            elif path.startswith("/owner/tiny/resolve/") and (file := folder / path.rpartition("/")[2]).is_file():
                assert file.suffix != ".bin"
                content = file.read_bytes()
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(address: str, home: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, since huggingface_hub reads the environment when it is imported."""
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **more}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-m", "tinylm", *words]
    return subprocess.run(command, env=environment | more, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_repository_is_fetched_once_and_without_its_pickles(hub, tmp_path) -> None:
    pytest.importorskip("huggingface_hub")
    arguments = ["generate", "owner/tiny", "ab", "--max-tokens", "3", "--seed", "0"]
    first = run(hub, tmp_path, *arguments)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("ab")
    fetched = {file.name for file in tmp_path.rglob("*") if file.is_symlink() or file.is_file()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= fetched
    assert "pytorch_model.bin" not in fetched
    again = run("http://127.0.0.1:9", tmp_path, *arguments, HF_HUB_OFFLINE="1")
    assert again.stdout == first.stdout, again.stderr
    unknown = run(hub, tmp_path, "generate", "owner/nothing", "ab")
    assert unknown.returncode == 2
    assert "owner/nothing is no file here, and cannot be fetched" in unknown.stderr
    assert len(unknown.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_is_told_in_one_line(tmp_path) -> None:
    pytest.importorskip("huggingface_hub")
    done = run("http://127.0.0.1:9", tmp_path, "generate", "owner/tiny", "ab")
    assert done.returncode == 2
    assert "cannot be fetched" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_what_exists_here_is_never_looked_up(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "tiny").mkdir(parents=True)
    assert locate_model("owner/tiny") == Path("owner/tiny")


@pytest.mark.parametrize("name", ["nothing", "a/b/c", "../x", "/x/y", "a//b", "x.gguf", "ünder/x", "a/b\n"])
def test_what_is_no_name_of_a_repository_is_a_missing_file(name) -> None:
    with pytest.raises(FileFormatError, match="no such model folder or file"):
        locate_model(name)


def test_without_the_package_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(TinylmError, match=r'pip install "tinylm\[hub\]"'):
        locate_model("owner/tiny")
