"""Code that reads changed files in a process of its own, which may take little memory: for the tests of bad files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PREAMBLE = """
import pathlib, sys, time
from tinylm.errors import FileFormatError

def limit_memory():
    if sys.platform == "linux":
        import resource
        used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)

def cuts(good, step=1):
    return [good[:n] for n in range(0, len(good), step)]

def flips(good, places, every=4):
    # Of each byte the bits n, n + every ..., n from byte to byte the next.
    return [good[:n] + bytes([good[n] ^ 1 << bit]) + good[n + 1:] for n in places for bit in range(n % every, 8, every)]

def refusals(bad, contents, read):
    # How many are refused, each with an error that names the file; the others must be read, all within a second.
    refused = 0
    for content in contents:
        bad.write_bytes(content)
        begin = time.process_time()
        try:
            read(bad)
        except FileFormatError as error:
            assert error.path == str(bad), error
            refused += 1
        assert time.process_time() - begin < 1
    return refused

folder = pathlib.Path(sys.argv[1])
"""


def run_bounded(script: str, folder: Path) -> str:
    """What a script prints that has `folder` and the functions above; once it has called `limit_memory()`, it may take
    256 MiB more than it had."""
    command = [sys.executable, "-c", PREAMBLE + script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
