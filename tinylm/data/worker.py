"""A process that encodes blocks: it reads them from its standard input and writes the ids to its standard output.

Started by `workers.py` as a program of its own, so that it never imports the script of the process that started it, as
`multiprocessing` does with "spawn": a script without `if __name__ == "__main__"` works.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import sys

from tinylm.data.encoding import Encoded, encode_block
from tinylm.errors import TinylmError


def main() -> None:
    """Answer each block with its ids or with what is wrong with it, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    tokenizer, dtype = pickle.load(requests)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            block = pickle.load(requests)
            try:
                answer: Encoded | str = encode_block(block, tokenizer, dtype)
            except TinylmError as error:
                answer = str(error)
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()


if __name__ == "__main__":
    main()
