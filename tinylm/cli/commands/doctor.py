"""tinylm doctor: what runs here, with which kernels, and what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
from typing import Any

import tinylm
from tinylm.extras import EXTRAS, install_command

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "doctor",
        help="versions, kernels, threads and what is missing",
        description="What tinylm runs on here, which kernels are in use, and what is missing.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the report."""
    import tinylm_kernels

    print(f"tinylm    {tinylm.__version__}, Python {platform.python_version()} on {platform.platform()}")
    for package in ("numpy", "numba", "llvmlite", "regex", "tqdm"):
        print(f"{package:<9} {_version(package)}")
    print(f"cores     {os.cpu_count()}")
    if importlib.util.find_spec("numba"):
        _print_numba()
    print("\nkernels (the last one that takes the arrays runs; float64 stays on numpy):")
    for name, kernel in tinylm_kernels.all_kernels().items():
        print(f"  {name:<28} {', '.join(kernel.implementations)}")
    missing = [package for package in EXTRAS if not importlib.util.find_spec(package)]
    print("\nmissing:" if missing else "\nnothing is missing")
    for package in missing:
        print(f"  {package}: {install_command(package)}")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _print_numba() -> None:
    import numba
    from numba.core import codegen

    from tinylm_kernels.jit import kernel_cache_folder

    print(f"threads   {numba.get_num_threads()}, layer {_threading_layer(numba)}")
    print(f"CPU       {platform.machine()} with {_vector_width(codegen)}")
    folder = kernel_cache_folder()
    if folder is None:
        print("cache     cannot be written: every process compiles its kernels again")
        return
    files = [file for file in folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(f"cache     {folder}, {len(files)} files, {size / 2**20:.1f} MiB (tinylm warmup fills it)")


def _threading_layer(numba: Any) -> str:
    try:
        return numba.threading_layer()
    except ValueError:  # nothing has run in parallel yet: the layer is chosen at the first launch
        return f"chosen at the first launch from {' '.join(numba.config.THREADING_LAYER_PRIORITY)}"


def _vector_width(codegen: Any) -> str:
    features = codegen.get_host_cpu_features().split(",")
    for feature, words in (("+avx512f", "AVX-512"), ("+avx2", "AVX2"), ("+neon", "NEON")):
        if feature in features:
            return words
    return "no vector extension known here"
