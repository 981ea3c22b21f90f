"""Decoding and reading prompts, beside llama.cpp, CTranslate2 and PyTorch, on the same weights; a table.

    python benchmarks/bench_decode.py [--threads 2] [--rounds 7] [--model FILE.gguf]

GPT-2's 124M shapes with random weights, as F32, F16, Q8_0, Q4_0 and bytes by row, and a model's own file. Each engine
is a process of its own, which waits while others work; they take turns. What is not installed is left out. The roof is
what reading all weights once for a token allows, from a product of one row that reads 400 MB, in the same turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

PROMPT, NEW, BEGIN = 512, 24, 16  # tokens of a prompt; in a turn of decoding; before it
Work = Callable[[str], float]


def tinylm_work(path: str, threads: int) -> Work:
    """Seconds a token of the decode engine."""
    import numpy as np

    import tinylm

    engine = tinylm.load(path).decoder
    ids = np.random.default_rng(0).integers(0, 40_000, (1, PROMPT))
    cache = engine.new_cache(1)

    def work(what: str) -> float:
        cache.keep(0)
        if what == "prompt":
            return seconds(lambda: engine.last_logits(ids, cache)) / PROMPT
        engine.last_logits(ids[:, :BEGIN], cache)
        return seconds(lambda: [engine.last_logits(ids[:, i : i + 1], cache) for i in range(NEW)]) / NEW

    return work


def llama_work(path: str, threads: int) -> Work:
    """The same of llama.cpp."""
    import llama_cpp

    settings: dict[str, Any] = {"n_threads": threads, "n_threads_batch": threads, "n_batch": 512, "verbose": False}
    model = llama_cpp.Llama(path, n_ctx=1024, **settings)

    def work(what: str) -> float:
        model.reset()
        if what == "prompt":
            return seconds(lambda: model.eval(list(range(1000, 1000 + PROMPT)))) / PROMPT
        model.eval(list(range(1000, 1000 + BEGIN)))
        return seconds(lambda: [model.eval([2000 + i]) for i in range(NEW)]) / NEW

    return work


def torch_work(path: str, threads: int) -> Work:
    """The same of PyTorch, through transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    ids = torch.randint(0, 40_000, (1, PROMPT), generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def work(what: str) -> float:
        if what == "prompt":
            return seconds(lambda: model(ids, logits_to_keep=1)) / PROMPT
        cache = model(ids[:, :BEGIN], use_cache=True).past_key_values
        return seconds(lambda: [model(ids[:, i : i + 1], past_key_values=cache) for i in range(NEW)]) / NEW

    return work


def ctranslate2_work(path: str, threads: int) -> Work:
    """The same of CTranslate2, of a folder that its converter has written."""
    import ctranslate2

    generator = ctranslate2.Generator(path, intra_threads=threads)
    tokens = [generator_token(i) for i in range(1000, 1000 + PROMPT)]

    def generate(prompt: list[str], new: int) -> float:
        settings = {"max_length": new, "min_length": new, "include_prompt_in_result": False}
        return seconds(lambda: generator.generate_batch([prompt], **settings))

    def work(what: str) -> float:
        if what == "prompt":
            return generate(tokens, 1) / PROMPT
        return (generate(tokens[:BEGIN], NEW + 1) - generate(tokens[:BEGIN], 1)) / NEW

    return work


def generator_token(index: int) -> str:
    """The word that the converter was given for an id."""
    return f"t{index}"


def memory_work(path: str, threads: int) -> Work:
    """Seconds for a byte of weights that are read once."""
    import numpy as np

    from tinylm_kernels.few_rows import few_rows

    weights, x = np.ones((100_000, 1024), np.float32), np.ones((1, 1024), np.float32)
    y = np.empty((1, len(weights)), np.float32)
    return lambda what: seconds(lambda: few_rows(x, weights, y, add=False)) / weights.nbytes


ENGINES = {
    "tinylm": tinylm_work,
    "llama.cpp": llama_work,
    "torch": torch_work,
    "CTranslate2": ctranslate2_work,
    "memory": memory_work,
}


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def serve(engine: str, path: str, threads: int) -> None:
    """Do what each line of the input names, and print how long it took."""
    try:
        work = ENGINES[engine](path, threads)
        for what in ("prompt", "token"):
            work(what)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    print(json.dumps({"missing": None}), flush=True)
    for line in sys.stdin:
        print(json.dumps(work(line.strip())), flush=True)


class Worker:
    """An engine with a model, in a process of its own."""

    def __init__(self, engine: str, path: str, threads: int):
        self.times: dict[str, list[float]] = {"prompt": [], "token": []}
        command = [sys.executable, __file__, "--worker", engine, path, "--threads", str(threads)]
        environment = {**os.environ, "NUMBA_NUM_THREADS": str(threads), "OPENBLAS_THREAD_TIMEOUT": "4"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        answer = self._answer()
        self.there = answer is not None and answer["missing"] is None

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def turn(self, what: str) -> None:
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        self.times[what].append(self._answer())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def write_gpt2(folder: Path) -> dict[str, str]:
    """GPT-2's shapes with random weights, as a folder and as GGUF files, by their names."""
    from tinylm.formats import convert, save_model
    from tinylm.models import GPT2, GPT2Config
    from tinylm.nn import Initializer
    from tinylm.text import ByteTokenizer

    config = GPT2Config(50257)
    save_model(folder / "folder", GPT2(config, Initializer(0)), ByteTokenizer())
    files = {"folder": str(folder / "folder")}
    for dtype in ("f32", "f16", "q8_0", "q4_0", "int8"):
        files[dtype] = str(convert(folder / "folder", folder / f"{dtype}.gguf", dtype=dtype))
    return files


def write_ctranslate2(source: str, folder: Path, quantization: str) -> str:
    """The folder as CTranslate2's converter writes it, with words for the ids; empty where that is not installed."""
    try:
        import ctranslate2  # noqa: F401 - whether it is installed
        from ctranslate2.converters.transformers import GPT2Loader
        from ctranslate2.specs import TransformerDecoderModelSpec  # noqa: F401 - as above
        from transformers import AutoModelForCausalLM
    except ImportError:
        return ""

    loader = GPT2Loader()
    spec = loader.get_model_spec(AutoModelForCausalLM.from_pretrained(source))
    spec.register_vocabulary([generator_token(i) for i in range(50257)])
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = generator_token(50256)
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir()
    spec.save(str(folder))
    return str(folder)


def measure(engines: dict[str, str], threads: int, rounds: int) -> dict[str, Worker]:
    """Workers of the engines, on the paths, that have taken turns."""
    workers = {name: Worker(name, path, threads) for name, path in {**engines, "memory": ""}.items() if path or name}
    for what in ("token", "prompt"):
        for _ in range(rounds):
            for worker in workers.values():
                if worker.there:
                    worker.turn(what)
    for worker in workers.values():
        worker.close()
    return {name: worker for name, worker in workers.items() if worker.there}


def report(name: str, path: str, workers: dict[str, Worker]) -> None:
    """Rows of the table: tokens a second, medians and bests, and what part of the roof they are."""
    from tinylm.formats import open_model
    from tinylm.inference import open_engine

    engine = open_engine(open_model(path))
    assert engine is not None
    byte = workers.pop("memory").times["token"]
    roof = 1 / (median(byte) * engine.plan.nbytes)
    for engine_name, worker in workers.items():
        token, prompt = (worker.times[what] for what in ("token", "prompt"))
        decode = f"{1 / median(token):,.0f} / {1 / min(token):,.0f} | {1 / median(token) / roof:.0%}"
        print(f"| {name} | {engine_name} | {decode} | {1 / median(prompt):,.0f} / {1 / min(prompt):,.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", help="names of models to measure")
    parser.add_argument("--model", metavar="FILE", help="a .gguf file to measure as it is")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(*options.worker, options.threads)
        return
    print("| model | engine | decode, tokens/s, median / best | of the roof | prompt of 512, tokens/s |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        files = {} if options.only == ["own"] else write_gpt2(Path(folder))
        whole = files.pop("folder", "")
        for name, path in files.items():
            if options.only and name not in options.only:
                continue
            engines = {"tinylm": path} | ({} if name == "int8" else {"llama.cpp": path})
            if name == "f32":
                engines |= {"torch": whole, "CTranslate2": write_ctranslate2(whole, Path(folder) / "ct2", "float32")}
            if name == "int8":
                engines["CTranslate2"] = write_ctranslate2(whole, Path(folder) / "ct2-int8", "int8")
            report(f"GPT-2 124M {name}", path, measure(engines, options.threads, options.rounds))
        if options.model:
            paths = {"tinylm": options.model, "llama.cpp": options.model}
            report(Path(options.model).name, options.model, measure(paths, options.threads, options.rounds))


if __name__ == "__main__":
    main()
