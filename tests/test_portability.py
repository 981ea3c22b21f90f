"""Every module imports where the modules of POSIX alone are missing, and without the extras."""

from __future__ import annotations

import subprocess
import sys

import pytest

# An extra that is missing is a reason to skip a module; a module of Python's own, or one of ours, is not.
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1].split():
    sys.modules[name] = None

def is_missing_extra(error):
    while error is not None:
        top = (getattr(error, "name", None) or "").partition(".")[0]
        if top and top not in sys.stdlib_module_names and not top.startswith("tinylm"):
            return True
        if 'pip install "tinylm[' in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False

def attempt(name):
    try:
        return importlib.import_module(name)
    except Exception as error:
        if not is_missing_extra(error):
            raise

def walk(name):
    module = attempt(name)
    print(name)
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if found.name != "__main__":
            walk(f"{name}.{found.name}")

walk("tinylm_kernels")
walk("tinylm")
"""


def modules_imported_without(*names: str) -> list[str]:
    command = [sys.executable, "-c", IMPORT_ALL, " ".join(names)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("fcntl", "resource"), id="as on Windows"),
        pytest.param(("numba", "cupy", "mpi4py", "torch", "transformers"), id="without the extras"),
    ],
)
def test_every_module_imports_without(names):
    imported = modules_imported_without(*names)
    assert {"tinylm", "tinylm_kernels", "tinylm.files", "tinylm.training.locks"} <= set(imported)
