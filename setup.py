"""Where the packages lie; everything else is declared in pyproject.toml.

Two import packages ship in one distribution. `kernels/` is a source root and not a package itself: a
top-level import package called `kernels` exists elsewhere, and shipping ours over it would break it.
"""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["tinylm", "tinylm.*"]) + find_packages("kernels"),
    package_dir={"tinylm_kernels": "kernels/tinylm_kernels"},
    package_data={
        "tinylm": ["py.typed", "serving/chat.html"],
        "tinylm_kernels": ["py.typed", "*/*.cu", "*/*.cuh", "emulator/*.h", "emulator/*.cpp"],
    },
)
