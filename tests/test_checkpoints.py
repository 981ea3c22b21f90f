"""A kill, a full disk or a flipped bit anywhere leaves a checkpoint that loads, and a reader that says so."""

from __future__ import annotations

import builtins
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinylm import files
from tinylm.errors import FileFormatError, TinylmError
from tinylm.training import checkpoints
from tinylm.training.checkpoints import checkpoint_steps, load_checkpoint, save_checkpoint

needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
FILES = ("arrays.safetensors", "state.json", "manifest.json")


@pytest.fixture(autouse=True, scope="module")
def quick_disk():
    """Nothing in this process outlives a power cut; the processes that are killed sync for real."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


def content(step: int) -> dict[str, np.ndarray]:
    return {"weight": np.full((30, 10), step, np.float32), "count": np.array(step)}


def save(folder: Path, step: int, **settings) -> Path:
    return save_checkpoint(folder, step, content(step), {"step": step, "note": "é"}, **settings)


def check(checkpoint) -> None:
    """That it holds what `save` put into it, all of one step."""
    assert checkpoint.state == {"step": checkpoint.step, "note": "é"}
    assert checkpoint.arrays.keys() == {"weight", "count"}
    for name, array in content(checkpoint.step).items():
        np.testing.assert_array_equal(checkpoint.arrays[name], array)


# ---------------------------------------------------------------- what is saved comes back

ARRAYS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "__metadata__" and name.isprintable()),
    hnp.arrays(
        st.sampled_from([np.dtype(code) for code in ("?", "u1", "<i4", ">i8", "<u8", "<f2", "<f4", "<f8", "<c8")]),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
    ),
    max_size=4,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(arrays=ARRAYS, state=st.dictionaries(st.text(max_size=5), VALUES, max_size=4), step=st.integers(0, 10**10))
def test_arrays_and_state_come_back_to_the_bit(tmp_path_factory, arrays, state, step):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    saved = save_checkpoint(folder, step, arrays, state)
    loaded = load_checkpoint(folder)
    assert (loaded.step, loaded.folder, loaded.skipped) == (step, saved, ())
    assert loaded.state == state
    assert loaded.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded.arrays[name].shape == array.shape
        assert loaded.arrays[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


def test_a_folder_is_named_by_its_step_and_holds_three_files(tmp_path):
    saved = save(tmp_path / "new" / "checkpoints", 1200)
    assert saved == tmp_path / "new" / "checkpoints" / "step-00001200"
    assert sorted(os.listdir(saved)) == sorted(FILES)
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["files"]["state.json"]["bytes"] == (saved / "state.json").stat().st_size


def test_a_step_is_loaded_by_its_number_and_a_missing_one_lists_those_there(tmp_path):
    for step in (1, 2):
        save(tmp_path, step)
    check(load_checkpoint(tmp_path, 1))
    assert load_checkpoint(tmp_path, 1).step == 1
    with pytest.raises(TinylmError, match=r"no checkpoint of step 3; the steps there: 1, 2"):
        load_checkpoint(tmp_path, 3)


def test_where_there_is_no_checkpoint_the_error_names_the_folder(tmp_path):
    assert checkpoint_steps(tmp_path / "none") == []
    with pytest.raises(TinylmError, match=r"none: there is no checkpoint"):
        load_checkpoint(tmp_path / "none")
    (tmp_path / "a file").touch()
    with pytest.raises(TinylmError, match="a file"):
        load_checkpoint(tmp_path / "a file")


def test_a_step_saved_again_is_replaced(tmp_path):
    save_checkpoint(tmp_path, 5, {"old": np.zeros(3)}, {})
    save(tmp_path, 5)
    check(load_checkpoint(tmp_path))
    assert os.listdir(tmp_path) == ["step-00000005"]


def test_what_json_cannot_hold_is_refused_and_leaves_nothing(tmp_path):
    for state in ({"best": float("inf")}, {"x": {1, 2}}, {1: "a", "1": "b"}, {"x": "\ud800"}):
        with pytest.raises(TinylmError, match="state"):
            save_checkpoint(tmp_path / "c", 1, {}, state)
    with pytest.raises(TinylmError, match="datetime64"):
        save_checkpoint(tmp_path / "c", 1, {"x": np.zeros(2, "datetime64[s]")}, {})
    assert os.listdir(tmp_path / "c") == []
    for step, keep in ((-1, 2), (1, 0)):
        with pytest.raises(TinylmError, match="expected step >= 0 and keep >= 1"):
            save_checkpoint(tmp_path, step, {}, {}, keep=keep)


# ---------------------------------------------------------------- pruning


def test_the_newest_are_kept_and_so_are_the_protected_ones(tmp_path):
    for step in range(1, 7):
        save(tmp_path, step, keep=2, protect=[2])
    assert checkpoint_steps(tmp_path) == [2, 5, 6]
    save(tmp_path, 7, keep=1)
    assert checkpoint_steps(tmp_path) == [7]


def test_a_damaged_checkpoint_does_not_count_among_those_kept(tmp_path):
    for step in (1, 2):
        save(tmp_path, step)
    (tmp_path / "step-00000002" / "state.json").write_text("{}")
    save(tmp_path, 3, keep=2)
    assert checkpoint_steps(tmp_path) == [1, 3]


def test_the_one_just_saved_is_never_pruned_by_later_ones(tmp_path):
    for step in (10, 20):
        save(tmp_path, step)
    save(tmp_path, 5, keep=2)  # a run that went back
    assert checkpoint_steps(tmp_path) == [5, 10, 20]


def test_one_that_was_set_aside_and_stays_does_not_count_among_those_kept(tmp_path, monkeypatch):
    for step in (1, 2):
        save(tmp_path, step)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        save(tmp_path, 2)
    assert sorted(os.listdir(tmp_path)) == ["step-00000001", "step-00000002", "step-00000002.old"]
    save(tmp_path, 3)
    assert sorted(os.listdir(tmp_path)) == ["step-00000002", "step-00000003"]


def test_an_unreadable_disk_prunes_nothing_more(tmp_path, monkeypatch):
    for step in (1, 2):
        save(tmp_path, step)

    def unreadable(path, step):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(checkpoints, "_verify", unreadable)
    save(tmp_path, 3, keep=2)
    assert checkpoint_steps(tmp_path) == [1, 2, 3]


def test_other_names_in_the_folder_are_left_alone(tmp_path):
    for name in ("notes", "step-1", "step-" + "\u0661" * 8, "step-00000001.bak"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000009").touch()
    save(tmp_path, 2, keep=1)
    save(tmp_path, 3, keep=1)
    assert checkpoint_steps(tmp_path) == [3]
    assert len(os.listdir(tmp_path)) == 6


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_falls_back_and_says_so(tmp_path, name):
    save(tmp_path, 1)
    file = save(tmp_path, 2) / name
    good = file.read_bytes()
    for position in sorted({0, len(good) - 1, *random.Random(0).sample(range(len(good)), 20)}):
        file.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        loaded = load_checkpoint(tmp_path)
        check(loaded)
        assert loaded.step == 1
        assert loaded.skipped[0].name == "step-00000002"
        assert name in loaded.skipped[0].reason or name == "manifest.json"
        with pytest.raises(FileFormatError, match="step-00000002"):
            load_checkpoint(tmp_path, 2)
    file.write_bytes(good)
    assert load_checkpoint(tmp_path).step == 2


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_or_missing_falls_back_and_says_so(tmp_path, name):
    save(tmp_path, 1)
    file = save(tmp_path, 2) / name
    good = file.read_bytes()
    for length in (len(good) - 1, len(good) // 2, 1, 0, None):
        if length is None:
            file.unlink()
        else:
            file.write_bytes(good[:length])
        loaded = load_checkpoint(tmp_path)
        check(loaded)
        assert loaded.step == 1
        assert [skipped.name for skipped in loaded.skipped] == ["step-00000002"]
        assert name in loaded.skipped[0].reason


def test_a_checkpoint_under_the_name_of_another_step_is_not_believed(tmp_path):
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "step-00000001", tmp_path / "step-00000007")
    loaded = load_checkpoint(tmp_path)
    assert (loaded.step, loaded.skipped[0].reason) == (1, "manifest.json: is of step 1, not 7")


def test_a_manifest_of_a_later_version_says_what_to_do(tmp_path):
    manifest = save(tmp_path, 1) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(FileFormatError, match=r"version 2, expected 1: use the tinylm that wrote it"):
        load_checkpoint(tmp_path)


def test_where_nothing_verifies_the_error_gives_the_reason_for_each(tmp_path):
    for folder in [save(tmp_path, step) for step in (1, 2)]:
        (folder / "manifest.json").unlink()
    with pytest.raises(FileFormatError, match=r"step-00000002 \(manifest.*; step-00000001 \(manifest"):
        load_checkpoint(tmp_path)


# ---------------------------------------------------------------- the disk fails


class Disk:
    """Counts the calls that can fail for lack of space or of a working disk, and fails at the n-th."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int, code: int):
        self.left, self.code = fail_at, code
        disk, real_open = self, builtins.open

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
        monkeypatch.setattr(checkpoints, "open", File, raising=False)
        for name in ("fsync", "replace", "mkdir"):
            self.count(monkeypatch, name)

    def count(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(os, name)

        def counted(*arguments, **settings):
            self.step()
            return real(*arguments, **settings)

        monkeypatch.setattr(os, name, counted)

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("step", [1, 2])
def test_a_disk_that_fails_at_any_call_leaves_the_earlier_checkpoints(tmp_path, monkeypatch, code, step):
    """Step 1 is there before: saved over in one case, kept beside the new one in the other."""
    save(tmp_path / "before", 0)
    save(tmp_path / "before", 1)
    for fail_at in range(1, 200):
        folder = tmp_path / str(fail_at)
        shutil.copytree(tmp_path / "before", folder)
        problem = ""
        with monkeypatch.context() as patched:
            disk = Disk(patched, fail_at, code)
            try:
                save(folder, step)
            except TinylmError as error:
                problem = str(error)
        if problem:
            assert f"cannot save step {step} in {folder}: {os.strerror(code)}" in problem
            assert {0, 1} <= set(checkpoint_steps(folder))
            assert not list(folder.glob("*.tmp"))
        check(load_checkpoint(folder))
        assert load_checkpoint(folder).skipped == ()
        newest = checkpoint_steps(folder)[-1]
        save(folder, 3)
        assert sorted(os.listdir(folder)) == [f"step-{newest:08d}", "step-00000003"]
        if disk.left > 0:
            break
    assert fail_at > 20
    assert not problem


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EACCES, "choose a folder that you can write to"),
        (errno.EROFS, "choose a folder that can be written to"),
        (errno.EIO, "the disk may be failing"),
        (errno.ENAMETOOLONG, "check the folder and the disk"),
    ],
)
def test_each_failure_of_the_disk_says_what_to_do(tmp_path, monkeypatch, code, advice):
    with monkeypatch.context() as patched:
        Disk(patched, 1, code)
        with pytest.raises(TinylmError, match=advice):
            save(tmp_path / "c", 1)


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="permissions of POSIX")
def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    save(tmp_path / "c", 1)
    (tmp_path / "c").chmod(0o500)
    try:
        if os.access(tmp_path / "c", os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(TinylmError, match="choose a folder that you can write to"):
            save(tmp_path / "c", 2)
    finally:
        (tmp_path / "c").chmod(0o700)
    assert checkpoint_steps(tmp_path / "c") == [1]


def test_a_file_where_the_folder_should_be_says_so(tmp_path):
    (tmp_path / "c").touch()
    with pytest.raises(TinylmError, match=r"cannot save step 1 in .*c: "):
        save(tmp_path / "c", 1)


def test_ctrl_c_during_a_save_leaves_no_half(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def interrupt(point):
        if point == "state":
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "_reached", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 2)
    assert os.listdir(tmp_path) == ["step-00000001"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no sync of folders")
def test_everything_is_on_the_disk_before_the_name_and_the_name_before_pruning(tmp_path, monkeypatch):
    """What a power cut could undo: bytes and names that were not synced after they changed."""
    synced, events = set(), []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        real_fsync(descriptor)

    def replace(source, target):
        if Path(target).name == "step-00000002":
            unsynced = [path.name for path in Path(source).iterdir() if path.stat().st_ino not in synced]
            events.append(("named", unsynced, Path(source).stat().st_ino in synced))
            synced.discard(tmp_path.stat().st_ino)
        elif Path(target).name == "step-00000001.tmp":
            events.append(("pruned", tmp_path.stat().st_ino in synced))
        real_replace(source, target)
        synced.discard(Path(target).parent.stat().st_ino)

    save(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    save(tmp_path, 2, keep=1)
    assert events == [("named", [], True), ("pruned", True)]


# ---------------------------------------------------------------- kills

CONTENT = """
import json, os, random, signal, sys
from pathlib import Path
import numpy as np
from tinylm.training import checkpoints

def save(folder, step):
    arrays = {"weight": np.full((30, 10), step, np.float32), "count": np.array(step)}
    checkpoints.save_checkpoint(Path(folder), step, arrays, {"step": step, "note": "é"}, keep=1)
"""

# A process is forked for each kill: to start them one by one would take ten times as long.
AT_NAMED_POINTS = (
    CONTENT
    + """
def die(folder, step, point):
    checkpoints._reached = lambda reached: reached == point and os.kill(os.getpid(), signal.SIGKILL)
    save(folder, step)
    os._exit(0)

for folder, step, point in json.loads(sys.argv[1]):
    child = os.fork() or die(folder, step, point)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
)

FOREVER = (
    CONTENT
    + """
step = int(sys.argv[2])
while True:
    save(sys.argv[1], step)
    print(step, flush=True)
    step += random.random() < 0.7  # else the same again
"""
)


def start(script: str, *arguments: str | Path) -> subprocess.Popen:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # threads do not survive a fork
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def check_after_kill(folder: Path) -> int:
    """That the newest checkpoint loads, and the next save clears what the kill left. Returns its step."""
    loaded = load_checkpoint(folder)
    check(loaded)
    assert loaded.skipped == ()
    save(folder, loaded.step + 1)
    assert all("." not in name for name in os.listdir(folder))
    check(load_checkpoint(folder))
    return loaded.step


@needs_sigkill
def test_a_kill_at_each_named_point_leaves_the_newest_or_the_one_before(tmp_path):
    kills = []
    for point in checkpoints.POINTS:
        for step in (1, 2):  # 1 is there before
            if (point, step) != ("set aside", 2):  # nothing is in its way
                folder = tmp_path / f"{point} {step}"
                save(folder, 1)
                kills.append((str(folder), step, point))
    output, errors = start(AT_NAMED_POINTS, json.dumps(kills)).communicate(timeout=60)
    assert output.split() == [b"%d" % -signal.SIGKILL] * len(kills), errors.decode()
    for folder, step, point in kills:
        is_named = point in ("renamed", "synced", "pruned")
        assert check_after_kill(Path(folder)) == (step if is_named else 1)


@pytest.mark.slow
@needs_sigkill
def test_a_kill_at_any_of_twenty_random_instants_leaves_a_loadable_checkpoint(tmp_path):
    chance, last = random.Random(), 1
    for _ in range(20):
        child = start(FOREVER, tmp_path, str(last + 1))
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(chance.uniform(0, 0.2))
        child.kill()
        rest, _ = child.communicate()
        assert child.returncode == -signal.SIGKILL
        newest = int((first + rest).split()[-1])
        last = check_after_kill(tmp_path)
        assert last in (newest, newest + 1)
