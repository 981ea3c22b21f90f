"""tinylm cuda: the CUDA kernels, without a card: run on the CPU and watched, compiled for cards that are not there."""

from __future__ import annotations

import argparse
import linecache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinylm.errors import TinylmError, nearest

if TYPE_CHECKING:
    from tinylm_kernels.cuda import Program

__all__ = ["add_to"]

MOST_STEPS = 200


def add_to(commands: Any) -> None:
    """Declare the command and those below it."""
    parser = commands.add_parser(
        "cuda",
        help="run CUDA kernels on the CPU, watched, and compile them",
        description="The CUDA kernels on a machine without a card: run on the CPU with every access of memory watched, "
        "and compiled by NVRTC for any architecture.",
    )
    below = parser.add_subparsers(metavar="ACTION", required=True)
    listing = below.add_parser("list", help="show the kernels, what they take, and their barriers")
    listing.add_argument("kernels", nargs="*", metavar="KERNEL", help="all by default")
    listing.set_defaults(run=show)
    runs = below.add_parser("run", help="run a kernel on the CPU and say what is wrong with it")
    runs.add_argument("kernel", metavar="KERNEL")
    runs.add_argument("--emulate", action="store_true", required=True, help="on the CPU, by g++")
    runs.add_argument("--shape", metavar="N,N,...", help="the numbers of a shape, as `tinylm bench --list` has them")
    runs.add_argument("--trace", metavar="BLOCK,THREAD", help="show each read, write and barrier of a thread")
    runs.add_argument("--order", type=int, default=0, metavar="N", help="of the threads: 1 backwards, above: shuffled")
    runs.add_argument(
        "--without-barrier", type=int, metavar="N", help="leave out the barrier with this number in `list`"
    )
    runs.set_defaults(run=run)
    compiles = below.add_parser("compile", help="compile with NVRTC: registers, shared memory, spills")
    compiles.add_argument("kernels", nargs="*", metavar="KERNEL", help="all by default")
    compiles.add_argument("--arch", type=int, nargs="+", default=[80, 90], metavar="N", help="80 is sm_80 (80 90)")
    compiles.set_defaults(run=compile_all)


def show(options: argparse.Namespace) -> None:
    """Print each file with its kernels and barriers."""
    for program in dict.fromkeys(_chosen(options.kernels).values()):
        source = program.source
        print(program.path.name)
        for kernel in source.kernels.values():
            parameters = ", ".join(f"{p.type}{'*' * p.pointer} {p.name}" for p in kernel.parameters)
            print(f"  {kernel.name}({parameters})")
        for number, (file, line) in enumerate(source.barriers()):
            print(f"  barrier {number}: {Path(file).name}:{line}: {linecache.getline(file, line).strip()}")


def run(options: argparse.Namespace) -> None:
    """Run a kernel on the emulator and print what happened. Raises TinylmError where it did something wrong."""
    (name, program), *_ = _chosen([options.kernel]).items()
    barrier, barriers = options.without_barrier, len(program.source.barriers())
    if barrier is not None and not 0 <= barrier < barriers:
        raise TinylmError(f"--without-barrier is {barrier}, but {program.path.name} has {barriers} barriers")
    from tinylm.bench import run_emulated
    from tinylm_kernels.emulator.build import NoCompilerError

    try:
        found = run_emulated(
            name,
            dims=_numbers("--shape", options.shape),
            order=options.order,
            trace=_numbers("--trace", options.trace, 2),
            without_barrier=barrier,
        )
    except NoCompilerError as error:
        raise TinylmError(str(error)) from None
    for kernel, launch in found.launches:
        print(f"{kernel}: grid {launch.grid}, block {launch.block}, {launch.shared} bytes of dynamic shared memory")
        for step in launch.steps[:MOST_STEPS]:
            print(f"  {step}")
        if len(launch.steps) > MOST_STEPS:
            print(f"  ... {len(launch.steps) - MOST_STEPS} more")
    for trouble in (found.mistakes, found.wrong):
        if trouble:
            print(f"\n{trouble}\n")
    if found.mistakes or found.wrong:
        raise TinylmError(f"{name} is wrong: see above")
    print("the result is the reference's; no races, nothing outside of an array, no barrier missed")


def compile_all(options: argparse.Namespace) -> None:
    """Print what each kernel takes on each architecture, by each NVRTC that is installed."""
    from tinylm_kernels.cuda.nvrtc import compilers

    if not compilers():
        raise TinylmError("NVRTC is not installed: pip install nvidia-cuda-nvrtc (or nvidia-cuda-nvrtc-cu12)")
    print(f"{'kernel':<28} {'NVRTC':>6} {'arch':>6} {'registers':>9} {'shared':>7} {'spilled':>8}")
    for program in dict.fromkeys(_chosen(options.kernels).values()):
        for compiler in compilers():
            for architecture in sorted(set(options.arch) & set(compiler.architectures)):
                compiled = compiler.compile(program.source, architecture, dict(program.variants[0]))
                for name, takes in sorted(compiled.kernels.items()):
                    version = ".".join(map(str, compiler.version))
                    print(
                        f"{name:<28} {version:>6} {'sm_' + str(architecture):>6} {takes.registers:>9} "
                        f"{takes.shared:>7} {takes.spilled:>8}"
                    )


def _chosen(names: list[str]) -> dict[str, Program]:
    from tinylm.bench import cuda_programs

    programs = cuda_programs()
    for name in names:
        if name not in programs:
            raise TinylmError(f"there is no CUDA kernel {name!r}{nearest(name, programs)}")
    return {name: programs[name] for name in names or programs}


def _numbers(option: str, text: str | None, count: int | None = None) -> Any:
    """The whole numbers of an option, None where it is not given."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isdigit() for part in parts) or (count is not None and len(parts) != count):
        raise TinylmError(f"{option} takes {count or 'some'} whole numbers with commas between, received {text!r}")
    return tuple(map(int, parts))
