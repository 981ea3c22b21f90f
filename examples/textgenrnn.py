"""Another library's weights in our layers: textgenrnn's character LSTM, which was trained in Keras on a GPU.

    pip install --no-deps textgenrnn==2.0.0
    python examples/textgenrnn.py

The weights (MIT licence) are a Keras HDF5 file inside the package; its code, which wants TensorFlow, is not run.

An embedding of the last 40 characters goes through two LSTMs. What all three say of each character stands side by side
(100 + 128 + 128 channels); an average over the 40, weighted by a softmax of one number for each, is what the output
layer sees. Its layers are not one after the other, so that `tinylm.sequential` has no model of them; but it reads their
weights, and turns those that are in cuDNN's layout, as docs/recurrent.md tells it.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import numpy as np

from tinylm import Tensor, no_grad
from tinylm.autograd import functional as F
from tinylm.formats.hdf5 import read_hdf5
from tinylm.inference import Sampler
from tinylm.nn import LSTM, Embedding, Initializer, Linear, Module
from tinylm.sequential.keras_weights import from_cudnn, read_by_name

CONTEXT = 40
START = "<s>"

TEXT = """It was late in the evening when the two friends came back to the house by the river. The rain had stopped, \
and there was a light in the window. They did not know who was there, but they were cold and tired, and they went in."""


class TextGenRNN(Module):
    """ids (B, 40) to the logits of the next character, (B, 465)."""

    def __init__(self, vocab_size: int, channels: int, hidden: int, init: Initializer):
        self.tokens = Embedding(vocab_size, channels, init)
        self.lstms = [LSTM(channels, hidden, init), LSTM(hidden, hidden, init)]
        self.attention = Linear(channels + 2 * hidden, 1, init, bias=False)
        self.output = Linear(channels + 2 * hidden, vocab_size, init)

    def forward(self, ids: np.ndarray) -> Tensor:
        seen = [self.tokens(ids)]
        for lstm in self.lstms:
            seen.append(lstm(seen[-1])[0])
        x = F.concatenate(seen, axis=-1)  # (B, 40, 356)
        scores = self.attention(x).reshape(len(ids), -1)  # (B, 40)
        average = (x * F.softmax(scores).reshape(len(ids), -1, 1)).sum(axis=1)  # (B, 356)
        return self.output(average)


def load(package: Path) -> tuple[TextGenRNN, dict[str, int]]:
    """The model, and the id of each character; 0 stands for no character."""
    vocab = json.loads((package / "textgenrnn_vocab.json").read_text(encoding="utf-8"))
    layers = read_by_name(read_hdf5(package / "textgenrnn_weights.hdf5"))
    kernel, bias = layers["output"].values()
    state = {
        "tokens.weight": layers["embedding"]["embedding/embeddings:0"],
        "attention.weight": layers["attention"]["attention/attention_W:0"].T,
        "output.weight": kernel.T,
        "output.bias": bias,
    }
    for number in range(2):
        kernel, recurrent_kernel, bias = from_cudnn(*layers[f"rnn_{number + 1}"].values())
        arrays = {"w_input": kernel.T, "w_hidden": recurrent_kernel.T, "bias": bias}
        state |= {f"lstms.{number}.directions.0.{name}": array for name, array in arrays.items()}
    vocab_size, channels = state["tokens.weight"].shape
    hidden = state["lstms.0.directions.0.w_hidden"].shape[1]
    return TextGenRNN(vocab_size, channels, hidden, Initializer(None)).load_state_dict(state), vocab


def windows(ids: list[int]) -> np.ndarray:
    """For each id after the first, the 40 before it, zeros where there are fewer: (len(ids) - 1, 40)."""
    padded = np.concatenate([np.zeros(CONTEXT - 1, int), ids])
    return np.lib.stride_tricks.sliding_window_view(padded[:-1], CONTEXT)


def bits_per_character(model: TextGenRNN, vocab: dict[str, int], text: str) -> float:
    """How many bits a character of the text takes, each predicted from the 40 before it."""
    ids = [vocab[START], *(vocab[character] for character in text)]
    with no_grad():
        log_p = F.log_softmax(model(windows(ids))).data
    return float(-log_p[np.arange(len(text)), ids[1:]].mean() / np.log(2))


def write(model: TextGenRNN, vocab: dict[str, int], *, characters: int, seed: int) -> str:
    """What the model writes from the start of a text."""
    character = {number: c for c, number in vocab.items()}
    choose, ids = Sampler(temperature=0.5, seed=seed), [vocab[START]]
    while len(ids) <= characters:
        with no_grad():
            logits = model(windows([*ids, 0])[-1:]).data[0]
        logits[0] = -np.inf  # no character
        ids.append(choose(logits))
        if ids[-1] == vocab[START]:  # the end of a text is the start of the next
            ids.pop()
            break
    return "".join(character[i] for i in ids[1:])


def find_package() -> Path:
    """The folder of the installed package. Raises ImportError with what to do where there is none."""
    try:
        return Path(str(importlib.metadata.distribution("textgenrnn").locate_file("textgenrnn")))
    except importlib.metadata.PackageNotFoundError:
        raise ImportError("the weights are in another package: pip install --no-deps textgenrnn==2.0.0") from None


def main() -> None:
    model, vocab = load(find_package())
    print(f"{model.num_parameters():,} parameters, {len(vocab)} characters")
    print(f"{bits_per_character(model, vocab, TEXT):.2f} bits a character of plain English")
    for seed in range(3):
        print("-", write(model, vocab, characters=80, seed=seed))


if __name__ == "__main__":
    main()
