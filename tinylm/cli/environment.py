"""What the process of the command line sets for itself before NumPy is loaded.

A library must not change its host, so `import tinylm` sets none of this: an app that trains may do it by itself.
"""

from __future__ import annotations

import os

__all__ = ["prepare"]

SETTINGS = {
    # OpenBLAS' workers spin for a while after each product and so take a core from the kernel that follows: 2^4
    # clock cycles instead of 2^26.
    "OPENBLAS_THREAD_TIMEOUT": "4",
    # The same for the threads of the Numba kernels.
    "OMP_WAIT_POLICY": "PASSIVE",
    # The layers that do not abort when several Python threads launch kernels come first.
    "NUMBA_THREADING_LAYER_PRIORITY": "omp tbb workqueue",
}


def prepare() -> None:
    """Set what the user has not set."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
