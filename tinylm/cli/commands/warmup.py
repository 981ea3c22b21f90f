"""tinylm warmup: compile the kernels before they are needed."""

from __future__ import annotations

import argparse
import importlib.util
import time
from typing import Any

from tinylm.errors import TinylmError

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "warmup",
        help="compile all kernels into the cache",
        description="Compile all kernels into the cache, so that no later run waits for the compiler.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Fill the cache and say how long it took."""
    if importlib.util.find_spec("numba") is None:
        raise TinylmError('there is nothing to compile without Numba; pip install "tinylm[fast]"')
    from tinylm_kernels.jit import kernel_cache_folder
    from tinylm_kernels.warmup import warm_up

    begin = time.perf_counter()
    count = warm_up()
    print(f"{count} kernels are compiled, in {time.perf_counter() - begin:.1f} s; cache: {kernel_cache_folder()}")
