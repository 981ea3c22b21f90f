"""A generator as an app of its own: frozen by PyInstaller, it runs where there is no Python.

    pip install "tinylm[fast]" pyinstaller
    pyinstaller --noconfirm --name writer --add-data "runs/NAME/best:model" examples/frozen_app.py
    dist/writer/writer "The "

Without Numba it is smaller, starts sooner and computes more slowly: --exclude-module numba --exclude-module llvmlite.
"""

import logging
import sys
from pathlib import Path

import tinylm


def main() -> None:
    """Continue the text on the command line with the model in the app."""
    logging.getLogger("tinylm").setLevel(logging.ERROR)  # users of the app need not know that Numba was left out
    tinylm.prepare_process()
    lm = tinylm.load(Path(__file__).parent / "model")
    prompt = sys.argv[1] if len(sys.argv) > 1 else "The "
    print(prompt, end="")
    for piece in lm.stream(prompt, max_tokens=200, temperature=0.8, seed=0):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
