"""The facade names its modules in texts, which PyInstaller does not follow.

Packages of the extras are left out unless the app itself asks for them: pyarrow and matplotlib would outweigh the rest.
"""

from PyInstaller.utils.hooks import collect_submodules

from tinylm.extras import EXTRAS

hiddenimports = collect_submodules("tinylm", filter=lambda name: "__pyinstaller" not in name)
excludedimports = [package for package in EXTRAS if package != "numba"]
