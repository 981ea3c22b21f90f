"""The LSTM that most tutorials on language models begin with, on text that every Python carries.

    python examples/keras_tutorial.py

Below the words "the tutorial", the program is Keras' but for its imports. It learns to predict the next word from the
words before it, and then continues a text with the likeliest ones.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter

import numpy as np

import tinylm

tinylm.prepare_process()  # before the first model: keeps memory for the next step instead of giving it back

from tinylm import LSTM, Dense, Embedding, Sequential  # noqa: E402 - a script prepares its process first
from tinylm.data import builtin_corpus  # noqa: E402 - as above

STEPS = 32  # words a sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=int, help="use only so many samples of 32 words")
    options = parser.parse_args()
    words, ids = words_and_ids()
    rows = len(ids) // (STEPS + 1)
    ids = ids[: rows * (STEPS + 1)].reshape(rows, STEPS + 1)[: options.samples]
    x, y = ids[:, :-1], ids[:, 1:]

    # The tutorial. Targets are integers here: one-hot rows of 10,000 words would take gigabytes.
    model = Sequential(
        [
            Embedding(10000, 64),
            LSTM(64, return_sequences=True),
            Dense(10000, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=options.epochs, batch_size=64)
    model.summary()

    text = ["the", "value", "of", "the"]
    for _ in range(12):
        p = model.predict(np.array([[words.index(word) for word in text]]))[0, -1]
        p[0] = 0  # the words that are not among the 10,000
        text.append(words[int(p.argmax())])
    print("\n" + " ".join(text))


def words_and_ids() -> tuple[list[str], np.ndarray]:
    """The 10,000 most frequent words, the first standing for all others, and the text in their numbers."""
    text = "".join(builtin_corpus().chunks())
    tokens = re.findall(r"\w+|[^\w\s]", text.lower())
    words = ["?", *[word for word, _ in Counter(tokens).most_common(9999)]]
    number = {word: id for id, word in enumerate(words)}
    return words, np.array([number.get(token, 0) for token in tokens])


if __name__ == "__main__":
    main()
