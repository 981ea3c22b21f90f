"""Run folders: what is written comes back, whatever was killed in between; one process trains at a time."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import FileFormatError, TinylmError
from tinylm.files import read_json
from tinylm.training import locks, metrics_file, run_folder
from tinylm.training.run_folder import RunFolder, list_runs, read_metrics

needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
CONFIG = {"task": "language modelling", "model": "gpt2", "steps": 4}


@pytest.fixture(autouse=True, scope="module")
def quick_disk():
    """Nothing in this process outlives a power cut."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", CONFIG, data_fingerprint="abc")


# ---------------------------------------------------------------- the folder


def test_a_new_run_has_its_settings_and_what_it_ran_on(run):
    assert sorted(os.listdir(run.path)) == ["config.json", "provenance.json"]
    opened = RunFolder.open(run.path)
    assert opened.config == CONFIG
    assert opened.provenance["data_fingerprint"] == "abc"
    assert opened.provenance["numpy"] == np.__version__
    assert opened.provenance["command"] == sys.argv
    assert opened.provenance["started"].endswith("+00:00")
    assert {"tinylm", "numba", "python", "platform", "machine", "cpu_count"} < opened.provenance.keys()
    assert opened.best == run.path / "best"
    assert opened.checkpoints == run.path / "checkpoints"


def test_without_a_name_every_run_gets_one_of_its_own(tmp_path):
    names = {RunFolder.create(None, CONFIG, root=tmp_path / "runs").path for _ in range(5)}
    assert len(names) == 5
    assert {name.parent for name in names} == {tmp_path / "runs"}


def test_a_folder_with_something_in_it_is_refused_with_what_to_do(run, tmp_path):
    with pytest.raises(TinylmError, match=r"run is not empty: --resume .*run continues the run in it; or choose"):
        RunFolder.create(run.path, CONFIG)
    (tmp_path / "other" / "thing").mkdir(parents=True)
    with pytest.raises(TinylmError, match=r"other is not empty: choose another --out"):
        RunFolder.create(tmp_path / "other", CONFIG)
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty", CONFIG)


def test_a_folder_that_is_no_run_is_not_opened(tmp_path):
    with pytest.raises(TinylmError, match=r"is no run folder: there is no config\.json in it"):
        RunFolder.open(tmp_path)


def test_settings_are_written_as_json_that_every_reader_takes(tmp_path):
    config = {"rate": np.float32(0.5), "limit": math.inf, "n": np.int64(3), "out": Path("a"), "on": np.True_}
    run = RunFolder.create(tmp_path / "run", config | {"name": "\udc80é"})
    assert run.config == {"rate": 0.5, "limit": None, "n": 3, "out": "a", "on": True, "name": "\\udc80é"}
    with pytest.raises(TinylmError, match=r"config\.json: not what JSON can hold"):
        RunFolder.create(tmp_path / "other", {"x": object()})
    assert not (tmp_path / "other").exists()


def test_a_disk_that_fails_names_the_file_and_what_to_do(run, monkeypatch):
    def fail(*arguments, **settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(metrics_file, "open", fail, raising=False)
    monkeypatch.setattr(run_folder, "open", fail, raising=False)
    for method, name in (
        (lambda: run.append_metrics({"step": 1}), "metrics.jsonl"),
        (lambda: run.append_sample(1, "x"), "samples.txt"),
    ):
        with pytest.raises(TinylmError, match=rf"{name}: No space left on device: free some space"):
            method()


def test_samples_are_added_one_after_the_other(run):
    run.append_sample(10, "To be,\nor")
    run.append_sample(20, "half a character: \ud83d")
    text = run.samples.read_text(encoding="utf-8")
    assert text == "--- step 10 ---\nTo be,\nor\n\n--- step 20 ---\nhalf a character: ?\n\n"


# ---------------------------------------------------------------- metrics

RECORDS = st.lists(
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.floats() | st.text(max_size=5), max_size=4)
)


@given(records=RECORDS)
def test_metrics_come_back_with_null_for_what_is_not_finite(tmp_path_factory, records):
    run = RunFolder.create(tmp_path_factory.mktemp("root") / "run", CONFIG)
    for record in records:
        run.append_metrics(record)
    finite = [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        for record in records
    ]
    assert run.metrics() == finite
    lines = run.metrics_file.read_bytes().splitlines() if records else []
    assert len(lines) == len(records)


