"""How long byte-level BPE takes to learn and to encode, against Hugging Face's `tokenizers` and tiktoken.

    python benchmarks/bench_tokenizer.py                       # 10 MB, 8,192 entries: some minutes
    python benchmarks/bench_tokenizer.py --kinds               # those of other models: SentencePiece, WordPiece, ...
    python benchmarks/bench_tokenizer.py --quick --json results.jsonl

The text is the sources of Python's standard library, which every machine has. What the candidates give is compared
before it is timed: the same merges, the same ids. They take turns in one process. "first" is a tokenizer that has seen
no word yet; the others have. `tokenizers` learns in all threads, tinylm in one; encoding one string is one thread's
work for all.
"""

from __future__ import annotations

import environment  # before NumPy is loaded

# isort: split
import argparse
import json
import os
import statistics
import sysconfig
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tinylm.bench import machine
from tinylm.text import END_OF_TEXT, BPETokenizer, PipelineTokenizer, train_bpe, train_unigram, train_wordpiece
from tinylm.text.pipeline.compose import bpe, byte_level_parts, compose, merges_by_score, sentencepiece_parts
from tinylm.text.pipeline.patterns import SPLITS
from tinylm.text.split import PATTERNS

os.environ.setdefault("RAYON_NUM_THREADS", str(environment.THREADS))

Run = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--megabytes", type=float, default=10, help="of text to learn from and to encode; 10 by default"
    )
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each candidate; 5 by default")
    parser.add_argument("--quick", action="store_true", help="1 MB, 1,000 entries, one round")
    parser.add_argument("--kinds", action="store_true", help="the kinds of other models, on 1 MB, in their place")
    parser.add_argument("--threads", type=int, help=f"of `tokenizers`; {environment.THREADS} by default")
    parser.add_argument("--json", metavar="FILE", help="append the results to a file, one object a line")
    options = parser.parse_args()
    if options.quick:
        options.megabytes, options.vocab_size, options.rounds = 1, 1000, 1
    text = standard_library(round(options.megabytes * 1e6))
    about = machine.versions()
    print(f"{about['processor']}, {about['cores']} cores; {len(text) / 1e6:.1f} million characters of Python")
    print(f"\n{'':38}{'min s':>9}{'median':>9}{'MB/s':>9}{'ratio':>8}")
    found = kind_tasks(text[:1_000_000], options.vocab_size) if options.kinds else tasks(text, options.vocab_size)
    for task, size, candidates in found:
        records = take_turns(candidates, options.rounds)
        print_rows(task, size, records)
        if options.json:
            append(options.json, {"task": task, "characters": size, **about}, records)


def standard_library(size: int) -> str:
    """The first `size` characters of Python's own sources, in the order of their paths."""
    parts, length = [], 0
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" not in file.parts and length < size:
            parts.append(file.read_text(encoding="utf-8", errors="replace"))
            length += len(parts[-1])
    return "".join(parts)[:size]


def tasks(text: str, vocab_size: int) -> list[tuple[str, int, dict[str, Run]]]:
    """What is timed: its name, its characters, and what does it by whose it is."""
    ours = train_bpe([text], vocab_size)
    library, tiktoken = theirs(ours), tiktoken_of(ours)
    line = max(text[:100_000].splitlines(), key=len)[:100]
    for sample in (text[:1_000_000], line, "a" * 10_000):
        ids = ours.encode(sample).tolist()
        assert library is None or library.encode(sample).ids == ids
        assert tiktoken is None or tiktoken.encode_ordinary(sample) == ids
    found = [(f"learn {vocab_size:,} entries", len(text), learning(text, vocab_size, ours))]
    for name, sample in (("encode one text", text), ("encode a line", line), ("encode 'a' * 10**6", "a" * 10**6)):
        found.append((name, len(sample), encoding(sample, ours, library, tiktoken)))
    ids = ours.encode(text)
    found.append(("decode", len(text), {"tinylm": lambda: ours.decode(ids)}))
    if library is not None:
        found[-1][2]["tokenizers"] = lambda: library.decode(ids.tolist())
    return found


