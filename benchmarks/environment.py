"""What a benchmark sets for its process before NumPy is loaded. Import this first.

`--threads N` on the command line holds for NumPy, the kernels and PyTorch alike.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

_root = Path(__file__).parent.parent
sys.path += [str(_root), str(_root / "kernels")]

from tinylm.process import limit_threads  # noqa: E402 - the path above leads to it

_parser = argparse.ArgumentParser(add_help=False)
_parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
THREADS: int = _parser.parse_known_args()[0].threads

# OpenBLAS' idle threads spin for 25 ms by default, on the cores that the next candidate needs.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
limit_threads(THREADS)
