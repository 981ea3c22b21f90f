"""The model families: causality, caches, folders, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.autograd import Observer, check_gradients, no_grad, observe
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import load_model, save_model
from tinylm.inference import generate
from tinylm.models import (
    GPT2,
    CausalLanguageModel,
    GPT2Config,
    GPTNeoX,
    GPTNeoXConfig,
    GRUConfig,
    GRULanguageModel,
    Llama,
    LlamaConfig,
    LSTMConfig,
    LSTMLanguageModel,
    Mistral,
    MistralConfig,
    Qwen2,
    Qwen2Config,
)
from tinylm.nn import Initializer, random_step
from tinylm.optim import AdamW, parameter_groups
from tinylm.tasks import new_model, resolve_settings
from tinylm.text import CharTokenizer

V = 11


def gpt2(dtype=np.float64, **settings) -> GPT2:
    chosen = {"n_positions": 9, "n_embd": 12, "n_layer": 2, "n_head": 3, "initializer_range": 0.2, **settings}
    return GPT2(GPT2Config(V, **chosen), Initializer(0, dtype))


def lstm(dtype=np.float64, **settings) -> LSTMLanguageModel:
    chosen = {"embedding_size": 5, "hidden_size": 7, "num_layers": 2, **settings}
    return LSTMLanguageModel(LSTMConfig(V, **chosen), Initializer(0, dtype))


def gru(dtype=np.float64, **settings) -> GRULanguageModel:
    chosen = {"embedding_size": 5, "hidden_size": 7, "num_layers": 2, **settings}
    return GRULanguageModel(GRUConfig(V, **chosen), Initializer(0, dtype))


LLAMA = {
    "hidden_size": 12,
    "intermediate_size": 17,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 9,
    "initializer_range": 0.2,
}


def llama(dtype=np.float64, family=Llama, config=LlamaConfig, **settings) -> Llama:
    return family(config(V, **{**LLAMA, **settings}), Initializer(0, dtype))


def mistral(dtype=np.float64) -> Mistral:
    return llama(dtype, Mistral, MistralConfig, sliding_window=3)


def qwen2(dtype=np.float64) -> Qwen2:
    window = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}
    return llama(dtype, Qwen2, Qwen2Config, tie_word_embeddings=True, **window)


def gpt_neox(dtype=np.float64, **settings) -> GPTNeoX:
    sizes = {"hidden_size": 12, "intermediate_size": 17, "num_hidden_layers": 2, "num_attention_heads": 2}
    chosen = {"rotary_pct": 0.67, "max_position_embeddings": 9, "initializer_range": 0.2}
    return GPTNeoX(GPTNeoXConfig(V, **sizes, **chosen, **settings), Initializer(0, dtype))


MODELS = {
    "gpt2": gpt2,
    "gpt2_untied": lambda dtype=np.float64: gpt2(dtype, tie_word_embeddings=False, n_inner=17),
    "gpt2_relu": lambda dtype=np.float64: gpt2(dtype, activation_function="relu"),
    "llama": llama,
    "mistral": mistral,
    "qwen2": qwen2,
    "gpt_neox": gpt_neox,
    "gpt_neox_sequential": lambda dtype=np.float64: gpt_neox(dtype, use_parallel_residual=False),
    "lstm": lstm,
    "lstm_tied": lambda dtype=np.float64: lstm(dtype, embedding_size=7, tie_word_embeddings=True),
    "lstm_peepholes": lambda dtype=np.float64: lstm(dtype, peepholes=True),
    "gru": gru,
    "gru_reset_before": lambda dtype=np.float64: gru(dtype, reset_after=False),
}


@pytest.fixture(params=MODELS)
def model(request) -> CausalLanguageModel:
    return MODELS[request.param]()


def ids(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, V, shape)


def test_changing_a_token_leaves_the_logits_before_it_alone(model) -> None:
    first = ids(2, 8)
    second = first.copy()
    second[:, 5] = (second[:, 5] + 1) % V
    before, after = model(first).data, model(second).data
    assert np.array_equal(before[:, :5], after[:, :5])
    assert not np.allclose(before[:, 5:], after[:, 5:])


def test_the_cache_changes_nothing(model) -> None:
    tokens = ids(2, 9)
    with no_grad():
        whole = model(tokens).data
        cache = model.new_cache(2)
        parts = [model(tokens[:, a:b], cache).data for a, b in ((0, 4), (4, 5), (5, 9))]
    assert cache.length == 9
    assert np.allclose(np.concatenate(parts, axis=1), whole, rtol=1e-10, atol=1e-12)


def test_a_row_of_a_batch_equals_the_row_alone(model) -> None:
    tokens = ids(3, 6)
    whole = model(tokens).data
    assert np.allclose(whole[1:2], model(tokens[1:2]).data, rtol=1e-11, atol=1e-13)
    assert np.allclose(model(tokens[::-1]).data, whole[::-1], rtol=1e-11, atol=1e-13)


def test_the_gradient_of_the_loss_reaches_every_parameter(model) -> None:
    names, parameters = zip(*model.named_parameters(), strict=True)
    tokens = ids(2, 7)

    def loss(*weights):
        for (module, attribute), weight in zip(places, weights, strict=True):
            setattr(module, attribute, weight)
        return model.loss(tokens[:, :-1], tokens[:, 1:])

    places = [
        (module, attribute)
        for parameter in parameters
        for _, module in model.named_modules()
        for attribute, value in vars(module).items()
        if value is parameter
    ]
    assert len(places) == len(parameters)
    # A small step, since a longer one would cross kinks of relu.
    check_gradients(loss, *[p.data for p in parameters], step=1e-8)
    assert len(names) == len(set(names))


def test_a_saved_model_gives_the_same_logits(tmp_path: Path, model) -> None:
    model.astype(np.float32)
    save_model(tmp_path / "m", model, CharTokenizer("abcdefghijk"), {"data": "made up"})
    again = load_model(tmp_path / "m")
    # Not to the bit: a matrix stored transposed takes another path through the matrix product.
    assert np.allclose(again(ids(2, 5)).data, model(ids(2, 5)).data, rtol=1e-5, atol=1e-5)
    assert json.loads((tmp_path / "m" / "tinylm.json").read_text())["data"] == "made up"
    lm = tinylm.load(tmp_path / "m")
    assert lm.generate("abc", max_tokens=5, seed=1) == lm.generate("abc", max_tokens=5, seed=1)


def test_weights_are_mapped_and_not_copied(tmp_path: Path) -> None:
    save_model(tmp_path / "m", gpt2(np.float32))
    for parameter in load_model(tmp_path / "m").parameters():
        assert not parameter.data.flags.owndata
        assert not parameter.data.flags.writeable


BROKEN = {
    "there is no such": lambda folder: folder.rename(folder.with_name("elsewhere")),
    "no config.json": lambda folder: (folder / "config.json").unlink(),
    "malformed JSON": lambda folder: (folder / "config.json").write_text("{"),
    "model_type is 'mamba'": lambda folder: edit(folder, model_type="mamba"),
    "n_embd is 'x'": lambda folder: edit(folder, n_embd="x"),
    "n_head": lambda folder: edit(folder, n_head=5),
    "'vocab_size' is missing": lambda folder: edit(folder, vocab_size=...),
    "has shape": lambda folder: edit(folder, n_embd=24),
    "unknown|missing": lambda folder: edit(folder, n_layer=3),
    "gelu_magic": lambda folder: edit(folder, activation_function="gelu_magic"),
    "mlp.c_fc.weight has shape|has shape": lambda folder: edit(folder, n_inner=5),
    "scale_attn_by_inverse_layer_idx": lambda folder: edit(folder, scale_attn_by_inverse_layer_idx=True),
    "model.safetensors: is missing": lambda folder: (folder / "model.safetensors").unlink(),
    "convert to safetensors": lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
    "safetensors": lambda folder: (folder / "model.safetensors").write_bytes(b"short"),
}


def edit(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    config = {k: v for k, v in {**config, **changes}.items() if v is not ...}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_model_folder_is_named_with_its_reason(tmp_path: Path, words: str) -> None:
    folder = tmp_path / "model"
    save_model(folder, gpt2(np.float32))
    BROKEN[words](folder)
    with pytest.raises(FileFormatError, match=words):
        load_model(folder)


BROKEN_LLAMA = {
    "rope_type='yarn' is not supported": {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
    "rope_type='linear' needs its settings": {"rope_scaling": {"type": "linear"}},
    "hidden_act is 'gelu'": {"hidden_act": "gelu"},
    "pretraining_tp=2 is not supported": {"pretraining_tp": 2},
    "k_proj.weight has shape|q_proj.weight has shape": {"head_dim": 6},
    "num_key_value_heads 3": {"num_key_value_heads": 3},
    "rope_scaling is 5, expected dict": {"rope_scaling": 5},
}


@pytest.mark.parametrize("words", BROKEN_LLAMA)
def test_a_llama_folder_that_would_compute_something_else_is_refused(tmp_path: Path, words: str) -> None:
    save_model(tmp_path, llama(np.float32))
    edit(tmp_path, **BROKEN_LLAMA[words])
    with pytest.raises(FileFormatError, match=words):
        load_model(tmp_path)


def test_padding_on_either_side_changes_nothing(model) -> None:
    tokens = ids(1, 5)
    mask = np.array([[False] * 2 + [True] * 5 + [False] * 2])
    padded = np.pad(tokens, ((0, 0), (2, 2)))
    if isinstance(model, GPT2):  # its positions are absolute, and transformers counts padding as well
        mask, padded = mask[:, 2:], padded[:, 2:]
    if model.model_type in ("lstm", "gru"):
        with pytest.raises(TinylmError, match="mask none"):
            model(padded, key_mask=mask)
        return
    assert np.allclose(model(padded, key_mask=mask).data[mask], model(tokens).data[0], rtol=1e-10, atol=1e-12)


def test_padding_behind_a_cache_changes_nothing() -> None:
    model, tokens = llama(), ids(2, 9)
    mask = np.ones((2, 9), bool)
    mask[0, :2] = False
    with no_grad():
        whole = model(tokens, key_mask=mask).data
        cache = model.new_cache(2)
        parts = [model(tokens[:, a:b], cache, mask[:, :b]).data for a, b in ((0, 4), (4, 5), (5, 9))]
    assert np.allclose(np.concatenate(parts, axis=1)[mask], whole[mask], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", [lstm, gru])
def test_a_recurrent_model_generates_in_constant_time_and_memory_a_token(make) -> None:
    model = make()
    work: list[int] = []  # numbers that the operations of a token read and write

    class Work(Observer):
        def forward(self, operation) -> None:
            work[-1] += sum(a.size for a in (*operation.inputs, *operation.outputs) if a is not None)

    cache = model.new_cache(1)
    with observe(Work()), no_grad():
        for token in range(200):
            work.append(0)
            model(np.array([[token % V]]), cache)
    each = work[0]
    assert set(work) == {each}
    assert cache.length == 200
    states = 2 if make is lstm else 1
    assert sum(s.size for layer in cache.state for s in layer) == states * 2 * 7
    assert not any(s.requires_grad for layer in cache.state for s in layer)

    def choose(logits: np.ndarray) -> int:
        work.append(0)
        return int(logits.argmax())

    work[:] = [0]
    with observe(Work()):
        list(generate(model, [1], choose, max_tokens=20))
    assert work == [each] * 20 + [0]


def test_variational_dropout_repeats_its_mask_and_reaches_every_place() -> None:
    model = gru(dropout=0.5, variational_dropout=True).train()
    masks: dict[str, np.ndarray] = {}

    class Masks(Observer):
        def forward(self, operation) -> None:
            if operation.name == "dropout":
                masks[operation.path] = operation.outputs[0]

    with random_step(seed=0, step=0), observe(Masks()):
        model(ids(3, 6))
    assert set(masks) == {"dropout_in", "recurrent.dropouts.0", "dropout_out"}
    assert {mask.shape for mask in masks.values()} == {(3, 1, 5), (3, 1, 7)}
    assert all(set(np.unique(mask)) == {0, 2} for mask in masks.values())


def test_a_loss_in_chunks_is_that_of_all_logits_and_so_are_its_gradients(monkeypatch) -> None:
    many, rng = 5000, np.random.default_rng(0)
    model = GPT2(GPT2Config(many, n_positions=100, n_embd=8, n_layer=1, n_head=2), Initializer(0))
    batch, targets = rng.integers(0, many, (2, 18, 100))
    targets[:, 90:] = -100
    seen: list[tuple[str, str]] = []

    class Seen(Observer):
        def forward(self, operation) -> None:
            seen.append((operation.path, operation.name))

    def loss_and_gradients() -> dict[str, np.ndarray]:
        model.zero_grad()
        with observe(Seen()):
            loss = model.loss(batch, targets, label_smoothing=0.1)
        loss.backward()
        return {"loss": loss.data} | {name: parameter.grad for name, parameter in model.named_parameters()}

    chunks = loss_and_gradients()
    assert seen[-1] == ("", "linear_cross_entropy")
    assert ("blocks.0.attention", "self_attention") in seen
    with no_grad():
        assert np.allclose(model.loss(batch, targets, label_smoothing=0.1).data, chunks["loss"], rtol=1e-6)
    monkeypatch.setattr("tinylm.models.language_model._saves_memory", lambda *sizes: False)
    apart = loss_and_gradients()
    assert seen[-1] == ("", "cross_entropy")
    for name, expected in apart.items():
        np.testing.assert_allclose(chunks[name], expected, rtol=1e-4, atol=1e-5 * abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neox"])
def test_the_dials_of_training_build_every_decoder_and_it_learns(name: str) -> None:
    chosen = {"model": name, "width": 16, "layers": 2, "heads": 4, "context": 12, "kv_heads": 2 * (name == "llama")}
    model = new_model(resolve_settings(chosen), 11)
    assert (model.model_type, model.context, model.config.tie_word_embeddings) == (name, 12, True)
    optimizer = AdamW(parameter_groups(model, 0.0))
    tokens = np.arange(13)[None] * np.array([[1], [2], [3]]) % V
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        optimizer.step(1e-2)
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_dials_that_a_decoder_does_not_have_are_refused() -> None:
    for chosen, words in (
        ({"model": "llama", "dropout": 0.1}, "has none"),
        ({"model": "llama", "heads": 4, "kv_heads": 3}, "kv_heads=3"),
        ({"model": "gpt2", "kv_heads": 2}, "kv_heads=2 is for llama"),
    ):
        with pytest.raises(TinylmError, match=words):
            new_model(resolve_settings(chosen), 3)


def test_too_many_tokens_for_the_context_are_named() -> None:
    with pytest.raises(ValueError, match="10 tokens do not fit into a context of 9"):
        gpt2()(ids(1, 10))


@pytest.mark.parametrize(
    ("config", "settings", "words"),
    [
        (GPT2Config, {"n_embd": 10, "n_head": 3}, "does not divide"),
        (GPT2Config, {"n_layer": 0}, "n_layer is 0"),
        (GPT2Config, {"resid_pdrop": 1.0}, "resid_pdrop"),
        (LSTMConfig, {"tie_word_embeddings": True, "embedding_size": 3, "hidden_size": 4}, "tied"),
        (LSTMConfig, {"hidden_size": 0}, "hidden_size is 0"),
        (GRUConfig, {"dropout": 1.0}, "GRUConfig: dropout is 1.0"),
    ],
)
def test_impossible_settings_are_named(config, settings, words) -> None:
    with pytest.raises(TinylmError, match=words):
        config(5, **settings)
