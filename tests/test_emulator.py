"""What the emulator finds in CUDA kernels that are wrong, and that it finds nothing in those that are right."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tinylm_kernels.cuda.source import parse_source
from tinylm_kernels.emulator.findings import EmulationError
from tinylm_kernels.emulator.run import Emulated, Launch

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")

TILE = "__shared__ float tile[64];\n"
FILL = "tile[threadIdx.x] = x[threadIdx.x];\n"
REVERSED = "y[threadIdx.x] = tile[n - 1 - threadIdx.x];\n"

# What each kernel (const float* x, float* y, int n) does wrong, and the kind of mistake that it is.
WRONG = {
    "no barrier": ("race", TILE + FILL + REVERSED),
    "threads of one block write one number": ("race", "y[0] = x[threadIdx.x];"),
    "blocks write one number": ("race", "if (threadIdx.x == 0) y[0] = blockIdx.x;"),
    "a sum without an atomic": ("race", "y[0] += x[threadIdx.x];"),
    "an atomic sum that is read at once": ("race", "atomicAdd(y, 1.0f);\nif (threadIdx.x == 3) y[1] = y[0];"),
    "a shuffle taken for a barrier of memory": (
        "race",
        TILE + FILL + "__shfl_xor_sync(0xffffffffu, 1, 1);\ny[threadIdx.x] = tile[threadIdx.x ^ 1];",
    ),
    "one past the end": ("outside", "y[threadIdx.x] = x[threadIdx.x + 1];"),
    "one before the start": ("outside", "y[int(threadIdx.x) - 1] = 0.0f;"),
    "far away": ("outside", "y[threadIdx.x * 100000000ll] = 0.0f;"),
    "shared memory that nobody has written": ("unwritten", TILE + "y[threadIdx.x] = tile[threadIdx.x];"),
    "a barrier that half of the threads reach": ("barrier", "if (threadIdx.x < 32) __syncthreads();"),
    "two barriers for one": (
        "barrier",
        "if (threadIdx.x < 32)\n__syncthreads();\nelse\n__syncthreads();\ny[threadIdx.x] = 0.0f;",
    ),
    "lanes that wait for one that has gone": (
        "lanes",
        "if (threadIdx.x == 5) return;\ny[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);",
    ),
    "a lane that is not in the mask": (
        "absent lane",
        "if (threadIdx.x < 16) y[threadIdx.x] = __shfl_xor_sync(0xffffu, x[threadIdx.x], 16);",
    ),
    "a mask without the lane that calls": ("mask", "__syncwarp(0xffff0000u);"),
    "an index that overflows": ("undefined", "y[threadIdx.x] = n * 100000000;"),
    "a vector that is not aligned": (
        "undefined",
        "if (threadIdx.x < 15) y[threadIdx.x] = reinterpret_cast<const float4*>(x + 1)[threadIdx.x].x;",
    ),
    "a shift by more bits than there are": ("undefined", "y[threadIdx.x] = 1 << n;"),
    "an index beyond a local array": (
        "undefined",
        "float near[4] = {};\nnear[(n & 7) + 4] = 1.0f;\ny[threadIdx.x] = near[0];",
    ),
}
RIGHT = {
    "a reversal": TILE + FILL + "__syncthreads();\n" + REVERSED,
    "an atomic sum": "atomicAdd(y, x[threadIdx.x]);",
    "a warp that waits for itself": TILE + FILL + "__syncwarp();\ny[threadIdx.x] = tile[threadIdx.x ^ 1];",
    "half a warp that waits for itself": (
        TILE + "if (threadIdx.x % 32 >= 16) return;\n" + FILL + "__syncwarp(0xffffu);\n"
        "y[threadIdx.x] = tile[threadIdx.x ^ 1];"
    ),
    "many threads that read one number": "y[threadIdx.x] = x[0];",
    "a warp that votes": "y[threadIdx.x] = __popc(__ballot_sync(0xffffffffu, threadIdx.x & 1));",
    "one past the end of its own array": "y[threadIdx.x + 1] = 1.0f;",
}
BODIES = {**{what: text for what, (_, text) in WRONG.items()}, **RIGHT}
NAMES = {what: f"kernel_{number}" for number, what in enumerate(BODIES)}
SOURCE = parse_source(
    "test",
    "\n".join(
        f'#line 1 "{what}"\nextern "C" __global__ void {NAMES[what]}(const float* x, float* y, int n) {{\n{text}\n}}'
        for what, text in BODIES.items()
    ),
)


def run(what, *, grid=1, y=None, **settings):
    """What a kernel makes of 0, 1, 2, ... in y; and the steps of the thread that is traced."""
    x = np.arange(64, dtype=np.float32)
    y = np.full(64, np.nan, np.float32) if y is None else y
    launch = Launch((grid, 1, 1), (64, 1, 1), **settings)
    Emulated(SOURCE).run(NAMES[what], launch, (x, y, np.int32(64)))
    return y, launch.steps


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_a_right_kernel_gives_its_result_in_any_order_of_threads(order):
    np.testing.assert_array_equal(run("a reversal", order=order)[0], np.arange(64)[::-1])


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_found(what):
    with pytest.raises(EmulationError) as error:
        run(what, grid=2 if what.startswith("blocks") else 1)
    assert WRONG[what][0] in error.value.kinds, str(error.value)


@pytest.mark.parametrize("what", list(RIGHT)[:-1])
def test_nothing_is_found_where_nothing_is_wrong(what):
    for order in (0, 1, 5):
        run(what, order=order, y=np.zeros(64, np.float32))


def test_a_race_is_told_with_both_threads_their_lines_and_the_name_of_the_array():
    with pytest.raises(EmulationError) as error:
        run("no barrier")
    for text in ("kernel_0::tile, byte 128", "thread 32 of block 0", "no barrier:3", "no barrier:4"):
        assert text in str(error.value)


def test_a_traced_thread_tells_what_it_reads_and_writes_line_by_line():
    _, steps = run("a reversal", trace=(0, 3))
    name = NAMES["a reversal"]
    assert [" ".join(step.split("reversal:")[1].split()) for step in steps] == [
        "3 reads x[3] = 3",
        f"3 writes {name}::tile, byte 12 = 3",
        "4 meets",
        f"5 reads {name}::tile, byte 240 = 60",
        "5 writes y[3] = 60",
    ]


def test_arrays_beside_each_other_are_not_touched_by_a_kernel_that_writes_past_its_own():
    whole = np.zeros(128, np.float32)
    with pytest.raises(EmulationError, match=r"y\[64\], which has 64 elements"):
        run("one past the end of its own array", y=whole[:64])
    assert not whole[64:].any()


def test_what_the_compiler_refuses_is_told_with_its_message():
    with pytest.raises(ValueError, match="nowhere"):
        Emulated(parse_source("test", 'extern "C" __global__ void f(float* x) { nowhere(x); }'))
