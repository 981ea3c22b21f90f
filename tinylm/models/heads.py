"""The heads of encoders: what becomes of the hidden states, and the loss of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Parameter, Tensor
from tinylm.autograd import functional as F
from tinylm.nn import Dropout, Initializer, LayerNorm, Linear, Module

__all__ = [
    "LAST",
    "MEAN",
    "MULTI_LABEL",
    "REGRESSION",
    "SINGLE_LABEL",
    "ClassificationHead",
    "Head",
    "MaskedLanguageHead",
    "PooledHead",
    "SpanHead",
    "TokenHead",
    "label_loss",
]


class Head(Module):
    """Maps hidden states (B, T, C) to what a task asks for."""

    def loss(self, x: Tensor, targets: Any, *, label_smoothing: float) -> Tensor:
        """The mean loss of hidden states x (B, T, C)."""
        raise TypeError(f"{type(self).__name__} defines no loss")


class MaskedLanguageHead(Head):
    """The logits (B, T, V) of the token at each place: norm(activation(W x + b)) weight^T + bias.

    weight: (V, C), the token embedding.
    """

    def __init__(
        self,
        weight: Parameter,
        init: Initializer,
        *,
        activation: Callable[[Tensor], Tensor],
        eps: float,
        std: float,
    ):
        vocab_size, channels = weight.shape
        self.transform = Linear(channels, channels, init, std=std)
        self.norm = LayerNorm(channels, init, eps=eps)
        self.weight, self.bias = weight, init.zeros(vocab_size)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(self.activation(self.transform(x))), self.weight, self.bias)

    def loss(self, x: Tensor, targets: np.ndarray, *, label_smoothing: float) -> Tensor:
        """targets: (B, T), the token of each place that counts, -100 elsewhere: only places that count get logits."""
        flat = targets.reshape(-1)
        rows = np.nonzero(flat != K.IGNORE)[0]
        logits = self(F.reshape(x, shape=(-1, x.shape[-1]))[rows])
        return F.cross_entropy(logits, flat[rows], label_smoothing=label_smoothing, in_place=True)


class ClassificationHead(Head):
    """The logits (B, labels) of a text, from its first token: W2 drop(activation(W1 x + b1)) + b2.

    problem: as `label_loss` takes it.
    """

    def __init__(
        self,
        channels: int,
        labels: int,
        init: Initializer,
        *,
        activation: Callable[[Tensor], Tensor],
        problem: str | None,
        dropout: float,
        site: int,
        std: float,
    ):
        self.pooler = Linear(channels, channels, init, std=std)
        self.dropout = Dropout(dropout, site)
        self.classifier = Linear(channels, labels, init, std=std)
        self.activation, self.problem = activation, problem

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.activation(self.pooler(x[:, 0]))))

    def loss(self, x: Tensor, targets: np.ndarray, *, label_smoothing: float) -> Tensor:
        """targets: as `label_loss` takes them."""
        return label_loss(self(x), targets, self.problem, label_smoothing=label_smoothing)


SINGLE_LABEL, MULTI_LABEL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


def label_loss(
    logits: Tensor,
    targets: np.ndarray,
    problem: str | None = None,
    weights: np.ndarray | None = None,
    *,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The mean loss of the logits (B, labels) of texts.

    problem: "single_label_classification", "multi_label_classification" (each label yes or no) or "regression"; where
    None the targets decide: one label is a regression, integers are single labels, floats many. targets: (B,) integers,
    single labels; (B, labels) of 0 and 1, many; (B,) or (B, labels) floats, values. weights: (B,), of single labels.
    """
    labels = logits.shape[-1]
    problem = problem or (REGRESSION if labels == 1 else SINGLE_LABEL if targets.dtype.kind in "iu" else MULTI_LABEL)
    if problem == SINGLE_LABEL:
        weights = None if weights is None else weights.astype(logits.dtype)
        return F.cross_entropy(logits, targets, weights, label_smoothing=label_smoothing)
    wanted = targets.reshape(logits.shape).astype(logits.dtype)
    if problem == MULTI_LABEL:
        return F.binary_cross_entropy(logits, wanted)
    difference = logits - wanted
    return (difference * difference).mean()


LAST, MEAN = "last", "mean"


class PooledHead(Head):
    """The logits (B, labels) of a text, from its last token or the mean of all of them: W x.

    pooling: LAST or MEAN.
    """

    def __init__(self, channels: int, labels: int, init: Initializer, *, pooling: str, std: float):
        self.classifier = Linear(channels, labels, init, std=std, bias=False)
        self.pooling = pooling

    def forward(self, x: Tensor, key_mask: np.ndarray | None = None) -> Tensor:
        """x: (B, T, C); key_mask: (B, T) bool, False for padding on the right."""
        B, T, _ = x.shape
        lengths = np.full(B, T) if key_mask is None else key_mask.sum(axis=1)
        if self.pooling == LAST:
            return self.classifier(x[np.arange(B), np.maximum(lengths, 1) - 1])
        counted = np.arange(T) < lengths[:, None]
        shares = (counted / np.maximum(lengths, 1)[:, None]).astype(x.dtype)
        return self.classifier((x * shares[..., None]).sum(axis=1))


class TokenHead(Head):
    """The logits (B, T, labels) of each token."""

    def __init__(self, channels: int, labels: int, init: Initializer, *, dropout: float, site: int, std: float):
        self.dropout = Dropout(dropout, site)
        self.classifier = Linear(channels, labels, init, std=std)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(x))

    def loss(self, x: Tensor, targets: np.ndarray, *, label_smoothing: float) -> Tensor:
        """targets: (B, T), -100 where a token does not count."""
        return F.cross_entropy(self(x), targets, label_smoothing=label_smoothing)


class SpanHead(Head):
    """Where a span begins and where it ends: the logits (B, T, 2) of each token. Extractive question answering."""

    def __init__(self, channels: int, init: Initializer, *, std: float):
        self.ends = Linear(channels, 2, init, std=std)

    def forward(self, x: Tensor) -> Tensor:
        return self.ends(x)

    def loss(self, x: Tensor, targets: np.ndarray, *, label_smoothing: float) -> Tensor:
        """targets: (B, 2), the first and the last token of the span; places outside of the T tokens do not count."""
        logits = self(x)
        inside = np.where((targets >= 0) & (targets < logits.shape[1]), targets, K.IGNORE)
        losses = [F.cross_entropy(logits[:, :, end], inside[:, end], label_smoothing=label_smoothing) for end in (0, 1)]
        return (losses[0] + losses[1]) * 0.5
