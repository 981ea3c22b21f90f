"""Files written durably and read strictly: a failure at any instant leaves the old file whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import files
from tinylm.errors import FileFormatError
from tinylm.files import cache_folder, fsync_folder, parse_json, read_json, write_atomically

posix_only = pytest.mark.skipif(os.name == "nt", reason="POSIX only")


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FailingDisk:
    """Counts the steps that can fail (open, write, flush, fsync, replace) and fails at the n-th."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int):
        self.left = fail_at
        real_open, real_fsync, real_replace = open, os.fsync, os.replace
        disk = self

        class File:
            def __init__(self, *arguments):
                disk.step()
                self.file = real_open(*arguments)

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.file.close()

            def __getattr__(self, name):
                if name in ("write", "flush"):
                    disk.step()
                return getattr(self.file, name)

        monkeypatch.setattr(files, "open", File, raising=False)
        monkeypatch.setattr(files.os, "fsync", lambda fd: (self.step(), real_fsync(fd)))
        monkeypatch.setattr(files.os, "replace", lambda a, b: (self.step(), real_replace(a, b)))

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise full_disk()


def write_in_pieces(file) -> None:
    for _ in range(4):
        file.write(b"new " * 1000)


def test_a_full_disk_at_any_step_leaves_the_old_file_or_the_whole_new_one(tmp_path, monkeypatch):
    target, new = tmp_path / "file.bin", b"new " * 4000
    outcomes = []
    for fail_at in range(1, 100):
        target.write_bytes(b"old")
        with monkeypatch.context() as patched:
            disk = FailingDisk(patched, fail_at)
            with contextlib.suppress(OSError):
                write_atomically(target, write_in_pieces)
        outcomes.append(target.read_bytes())
        assert os.listdir(tmp_path) == ["file.bin"]
        if disk.left > 0:
            break
    assert set(outcomes[:-2]) == {b"old"}  # all but the sync of the folder, after the rename, and success
    assert outcomes[-2:] == [new, new] if os.name != "nt" else outcomes[-1] == new
    assert len(outcomes) >= 8


@posix_only
def test_a_file_that_the_system_refuses_to_grow_leaves_the_old_one(tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(b"old")
    script = (
        "import resource, sys\n"
        "from tinylm.files import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n    write_atomically(sys.argv[1], bytes(100_000))\n"
        "except OSError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, target], capture_output=True, text=True, check=True)
    assert str(target) in done.stdout
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_an_error_or_ctrl_c_in_the_writer_leaves_the_old_file_and_goes_on(tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(b"old")
    for raised in (KeyboardInterrupt, RuntimeError):

        def broken(file, raised=raised):
            file.write(b"half")
            raise raised

        with pytest.raises(raised):
            write_atomically(target, broken)
        assert target.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file.bin"]


def test_an_error_about_another_file_keeps_its_own_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "target", lambda file: file.write((tmp_path / "source").read_bytes()))
    assert str(tmp_path / "source") in str(caught.value)


def test_a_missing_folder_is_named_by_the_path_the_user_gave(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere") as caught:
        write_atomically(tmp_path / "nowhere" / "file.bin", b"x")
    assert ".tmp" not in str(caught.value)


@posix_only
def test_the_mode_is_the_umask_s(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file.bin", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file.bin").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("content", [b"", b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_bytes_of_every_kind_are_written(tmp_path, content):
    write_atomically(tmp_path / "file.bin", content)
    assert (tmp_path / "file.bin").read_bytes() == bytes(content)


def test_a_writer_may_seek_back_to_fill_in_its_header(tmp_path):
    def writer(file):
        file.write(b"....body")
        file.seek(0)
        file.write(b"HEAD")

    write_atomically(tmp_path / "file.bin", writer)
    assert (tmp_path / "file.bin").read_bytes() == b"HEADbody"


def test_a_folder_is_synced_without_harm(tmp_path):
    fsync_folder(tmp_path)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x/cache"}, "/x/cache/tinylm"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/tinylm"),
        ("linux", {}, "/home/me/.cache/tinylm"),
        ("darwin", {}, "/home/me/Library/Caches/tinylm"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/tinylm"),
        ("win32", {}, "/home/me/AppData/Local/tinylm"),
    ],
)
@posix_only
def test_the_cache_is_where_the_system_keeps_caches(monkeypatch, platform, variables, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert cache_folder() == Path(expected)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values, st.booleans())
def test_json_that_json_writes_is_read_back(value, ascii_only):
    try:
        raw = json.dumps(value, ensure_ascii=ascii_only).encode()
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert parse_json(raw, "x.json") == value


@pytest.mark.parametrize(
    ("raw", "offset", "words"),
    [
        (b"", 7, "Expecting value"),
        (b'{"a": 1, "a": 2}', 7, "'a' appears twice"),
        (b'{"a": 1, "\\u0061": 2}', 7, "'a' appears twice"),
        (b"[NaN]", 7, "NaN"),
        (b"[-Infinity]", 7, "Infinity"),
        (b"[1e999]", 7, "1e999 is too large"),
        (b"1" * 5000, 7, "digits"),
        (b'"\xc3\xa9" x', 12, "Extra data"),
        (b'["\xff"]', 9, "UTF-8"),
        (b"\xef\xbb\xbf{}", 7, "BOM"),
        (b'["\\ud800"]', 7, "surrogate"),
        (b'{"\\uDFFF": 1}', 7, "surrogate"),
        (b'["\t"]', 9, "control character"),
        (b"[" * 100_000, 7, "deeply"),
        (b'{"a":' * 100_000, 7, "deeply"),
        (b"[" * 100_000 + b"]" * 100_000, 7, "deeply"),
        (b"[" + b"0," * 4_000_001, 7, "4,000,00"),
    ],
)
def test_json_that_is_not_quite_json_is_refused_with_its_place(raw, offset, words):
    with pytest.raises(FileFormatError, match=words) as caught:
        parse_json(raw, "x.json", start=7)
    assert (caught.value.path, caught.value.offset) == ("x.json", offset)


def test_a_minus_zero_is_not_an_integer_and_a_surrogate_pair_is_a_character():
    assert type(parse_json(b"-0", "x")) is float
    assert parse_json(b'"\\ud83d\\ude00"', "x") == "\U0001f600"


def test_a_json_file_that_is_missing_a_folder_or_endless_is_refused(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}
    for path, words in ((tmp_path, "folder"), (tmp_path / "b.json", "no such file")):
        with pytest.raises(FileFormatError, match=words):
            read_json(path)
    with pytest.raises(FileFormatError, match="more than 4 bytes"):
        read_json(tmp_path / "a.json", max_bytes=4)


def test_files_imports_nothing_heavy():
    script = "import sys, tinylm.files; print([m for m in ('numba', 'resource', 'fcntl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
