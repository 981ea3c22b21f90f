"""A desktop app: a window that writes with a model, piece by piece, and stays alive meanwhile.

    python examples/desktop_app.py runs/NAME/best

The model works in a thread of its own. Only the window's thread touches the window: it takes the pieces from a queue.
"""

import queue
import sys
import threading
import tkinter as tk
from tkinter import scrolledtext

import tinylm


class Window:
    """A text, and a button that lets the model go on with it, or stop."""

    def __init__(self, root: tk.Tk, lm: tinylm.LM):
        self._lm, self._root = lm, root
        self._pieces: queue.Queue[str | None] = queue.Queue()
        self._cancel = threading.Event()
        root.title("tinylm")
        root.protocol("WM_DELETE_WINDOW", self.close)
        self.text = scrolledtext.ScrolledText(root, wrap="word", width=70, height=20, undo=True)
        self.text.pack(fill="both", expand=True)
        self.button = tk.Button(root, text="Go on", command=self.go_on)
        self.button.pack(fill="x")
        self.text.focus_set()

    def go_on(self) -> None:
        """Let the model continue the text."""
        self._cancel = threading.Event()
        self.button.config(text="Stop", command=self._cancel.set)
        threading.Thread(target=self._write, args=(self.text.get("1.0", "end-1c"), self._cancel), daemon=True).start()
        self._show()

    def close(self) -> None:
        """Close the window; the model stops before its next token."""
        self._cancel.set()
        self._root.destroy()

    def _write(self, prompt: str, cancel: threading.Event) -> None:
        try:
            for piece in self._lm.stream(prompt, max_tokens=200, temperature=0.8, cancel=cancel):
                self._pieces.put(piece)
        except tinylm.TinylmError as error:
            self._pieces.put(f"\n[{error}]\n")
        self._pieces.put(None)

    def _show(self) -> None:
        """Show what has come; look again in a thirtieth of a second."""
        while not self._pieces.empty():
            piece = self._pieces.get()
            if piece is None:
                self.button.config(text="Go on", command=self.go_on)
                return
            self.text.insert("end", piece)
            self.text.see("end")
        self._root.after(33, self._show)


def main() -> None:
    """Open the window for the model that the command line names."""
    tinylm.prepare_process()
    root = tk.Tk()
    Window(root, tinylm.load(sys.argv[1]))
    root.mainloop()


if __name__ == "__main__":
    main()
