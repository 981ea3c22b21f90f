"""Blocks that are computed again in the backward pass: the same bits, for less memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tinylm.autograd import Observer, Operation, Parameter, Tensor, checkpoint, no_grad, observe
from tinylm.autograd import functional as F
from tinylm.errors import TinylmError
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer, random_step
from tinylm.optim import AdamW, parameter_groups
from tinylm.tasks import new_model, prepare_model, resolve_settings

V, B, T = 31, 3, 20


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def gpt2(dtype=np.float32, dropout: float = 0.2, **settings) -> GPT2:
    chosen = {"n_positions": T, "n_embd": 24, "n_layer": 3, "n_head": 2, "initializer_range": 0.2, **settings}
    return GPT2(GPT2Config(V, resid_pdrop=dropout, embd_pdrop=dropout, **chosen), Initializer(0, dtype)).train()


def batch(step: int = 0) -> np.ndarray:
    return np.random.default_rng(step).integers(0, V, (B, T + 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ten_steps_of_training_give_the_same_bits(dtype) -> None:
    curves, weights = [], []
    for gradient_checkpointing in (False, True):
        model = gpt2(dtype)
        model.gradient_checkpointing = gradient_checkpointing
        optimizer = AdamW(parameter_groups(model, 0.1))
        losses = []
        for step in range(10):
            ids = batch(step)
            optimizer.zero_grad()
            for row in range(B):  # in slices, so that gradients add up in the optimizer's buffers
                with random_step(seed=1, step=step, first_row=row):
                    loss = model.loss(ids[row : row + 1, :-1], ids[row : row + 1, 1:])
                    loss.backward(1 / B)
                losses.append(loss.item())
            losses.append(optimizer.gradient_norm())
            optimizer.step(1e-2)
        curves.append(losses)
        weights.append(model.state_dict())
    assert curves[0] == curves[1]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_backward_pass_may_run_after_the_step_that_its_masks_belong_to() -> None:
    gradients = []
    for gradient_checkpointing in (False, True):
        model, ids = gpt2(np.float64), batch()
        model.gradient_checkpointing = gradient_checkpointing
        with random_step(seed=1, step=5):
            loss = model.loss(ids[:, :-1], ids[:, 1:])
        with random_step(seed=2, step=6):
            loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert all(np.array_equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_a_cache_is_filled_once() -> None:
    model, ids = gpt2(dropout=0.0).eval(), batch()[:, :T]
    expected = model(ids).data
    model.gradient_checkpointing = True
    cache = model.new_cache(B)
    model(ids[:, :7], cache)
    assert np.allclose(model(ids[:, 7:], cache).data, expected[:, 7:], atol=1e-5)
    assert cache.length == T
    with no_grad():
        assert np.array_equal(model(ids).data, expected)


class Recorder(Observer):
    """What was seen: names with their places, and the gradients by them."""

    def __init__(self) -> None:
        self.forwards: list[tuple[str, str]] = []
        self.gradients: dict[tuple[str, str], np.ndarray] = {}

    def forward(self, operation: Operation) -> None:
        self.forwards.append((operation.path, operation.name))

    def backward(self, operation: Operation) -> None:
        if operation.name != "checkpoint":
            assert (operation.path, operation.name) not in self.gradients
            self.gradients[operation.path, operation.name] = operation.gradients[0].copy()


def test_an_observer_sees_every_operation_once_in_its_place() -> None:
    recorders = []
    for gradient_checkpointing in (False, True):
        model, ids = gpt2(np.float64, dropout=0.0), batch()
        model.gradient_checkpointing = gradient_checkpointing
        with observe(Recorder()) as recorder:
            loss = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        recorders.append(recorder)
    plain, again = recorders
    assert [seen for seen in again.forwards if seen[1] != "checkpoint"] == plain.forwards
    assert set(again.gradients) == set(plain.gradients)
    assert all(np.array_equal(again.gradients[place], plain.gradients[place]) for place in plain.gradients)


def test_several_inputs_and_outputs_and_what_is_no_tensor_pass_through() -> None:
    def function(a: Tensor, mask: np.ndarray, nothing: None, b: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        assert nothing is None
        return (a * b).tanh() * mask, a + scale, b.detach() * 2.0

    gradients = []
    for run in (function, lambda *inputs: checkpoint(function, *inputs)):
        a, b = Tensor(normal(3, 4), requires_grad=True), Tensor(normal(4, seed=1))
        first, second, third = run(a, normal(3, 4, seed=2) > 0, None, b, 0.5)
        assert not b.requires_grad
        (first * second * third).sum().backward()
        gradients.append(a.grad)
    assert np.array_equal(*gradients)


def test_an_input_that_is_not_used_gets_zeros() -> None:
    a, b = Tensor(normal(3), requires_grad=True), Tensor(normal(3), requires_grad=True)
    checkpoint(lambda a, b: a * 2.0, a, b).sum().backward()
    assert np.array_equal(b.grad, np.zeros(3))


def test_parameters_learn_also_where_no_input_needs_a_gradient() -> None:
    weight = Parameter(normal(5, 4))
    checkpoint(lambda x: F.linear(x, weight), Tensor(normal(3, 4))).sum().backward()
    assert np.allclose(weight.grad, normal(3, 4).sum(axis=0))


def test_checkpoints_within_checkpoints_give_the_same_gradients() -> None:
    weight = Parameter(normal(4, 4))

    def layer(x: Tensor) -> Tensor:
        return F.linear(x, weight).tanh()

    x = Tensor(normal(3, 4), requires_grad=True)
    layer(layer(x)).sum().backward()
    expected, weight.grad = weight.grad, None
    checkpoint(lambda x: layer(checkpoint(layer, x)), x).sum().backward()
    assert np.array_equal(weight.grad, expected)


def test_the_setting_reaches_the_model_and_a_family_without_blocks_refuses_it() -> None:
    model = new_model(resolve_settings({}), 256)
    prepare_model(model, resolve_settings({}))
    assert not model.gradient_checkpointing
    prepare_model(model, resolve_settings({"gradient_checkpointing": "true"}))
    assert model.gradient_checkpointing
    settings = resolve_settings({"gradient_checkpointing": True, "model": "lstm"})
    with pytest.raises(TinylmError, match="lstm has no blocks"):
        prepare_model(new_model(settings, 256), settings)


PEAK = """
import sys, tracemalloc
import numpy as np
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm_kernels import use
model = GPT2(GPT2Config(31, n_positions=64, n_embd=64, n_layer=8, n_head=2), Initializer(0))
model.gradient_checkpointing = sys.argv[1] == "True"
ids = np.zeros((16, 65), np.int64)
with use("numpy"):  # the references allocate with NumPy alone, which reports to tracemalloc
    tracemalloc.start()
    model.loss(ids[:, :-1], ids[:, 1:]).backward()
print(tracemalloc.get_traced_memory()[1])
"""


def test_a_deep_model_needs_less_than_half_of_the_memory() -> None:
    peaks = []
    for gradient_checkpointing in (False, True):
        command = [sys.executable, "-c", PEAK, str(gradient_checkpointing)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 0.5 * peaks[0]


def test_encoders_and_encoder_decoders_learn_from_the_same_bits() -> None:
    from test_encoders import ENCODER_DECODERS, bert, distilbert, ids

    mask = np.array([[True] * 5, [False] + [True] * 4])
    for make in (lambda: bert("masked_language"), lambda: distilbert("masked_language"), *ENCODER_DECODERS.values()):
        gradients = []
        for again in (False, True):
            model = make().train()
            model.gradient_checkpointing = again
            with random_step(seed=1, step=2):
                loss = model.loss(ids(2, 5), ids(2, 5)[:, ::-1], key_mask=mask)
            loss.backward()
            gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
        assert all(np.array_equal(gradients[0][name], gradients[1][name]) for name in gradients[0])