def test_a_line_is_on_file_when_append_returns(run):
    for step in (1, 2):
        run.append_metrics({"step": step, "train_loss": np.float32(0.5)})
        assert json.loads(run.metrics_file.read_text().splitlines()[-1]) == {"step": step, "train_loss": 0.5}


def test_a_last_line_cut_at_any_byte_is_left_out_and_then_written_over(run):
    for step in (1, 2, 3):
        run.append_metrics({"step": step, "note": "é"})
    whole = run.metrics_file.read_bytes()
    last_line = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for length in range(last_line, len(whole)):
        run.metrics_file.write_bytes(whole[:length])
        kept = [1, 2, 3] if length == len(whole) - 1 else [1, 2]  # all but the line break is a whole object
        assert [record["step"] for record in read_metrics(run.metrics_file)] == kept
        run.append_metrics({"step": 9})
        assert [record["step"] for record in read_metrics(run.metrics_file)] == [*kept, 9]


def test_a_damaged_line_that_is_not_the_last_is_an_error_with_its_place(run):
    for line, reason in ((b'{"step": 1', "malformed"), (b"[1]", "no JSON object"), (b"", "malformed")):
        run.metrics_file.write_bytes(b'{"step": 0}\n' + line + b"\n")
        with pytest.raises(FileFormatError, match=rf"byte \d+: .*{reason}") as caught:
            run.metrics()
        assert caught.value.offset is not None
        assert caught.value.offset >= 12


def test_a_resumed_run_drops_what_it_will_write_again(run):
    for record in ({"step": 1}, {"step": 2}, {"note": "a"}, {"step": 3}, {"note": "b"}, {"step": 4}):
        run.append_metrics(record)
    with open(run.metrics_file, "ab") as file:
        file.write(b'{"step": 5, "tr')
    run.truncate_metrics(4)
    assert len(run.metrics()) == 6
    run.truncate_metrics(2)
    assert run.metrics() == [{"step": 1}, {"step": 2}, {"note": "a"}]
    run.truncate_metrics(0)
    assert run.metrics() == []


def test_metrics_that_are_not_there_yet_are_none(run):
    assert run.metrics() == []
    run.truncate_metrics(0)
    assert run.metrics() == []


# ---------------------------------------------------------------- the lock


def test_two_cannot_train_in_one_folder(run):
    with run.lock():
        with pytest.raises(TinylmError, match=rf"held by process {os.getpid()} on .*; if it is gone, delete"):
            RunFolder.open(run.path).lock().__enter__()
        assert (run.path / "lock").exists()
    assert not (run.path / "lock").exists()
    with run.lock():
        pass


