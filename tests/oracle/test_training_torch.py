"""Training curves and gradients equal PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch_models import TorchGPT2, TorchRecurrent, take_weights, torch_name, torch_optimizer, torch_step

from tinylm.models import FAMILIES, GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.optim import AdamW, clip_scale, make_schedule, parameter_groups

pytestmark = pytest.mark.oracle

V, B, T, STEPS = 61, 5, 19, 50


def models(kind: str, dtype):
    init = Initializer(3, dtype)
    if kind == "gpt2":
        config = GPT2Config(V, n_positions=T, n_embd=36, n_layer=3, n_head=3, initializer_range=0.2)
        ours, theirs = GPT2(config, init), TorchGPT2(config)
    else:
        family = FAMILIES[kind]
        config = family.config_class(V, embedding_size=23, hidden_size=37, num_layers=2)
        ours, theirs = family(config, init), TorchRecurrent(config)
    return ours, take_weights(theirs, ours.state_dict())


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-9)])
@pytest.mark.parametrize("kind", ["gpt2", "lstm", "gru"])
def test_fifty_steps_of_training_follow_the_same_curve(kind: str, dtype, tolerance: float) -> None:
    ours, theirs = models(kind, dtype)
    optimizer = AdamW(parameter_groups(ours, 0.1), betas=(0.9, 0.99))
    torch_adamw = torch_optimizer(theirs, betas=(0.9, 0.99), weight_decay=0.1)
    peak = 3e-3 if kind == "gpt2" else 2e-2  # from its small first weights an LSTM sets out slowly
    schedule = make_schedule("cosine", peak=peak, final=1e-4, warmup=5, steps=STEPS)
    # Text with structure, so that there is something to learn and the loss moves.
    text = np.cumsum(np.random.default_rng(0).integers(0, 4, 4000)) % V
    rng = np.random.default_rng(1)
    curves = []
    for step in range(STEPS):
        starts = rng.integers(0, len(text) - T - 1, B)
        ids = np.stack([text[s : s + T + 1] for s in starts])
        optimizer.zero_grad()
        loss = ours.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step(schedule(step), scale=clip_scale(optimizer.gradient_norm(), 1.0))
        curves.append((loss.item(), torch_step(theirs, torch_adamw, ids, lr=schedule(step), clip=1.0)))
    mine, torchs = np.array(curves).T
    assert mine[-1] < 0.8 * mine[0]
    assert np.abs(mine / torchs - 1).max() < tolerance


@pytest.mark.parametrize("kind", ["gpt2", "lstm", "gru"])
def test_every_gradient_is_the_same(kind: str) -> None:
    ours, theirs = models(kind, np.float64)
    ids = np.random.default_rng(0).integers(0, V, (B, T + 1))
    ours.loss(ids[:, :-1], ids[:, 1:]).backward()
    batch = torch.from_numpy(ids)
    theirs.loss(batch[:, :-1], batch[:, 1:]).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        expected = gradients[torch_name(name)].numpy()
        assert np.abs(parameter.grad - expected).max() < 1e-12 * max(1, np.abs(expected).max()), name
