"""Stacks of recurrent layers in both directions, over rows of different lengths, against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tinylm.autograd import Tensor
from tinylm.nn import GRU, LSTM, Initializer

pytestmark = pytest.mark.oracle

B, T, INPUTS, H, LAYERS = 4, 9, 5, 6, 2
LENGTHS = np.array([9, 1, 4, 9])


def twin(ours, kind: str):
    """PyTorch's layer with our weights; an LSTM's second bias is zero."""
    theirs = getattr(torch.nn, kind)(INPUTS, H, LAYERS, batch_first=True, bidirectional=True, dtype=torch.float64)
    with torch.no_grad():
        for number, direction in enumerate(ours.directions):
            suffix = f"_l{number // 2}" + ("_reverse" if number % 2 else "")
            biases = (direction.bias, None) if kind == "LSTM" else (direction.b_input, direction.b_hidden)
            arrays = {"weight_ih": direction.w_input, "weight_hh": direction.w_hidden}
            arrays |= {"bias_ih": biases[0], "bias_hh": biases[1]}
            for name, p in arrays.items():
                target = getattr(theirs, name + suffix)
                target.copy_(torch.zeros_like(target) if p is None else torch.from_numpy(p.data))
    return theirs


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_two_layers_in_both_directions_with_lengths(kind: str) -> None:
    ours = {"LSTM": LSTM, "GRU": GRU}[kind](INPUTS, H, Initializer(0, np.float64), layers=LAYERS, bidirectional=True)
    theirs = twin(ours, kind)
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((B, T, INPUTS)), rng.standard_normal((B, T, 2 * H))
    leaf, torch_leaf = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, state = ours(leaf, lengths=LENGTHS)
    (y * Tensor(dy)).sum().backward()
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch_leaf, torch.from_numpy(LENGTHS), True, enforce_sorted=False)
    packed_y, last = theirs(packed)
    torch_y, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_y, batch_first=True, total_length=T)
    (torch_y * torch.from_numpy(dy)).sum().backward()
    assert np.allclose(y.data, torch_y.detach().numpy(), rtol=1e-12, atol=1e-14)
    assert np.allclose(leaf.grad, torch_leaf.grad.numpy(), rtol=1e-10, atol=1e-12)
    for arrays, expected in zip(zip(*state, strict=True), last if kind == "LSTM" else (last,), strict=True):
        assert np.allclose(np.stack([a.data for a in arrays]), expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    gradient = ours.directions[3].w_hidden.grad
    assert np.allclose(gradient, theirs.weight_hh_l1_reverse.grad.numpy(), rtol=1e-10, atol=1e-12)
