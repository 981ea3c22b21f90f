"""How fast a large text becomes tokens, in how much memory, and what a kill costs.

    python benchmarks/bench_data.py [--megabytes 1000] [--tokenizer bytes] [--workers 1 2]

Writes a text of that size (words drawn by Zipf's law, so that a tokenizer's caches see what they see in prose),
tokenizes it with each number of processes, and prints MB/s of text and the peak memory of the processes. Then it kills
a run halfway and goes on; then it opens what is there. Everything lies in a temporary folder.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RUN = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from tinylm import files
from tinylm.data import open_corpus, survey, tokenize_corpus, tokenizing
from tinylm.text import ByteTokenizer, CharTokenizer, load_tokenizer

text, kind, cache, workers = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
survey.cache_folder = lambda: cache
begin = time.perf_counter()
corpus = open_corpus(text)
kinds = {"bytes": ByteTokenizer, "chars": lambda: CharTokenizer(corpus.survey().characters)}
tokenizer = kinds[kind]() if kind in kinds else load_tokenizer(kind)
corpus.survey()
surveyed = time.perf_counter()
tokens = tokenize_corpus(corpus, tokenizer, cache / "tokens", workers=workers)
end = time.perf_counter()
use = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"tokens": len(tokens), "survey_s": surveyed - begin, "tokenize_s": end - surveyed,
    "peak_mb": use[0].ru_maxrss / 1024, "largest_worker_mb": use[1].ru_maxrss / 1024,
    "cpu_s": [one.ru_utime + one.ru_stime for one in use], "checksum": int(np.asarray(tokens.ids[-4096:]).sum())}))
"""


def write_text(path: Path, megabytes: int, seed: int = 0) -> None:
    """Lines of words of 1 to 10 letters, drawn by Zipf's law from 50,000, in one document."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkqjxz"))
    words = ["".join(rng.choice(letters, rng.integers(1, 11))) for _ in range(50_000)]
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1_000_000:
            drawn = np.minimum(rng.zipf(1.2, 200_000) - 1, len(words) - 1)
            line = [words[at] for at in drawn]
            file.write("\n".join(" ".join(line[at : at + 12]) for at in range(0, len(line), 12)) + "\n")


def start(*arguments: object) -> subprocess.Popen[str]:
    """The tokenizing of a text in a process of its own."""
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it printed."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run ended with status {process.returncode}")
    return json.loads(output)


def kill_halfway(process: subprocess.Popen[str], folder: Path, shards: int) -> float:
    """End all its processes without warning once so many shards are there; the seconds that it had."""
    begin = time.perf_counter()
    while len(list(folder.rglob("*.tokens"))) < shards and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--tokenizer", default="bytes", help="bytes, chars or a tokenizer.json")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, text = Path(name), Path(name) / "text.txt"
        write_text(text, options.megabytes)
        past = time.time() - 60
        os.utime(text, (past, past))  # a file that has just changed is not remembered
        megabytes = text.stat().st_size / 1e6
        print(f"{megabytes:,.0f} MB of text, {options.tokenizer}")
        for turn, workers in enumerate(options.workers):
            found = finish(start(text, options.tokenizer, folder / f"cache-{turn}", workers))
            print(
                f"{workers} processes: {megabytes / found['tokenize_s']:6.1f} MB/s, {found['tokens']:,} tokens; the "
                f"pass before it {megabytes / found['survey_s']:.0f} MB/s; peak {found['peak_mb']:.0f} MB, the largest "
                f"worker {found['largest_worker_mb']:.0f} MB; CPU time {found['cpu_s'][0]:.1f} s here and "
                f"{found['cpu_s'][1]:.1f} s in the workers"
            )
        whole, killed = sorted((folder / f"cache-{turn}").rglob("*.tokens")), folder / "killed"
        lost = kill_halfway(start(text, options.tokenizer, killed, workers), killed, len(whole) // 2)
        kept = {path.name: path.stat().st_mtime_ns for path in killed.rglob("*.tokens")}
        resumed = finish(start(text, options.tokenizer, killed, workers))
        now = sorted(killed.rglob("*.tokens"))
        same = all(filecmp.cmp(a, b, shallow=False) for a, b in zip(whole, now, strict=True))
        untouched = all(path.stat().st_mtime_ns == kept[path.name] for path in now if path.name in kept)
        print(
            f"killed after {lost:.1f} s with {len(kept)} of {len(whole)} shards; the rest took "
            f"{resumed['tokenize_s']:.1f} s; the same bytes: {same}; the shards before the kill untouched: {untouched}"
        )
        again = finish(start(text, options.tokenizer, killed, workers))
        print(f"opened again in {again['survey_s'] + again['tokenize_s']:.3f} s, {again['peak_mb']:.0f} MB")


if __name__ == "__main__":
    main()
