"""Every CUDA kernel, compiled by every NVRTC that is installed, for every architecture that is promised."""

from __future__ import annotations

import itertools

import pytest

from tinylm.bench import cuda_programs
from tinylm_kernels.cuda.nvrtc import compilers
from tinylm_kernels.cuda.program import NUMBER_TYPES, SHARED_WITHOUT_ASKING
from tinylm_kernels.cuda.source import parse_source

pytestmark = pytest.mark.oracle
ARCHITECTURES = (70, 75, 80, 86, 89, 90, 100, 120)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("number", NUMBER_TYPES.values())
@pytest.mark.parametrize(
    "program", list(dict.fromkeys(cuda_programs().values())), ids=lambda program: program.path.stem
)
def test_a_file_compiles_without_warnings_spills_or_a_stack(program, number, architecture):
    able = [compiler for compiler in compilers() if architecture in compiler.architectures]
    if not able:
        pytest.skip(f"no NVRTC for sm_{architecture}: pip install nvidia-cuda-nvrtc-cu12 nvidia-cuda-nvrtc")
    for compiler, variant in itertools.product(able, program.variants):
        compiled = compiler.compile(program.source, architecture, {"NUMBER": number, **variant})
        assert set(compiled.kernels) == set(program.source.kernels)
        for name, takes in compiled.kernels.items():
            assert (takes.stack, takes.spilled) == (0, 0), f"{name}: {takes}"
            assert takes.shared <= SHARED_WITHOUT_ASKING, f"{name}: {takes}"


@pytest.mark.skipif(not compilers(), reason="needs a wheel of NVRTC: pip install nvidia-cuda-nvrtc")
@pytest.mark.parametrize("text", ["{ int unused; }", "{ x[0] = INFINITY; }", "{ nowhere(); }"])
def test_what_nvrtc_warns_of_or_refuses_is_an_error_with_its_message(text):
    with pytest.raises(ValueError, match=r"refuses test for sm_80:\n.*(warning|error)"):
        compilers()[-1].compile(parse_source("test", f'extern "C" __global__ void f(float* x) {text}'), 80)