HOLDER = """
import sys
from pathlib import Path
from tinylm.training.locks import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def start_holder(path: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", HOLDER, path]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_another_process_is_named_and_its_lock_taken_over_once_it_is_gone(run):
    lock = run.path / "lock"
    child = start_holder(lock)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert str(child.pid) in str(locks.holder(lock))
        assert list_runs(run.path.parent)[0].state == "running"
        with pytest.raises(TinylmError, match=f"held by process {child.pid} on "):
            run.lock().__enter__()
    finally:
        child.kill()
        child.communicate()
    assert lock.exists()
    assert locks.holder(lock) is None
    with run.lock():
        assert str(os.getpid()) in str(locks.holder(lock))
    assert sorted(os.listdir(run.path)) == ["config.json", "provenance.json"]


def write_lock(path: Path, **changes) -> None:
    whose = {"pid": os.getpid(), "host": locks.socket.gethostname(), "born": locks._born(os.getpid())}
    path.write_text(json.dumps(whose | changes))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs the start of a process, from /proc")
def test_a_process_that_got_the_number_of_a_dead_one_does_not_hold_its_lock(run):
    write_lock(run.path / "lock", born="1")
    with run.lock():
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows asks the file and not its content")
def test_in_doubt_the_lock_is_held(run):
    lock = run.path / "lock"
    write_lock(lock, host="another-host")
    with pytest.raises(TinylmError, match="on another-host"):
        run.lock().__enter__()
    write_lock(lock, pid="x")
    assert locks.holder(lock) is not None
    for content in (b"", b"\x00\xff", b"[1]"):
        lock.write_bytes(content)
        with pytest.raises(TinylmError, match=r"process unknown .* delete this file"):
            run.lock().__enter__()
    lock.unlink()
    assert locks.holder(lock) is None


def test_a_lock_that_another_took_meanwhile_is_put_back(tmp_path):
    lock = tmp_path / "lock"
    lock.write_bytes(b"new")
    locks._set_aside(lock, b"old")
    assert lock.read_bytes() == b"new"
    locks._set_aside(lock, b"new")
    assert os.listdir(tmp_path) == []


def test_one_who_lost_the_lock_leaves_that_of_the_next(run):
    lock = run.path / "lock"
    with run.lock():
        write_lock(lock, token="another")
    assert lock.exists()


def test_a_disk_that_fails_while_locking_leaves_no_lock(run, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TinylmError, match="free some space"):
        run.lock().__enter__()
    assert not (run.path / "lock").exists()


# ---------------------------------------------------------------- the list of runs


def add_run(root: Path, name: str, steps_done: int) -> RunFolder:
    run = RunFolder.create(root / name, CONFIG)
    for step in range(1, steps_done + 1):
        run.append_metrics({"step": step, "train_loss": 3.0 - step, "val_loss": abs(step - 2.0)})
    return run


def test_the_list_tells_how_far_and_how_well_each_run_went(tmp_path):
    add_run(tmp_path, "a", 4)
    add_run(tmp_path, "b", 3)
    add_run(tmp_path, "c", 2).end("finished", "early stopping")
    add_run(tmp_path, "d", 0)
    runs = list_runs(tmp_path)
    assert [run.name for run in runs] == ["a", "b", "c", "d"]
    assert [run.state for run in runs] == ["finished", "interrupted", "finished", "interrupted"]
    assert [run.step for run in runs] == [4, 3, 2, 0]
    assert [run.best_val_loss for run in runs] == [0.0, 0.0, 0.0, None]
    assert [run.last_loss for run in runs] == [-1.0, 0.0, 1.0, None]
    assert {(run.task, run.model, run.steps) for run in runs} == {("language modelling", "gpt2", 4)}
    assert runs[0].started.startswith("20")


def test_a_broken_folder_is_named_and_hides_no_other(tmp_path):
    add_run(tmp_path, "good", 4)
    (tmp_path / "no config").mkdir()
    (add_run(tmp_path, "cut", 1).path / "config.json").write_text('{"steps": ')
    (add_run(tmp_path, "list", 1).path / "config.json").write_text("[]")
    (add_run(tmp_path, "metrics", 1).metrics_file).write_text("x\n{}\n")
    (add_run(tmp_path, "provenance", 1).path / "provenance.json").unlink()
    (tmp_path / "a file").touch()
    runs = {run.name: run for run in list_runs(tmp_path)}
    assert runs.pop("good").state == "finished"
    assert runs.keys() == {"no config", "cut", "list", "metrics", "provenance"}
    assert {run.state for run in runs.values()} == {"broken"}
    assert all(str(run.path) in run.problem for run in runs.values())


def test_values_of_another_kind_than_expected_do_not_stop_the_list(tmp_path):
    run = RunFolder.create(tmp_path / "odd", {"steps": "many", "model": {"layers": 2}})
    run.append_metrics({"step": "one", "val_loss": None, "train_loss": math.nan})
    summary = list_runs(tmp_path)[0]
    assert (summary.steps, summary.model, summary.step, summary.state) == (None, "", 0, "interrupted")


def test_where_there_are_no_runs_the_list_is_empty(tmp_path):
    assert list_runs(tmp_path / "none") == []


def test_an_error_in_the_run_is_its_end_until_it_is_resumed(run):
    root = run.path.parent
    with pytest.raises(ZeroDivisionError), run.lock():
        raise ZeroDivisionError("by zero")
    assert list_runs(root)[0].state == "failed"
    assert read_json(run.path / "end.json")["reason"] == "ZeroDivisionError: by zero"
    with pytest.raises(KeyboardInterrupt), run.lock():
        raise KeyboardInterrupt
    assert list_runs(root)[0].state == "interrupted"
    with run.lock():
        assert list_runs(root)[0].state == "running"
        assert not (run.path / "end.json").exists()
    with pytest.raises(TinylmError, match="received 'done', expected one of finished, interrupted, diverged, failed"):
        run.end("done")
