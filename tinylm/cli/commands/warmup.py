"""tinylm warmup: compile the kernels before they are needed."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import time
from typing import Any

from tinylm.errors import TinylmError

__all__ = ["add_to", "run", "use_every_kernel"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "warmup",
        help="compile all kernels into the cache",
        description="Compile all kernels into the cache, so that no later run waits for the compiler, and remove what "
        "other versions have left there.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Fill the cache and say how long it took."""
    if importlib.util.find_spec("numba") is None:
        raise TinylmError('there is nothing to compile without Numba; pip install "tinylm[fast]"')
    from tinylm_kernels.jit import kernel_cache_folder

    begin = time.perf_counter()
    use_every_kernel()
    folder = kernel_cache_folder()
    if folder is None:
        raise TinylmError("the kernel cache cannot be written, so compiling ahead is of no use; see tinylm doctor")
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    print(f"all kernels are compiled, in {time.perf_counter() - begin:.1f} s; the cache: {folder}")


def use_every_kernel() -> None:
    """Train and evaluate all families on small batches, for the serial twins, and large ones, for the parallel."""
    import numpy as np

    from tinylm.autograd import Tensor, functional, no_grad
    from tinylm.models import GPT2, GPT2Config, GRUConfig, GRULanguageModel, LSTMConfig, LSTMLanguageModel
    from tinylm.nn import Initializer, random_step
    from tinylm.optim import AdamW
    from tinylm_kernels import matmul_bfloat16, why_not_bfloat16

    init = Initializer(0)
    gpt = GPT2Config(512, n_positions=128, n_embd=128, n_layer=1, n_head=2, embd_pdrop=0.1, resid_pdrop=0.1)
    models = [
        GPT2(gpt, init),
        LSTMLanguageModel(LSTMConfig(512, 128, 128, dropout=0.1), init),
        GRULanguageModel(GRUConfig(512, 128, 128, dropout=0.1), init),
    ]
    for model in models:
        optimizer = AdamW(model.parameters())
        for shape in ((1, 2), (16, 128)):
            ids = np.zeros(shape, np.int32)
            model.train()
            with random_step(seed=0, step=0):
                model.loss(ids, ids).backward()
            optimizer.gradient_norm()
            optimizer.step(0.0)
            model.eval()
            with no_grad():
                model(ids, model.new_cache(shape[0]))
    for rows in (1, 1024):
        x = Tensor(np.zeros((rows, 128), np.float32), requires_grad=True)
        functional.softmax(x).sum().backward()
        functional.gelu(x, exact=True).sum().backward()
        functional.rms_norm(x, np.ones(128, np.float32)).sum().backward()
        functional.silu(x).sum().backward()
        functional.fused_swiglu(x).sum().backward()
        functional.rope(x.reshape(1, 2, rows, 64), *np.ones((2, rows, 32), np.float32)).sum().backward()
        if why_not_bfloat16() is None:
            matmul_bfloat16(x.data, x.data.T)
