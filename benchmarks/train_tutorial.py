"""A training step of the tutorial's LSTM, in tinylm, PyTorch and Keras: the workers of `bench_train` for its model (d).

    Sequential([Embedding(10000, 64), LSTM(64, return_sequences=True), Dense(10000, activation="softmax")])

with Adam, cross-entropy and the accuracy of each batch, as `fit` computes them. Targets are integers, in all engines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from engines import keep_freed_memory, serve

BATCH, STEPS, VOCABULARY, WIDTH = 64, 32, 10000, 64
WORDS = "the tutorial's LSTM, 1.3M parameters"


def tinylm_worker(pipe: Any, name: str, threads: int, memory_kept: bool = False) -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(threads)
    if memory_kept:
        keep_freed_memory()
    import tinylm.sequential

    model, batches = _build(tinylm.sequential), random_batches()
    serve(pipe, lambda: model.train_on_batch(*next(batches))[0])


def keras_worker(pipe: Any, name: str, threads: int, memory_kept: bool = False) -> None:
    """Keras on its TensorFlow backend, compiled as `compile` chooses by itself."""
    os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "tensorflow", "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if memory_kept:
        keep_freed_memory()
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    model, batches = _build(keras), random_batches()

    def step() -> float:
        model.reset_metrics()  # or the loss would be the mean of all steps
        return float(model.train_on_batch(*next(batches))[0])

    serve(pipe, step)


def torch_worker(pipe: Any, name: str, threads: int, memory_kept: bool = False, onednn: bool = True) -> None:
    if memory_kept:
        keep_freed_memory()
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    torch.backends.mkldnn.flags(enabled=onednn).__enter__()
    model = torch.nn.ModuleList(
        [
            torch.nn.Embedding(VOCABULARY, WIDTH),
            torch.nn.LSTM(WIDTH, WIDTH, batch_first=True),
            torch.nn.Linear(WIDTH, VOCABULARY),
        ]
    )
    table, kernel, recurrent, bias, dense, dense_bias = first_weights()
    # The gates stand in one order, i f g o; the second bias of PyTorch's LSTM is zero.
    values = [table, kernel.T, recurrent.T, bias, np.zeros_like(bias), dense.T, dense_bias]
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    batches = random_batches()

    def step() -> float:
        x, y = (torch.from_numpy(a) for a in next(batches))
        embedding, lstm, head = model
        logits = head(lstm(embedding(x))[0])
        loss = torch.nn.functional.cross_entropy(logits.view(-1, VOCABULARY), y.view(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        (logits.argmax(-1) == y).float().mean().item()
        return loss.item()

    serve(pipe, step)


def _build(keras: Any) -> Any:
    """The model of Keras, or of ours in Keras' clothes, with the first weights."""
    L = keras.layers
    model = keras.Sequential(
        [
            L.Embedding(VOCABULARY, WIDTH),
            L.LSTM(WIDTH, return_sequences=True),
            L.Dense(VOCABULARY, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.build((None, STEPS))
    model.set_weights(first_weights())
    return model


def first_weights() -> list[Any]:
    """In Keras' order and layout."""
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = [
        (VOCABULARY, WIDTH),
        (WIDTH, 4 * WIDTH),
        (WIDTH, 4 * WIDTH),
        (4 * WIDTH,),
        (WIDTH, VOCABULARY),
        (VOCABULARY,),
    ]
    return [rng.uniform(-0.1, 0.1, shape).astype(np.float32) for shape in shapes]


def random_batches() -> Iterator[tuple[Any, Any]]:
    import numpy as np

    rng = np.random.default_rng(0)
    while True:
        ids = rng.integers(0, VOCABULARY, (BATCH, STEPS + 1))
        yield ids[:, :-1].copy(), ids[:, 1:].copy()
