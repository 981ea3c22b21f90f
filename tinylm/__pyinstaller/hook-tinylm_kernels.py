"""The folder of a kernel is its registration: its `cpu.py` is imported by name.

The sources go along, since their hash is the name of the folder in which compiled kernels are kept.
"""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules("tinylm_kernels")
module_collection_mode = "pyz+py"