def kind_tasks(text: str, vocab_size: int) -> list[tuple[str, int, dict[str, Run]]]:
    """The same of the kinds of tokenizer that other models have, with vocabularies that are learnt here."""
    import tokenizers

    found: list[tuple[str, int, dict[str, Run]]] = []
    line = max(text.splitlines(), key=len)[:100]
    for kind, fields in kinds(text, vocab_size).items():
        ours = PipelineTokenizer(fields)
        library = tokenizers.Tokenizer.from_str(json.dumps(fields))
        ids = ours.encode(text).tolist()
        expected = library.encode(text, add_special_tokens=False).ids
        # `tokenizers` reads scores from JSON to the last bit but one, so that equal sums may fall the other way.
        differ = sum(a != b for a, b in zip(ids, expected, strict=True))
        assert differ < (1e-3 * len(ids) if kind == "Unigram" else 1), (kind, differ)
        for name, sample in (("1 MB", text), ("a line", line), ("'a' * 10**6", "a" * 10**6)):
            candidates: dict[str, Run] = {"tinylm": lambda ours=ours, sample=sample: ours.encode(sample)}
            if len(sample) > 1000:
                candidates["tinylm, first"] = lambda fresh=fields, sample=sample: PipelineTokenizer(fresh).encode(
                    sample
                )
            candidates["tokenizers"] = lambda library=library, sample=sample: library.encode(
                sample, add_special_tokens=False
            )
            found.append((f"{kind}: {name}", len(sample), candidates))
        decoders: dict[str, Run] = {
            "tinylm": lambda ours=ours, ids=ids: ours.decode(ids),
            "tokenizers": lambda library=library, ids=ids: library.decode(ids, skip_special_tokens=False),
        }
        found.append((f"{kind}: decode", len(text), decoders))
    return found


def kinds(text: str, vocab_size: int) -> dict[str, dict[str, Any]]:
    """tokenizer.json of each kind."""
    byte_level = train_bpe([text], vocab_size).to_json()
    unigram = train_unigram([text], vocab_size).to_json()
    scores = dict(unigram["model"]["vocab"])
    ids = {token: id for id, token in enumerate(scores)}
    merges = merges_by_score({token: score for token, score in scores.items() if token[0] != "<"}, ids)
    llama2 = bpe(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    return {
        "Llama 3": {**byte_level, **byte_level_parts(SPLITS["cl100k"])},
        "SmolLM": {**byte_level, **byte_level_parts(None, digits=True)},
        "Llama 2": compose(llama2, **sentencepiece_parts(prefix=True)),
        "WordPiece": train_wordpiece([text], vocab_size).to_json(),
        "Unigram": unigram,
    }


def learning(text: str, vocab_size: int, ours: BPETokenizer) -> dict[str, Run]:
    candidates: dict[str, Run] = {"tinylm": lambda: train_bpe([text], vocab_size)}
    try:
        import tokenizers
    except ImportError:
        return candidates

    def learn() -> Any:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
        return tokenizer

    return {**candidates, "tokenizers": learn}


def encoding(sample: str, ours: BPETokenizer, library: Any, tiktoken: Any) -> dict[str, Run]:
    candidates: dict[str, Run] = {"tinylm": lambda: ours.encode(sample)}
    if len(sample) > 1000:
        candidates["tinylm, first"] = lambda: BPETokenizer(ours.tokens, ours.merges, added=ours.added).encode(sample)
    if library is not None:
        candidates["tokenizers"] = lambda: library.encode(sample)
    if tiktoken is not None:
        candidates["tiktoken"] = lambda: tiktoken.encode_ordinary(sample)
    return candidates


def theirs(ours: BPETokenizer) -> Any:
    """Our tokenizer.json in `tokenizers`, None where that is not installed."""
    try:
        import tokenizers
    except ImportError:
        return None
    return tokenizers.Tokenizer.from_str(json.dumps(ours.to_json()))


def tiktoken_of(ours: BPETokenizer) -> Any:
    """Our merges in tiktoken, None where that is not installed."""
    try:
        import tiktoken
    except ImportError:
        return None
    ranks = {token: id for id, token in enumerate(ours.tokens) if id != ours.end_of_text}
    return tiktoken.Encoding("ours", pat_str=PATTERNS["gpt2"], mergeable_ranks=ranks, special_tokens={})


def take_turns(candidates: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """The seconds of a call of each candidate, once a round; a short one is repeated for a clock that jitters."""
    repeats = {}
    for name, run in candidates.items():
        begin = time.perf_counter()
        run()
        repeats[name] = max(1, round(0.02 / (time.perf_counter() - begin)))
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            samples[name].append((time.perf_counter() - begin) / repeats[name])
    return samples


def print_rows(task: str, size: int, records: dict[str, list[float]]) -> None:
    """The ratio is that of the medians to tinylm's: more than one, tinylm is faster."""
    base = statistics.median(records["tinylm"])
    for name, times in records.items():
        median = statistics.median(times)
        print(f"{task:24}{name:14}{min(times):>9.3g}{median:>9.3g}{size / median / 1e6:>9.1f}{median / base:>8.2f}")


def append(file: str, about: dict[str, Any], records: dict[str, list[float]]) -> None:
    """Add one line for each candidate to the file."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    with Path(file).open("a", encoding="utf-8") as lines:
        for name, times in records.items():
            record = {"candidate": name, "minimum_s": min(times), "median_s": statistics.median(times), "when": when}
            lines.write(json.dumps({**about, **record}) + "\n")


if __name__ == "__main__":
    main()
