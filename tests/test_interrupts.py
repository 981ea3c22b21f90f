"""The first Ctrl-C or SIGTERM is a wish, the second an end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading

import pytest

from tinylm.training.interrupts import Interrupts

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals to another process")

# The handler is set by hand: a child of a background job is born with SIGINT ignored.
CHILD = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from tinylm.training.interrupts import Interrupts

with Interrupts() as interrupts:
    print("ready", flush=True)
    while not interrupts.requested:
        time.sleep(0.005)
    print("saving after", interrupts.requested, flush=True)
    if sys.argv[1] == "slow":
        time.sleep(60)
print("saved", signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
"""


def start(kind: str) -> subprocess.Popen:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@posix_only
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_first_signal_lets_the_process_save_and_end_well(name):
    child = start("quick")
    child.send_signal(signal.Signals[name])
    output, errors = child.communicate(timeout=30)
    assert (child.returncode, output, errors) == (0, f"saving after {name}\nsaved True\n", "")


@posix_only
@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGINT"), ("SIGINT", "SIGTERM"), ("SIGTERM", "SIGINT")])
def test_the_second_signal_ends_the_process_at_once_with_its_status(first, second):
    child = start("slow")
    child.send_signal(signal.Signals[first])
    assert child.stdout is not None
    assert child.stdout.readline() == f"saving after {first}\n"
    child.send_signal(signal.Signals[second])
    output, errors = child.communicate(timeout=30)
    assert (child.returncode, output, errors) == (-signal.Signals[second], "", "")


@pytest.fixture
def handler():
    """A handler of the user's own, so that a signal to this process is never its end."""
    caught = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    yield caught
    signal.signal(signal.SIGINT, previous)


def test_the_handlers_from_before_come_back_also_after_a_signal_and_an_error(handler):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    for _ in range(2):
        with contextlib.suppress(RuntimeError), Interrupts() as interrupts:
            assert interrupts.requested is None
            signal.raise_signal(signal.SIGINT)
            assert interrupts.requested == "SIGINT"
            raise RuntimeError
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    signal.raise_signal(signal.SIGINT)
    assert handler == [signal.SIGINT]


def test_one_that_is_entered_again_forgets_the_signal(handler):
    interrupts = Interrupts()
    with interrupts:
        signal.raise_signal(signal.SIGINT)
    assert interrupts.requested == "SIGINT"
    with interrupts:
        assert interrupts.requested is None


def test_a_signal_that_the_parent_ignored_stays_ignored(handler):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
    assert interrupts.requested is None
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_outside_the_main_thread_it_does_nothing(handler):
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with Interrupts() as interrupts:
            seen.append((interrupts.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]


def test_a_system_without_sigterm_has_sigint_alone(handler, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.delattr(signal, "SIGTERM")
    with Interrupts() as interrupts:
        assert signal.getsignal(15) == before
        signal.raise_signal(signal.SIGINT)
    assert interrupts.requested == "SIGINT"
