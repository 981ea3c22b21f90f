"""One translation model, trained by tinylm and by PyTorch: the same first weights, batches, optimizer and steps.

    python benchmarks/bench_translation.py --engine tinylm --steps 600
    python benchmarks/bench_translation.py --engine torch --steps 600      # needs torch and transformers

Both are measured in the same way: BLEU and chrF of the held-out pairs, as tinylm translates them with the last weights.
Their dropout draws other masks. The data are those of examples/translation.py. On two cores (AMD Zen 4), after
600 steps of 64 English-German pairs:

    tinylm    49 s    bleu 1.291, chrf 12.248, loss 4.571
    torch     73 s    bleu 1.496, chrf 12.107, loss 4.613
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tinylm

tinylm.prepare_process()

import numpy as np  # noqa: E402 - a script prepares its process first

from tinylm.formats import load_model, save_model  # noqa: E402 - as above
from tinylm.tasks import TASKS, build_trainer, choose_settings  # noqa: E402 - as above
from tinylm.training import Trainer  # noqa: E402 - as above

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from translation import SETTINGS, translations  # noqa: E402 - as above


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("tinylm", "torch"), default="tinylm")
    parser.add_argument("--data", type=Path, metavar="PATH")
    parser.add_argument("--language", default="de")
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    records = translations(options.language, options.data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        chosen = {**SETTINGS, "data": (str(path),), "steps": options.steps, "weight_decay": 0.0, "validation": 0.05}
        chosen["precision"] = "float32"  # of both engines
        settings = choose_settings(None, {**chosen, "task": "translation", "written": 10**6})
        kind = TASKS["translation"](settings)
        tokenizer = kind.build_tokenizer()
        task = kind.load(tokenizer)
        model = kind.build_model(tokenizer)
        trainer = build_trainer(settings, model, task, notify=print)
        begin = time.perf_counter()
        if options.engine == "tinylm":
            trainer.run()
        else:
            model = train_torch(trainer, Path(folder) / "model")
        seconds = time.perf_counter() - begin
        found = task.evaluate(model.eval())
    figures = ", ".join(f"{name} {found[name]:.3f}" for name in ("bleu", "chrf", "loss"))
    print(f"{options.engine}, {options.steps} steps in {seconds:.0f} s: {figures}")


def train_torch(trainer: Trainer, folder: Path) -> Any:
    """The model after the steps that the trainer would take, taken by PyTorch."""
    import torch
    from transformers import MarianMTModel

    save_model(folder, trainer.model)  # type: ignore[arg-type] # to a trainer it is any Module
    model = MarianMTModel.from_pretrained(folder).train()
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.0)
    task: Any = trainer.task
    for step in range(trainer.steps):
        batch = {name: torch.from_numpy(np.asarray(a)) for name, a in task.batch(step, slice(None)).items()}
        targets = batch["targets"].long()
        logits = model(input_ids=batch["ids"].long(), attention_mask=batch["key_mask"], labels=targets).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), label_smoothing=task.label_smoothing
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), trainer.clip or 1e9)
        optimizer.param_groups[0]["lr"] = trainer.schedule(step)
        optimizer.step()
    model.save_pretrained(folder)
    return load_model(folder)


if __name__ == "__main__":
    main()
