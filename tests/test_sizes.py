"""What a model takes, beside models that are really built and run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tinylm.autograd import Observer, no_grad, observe
from tinylm.cli import main
from tinylm.errors import TinylmError
from tinylm.formats import convert, save_model
from tinylm.inspect import machines, measure_sizes, model_without_weights, read_sized_config
from tinylm.models import FAMILIES
from tinylm.nn import Initializer

SMALL = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 17}
CONFIGS = {
    "gpt2": {"n_embd": 12, "n_layer": 2, "n_head": 2, "n_positions": 8, "tie_word_embeddings": True},
    "llama": {**SMALL, "num_key_value_heads": 1, "max_position_embeddings": 8},
    "gpt_neox": {**SMALL, "max_position_embeddings": 8, "rotary_pct": 1.0},
    "bert": {**SMALL, "max_position_embeddings": 8, "architectures": ["BertForMaskedLM"]},
    "lstm": {"embedding_size": 5, "hidden_size": 7},
}


@pytest.mark.parametrize("family", CONFIGS)
def test_the_counts_are_those_of_a_model_that_runs(family: str) -> None:
    settings = {"model_type": family, "vocab_size": 11, **CONFIGS[family]}
    sizes = measure_sizes(model_without_weights(settings), context=8)
    model = FAMILIES[family].from_settings(settings, Initializer(0))
    assert sizes.parameters == model.num_parameters()

    class Products(Observer):
        flops = 0.0

        def forward(self, operation):
            if operation.name == "linear":
                self.flops += 2 * operation.outputs[0].size * operation.inputs[1].shape[1]
            elif operation.name == "lstm":
                self.flops += 2 * 8 * sum(weight.size for weight in operation.inputs[1:3])
            elif operation.name == "self_attention":
                causal = operation.settings["causal"]
                self.flops += 2 * 2 * operation.outputs[0].shape[-1] * (8 * 9 / 2 if causal else 8 * 8)

    with no_grad(), observe(Products()) as seen:
        model(np.zeros((1, 8), int))
    assert sizes.flops * 8 == pytest.approx(seen.flops, rel=1e-12)
    if family in ("gpt2", "llama", "gpt_neox"):
        layers = model.new_cache(1).layers
        assert sizes.cache_numbers * 8 == sum(layer.keys.size + layer.values.size for layer in layers)


def test_models_that_no_machine_here_could_hold_are_counted() -> None:
    gpt3 = ["n_layer=96", "n_embd=12288", "n_head=96", "vocab_size=50257", "n_positions=2048"]
    sizes = measure_sizes(model_without_weights(read_sized_config("gpt2", gpt3)), context=2048)
    assert sizes.parameters == 174_604_259_328  # "175B", Brown et al. 2020, arXiv:2005.14165, table 2.1
    # 6 N operations a token in training, as in their table D.1, and a little for attention and the logits.
    assert 1 < sizes.training_flops / (6 * (sizes.parameters - sizes.looked_up)) < 1.05
    assert machines(sizes.training_bytes, 80) == 37
    small = measure_sizes(model_without_weights(read_sized_config("gpt2", ["vocab_size=50257"])), context=1024)
    assert small.parameters == 124_439_808


def test_the_command_takes_a_folder_a_file_or_a_family(tmp_path, capsys) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 11, **CONFIGS["llama"]}))
    for model in (str(tmp_path), str(tmp_path / "config.json")):
        assert main(["info", model, "--batch", "2", "--machine-gb", "8"]) == 0
        printed = capsys.readouterr().out
        assert "LlamaForCausalLM" in printed
        assert "batch 2 x 8" in printed
    model = FAMILIES["llama"].from_settings({"vocab_size": 11, **CONFIGS["llama"]}, Initializer(0))
    save_model(tmp_path / "m", model)
    for name in ("m.gguf", "m.npz"):
        assert main(["info", str(convert(tmp_path / "m", tmp_path / name))]) == 0
        assert f"LlamaForCausalLM: {model.num_parameters():,} parameters" in capsys.readouterr().out
    (tmp_path / "m.pt").write_bytes(b"\x80\x02}q\x00.")
    for wrong, words in (
        ([str(tmp_path / "m.pt")], "convert to safetensors"),
        (["mamba"], "no such"),
        (["gpt2", "--set", "n_layer"], "NAME=VALUE"),
        (["gpt2"], "vocab_size"),
    ):
        assert main(["info", *wrong]) != 0
        assert words in capsys.readouterr().err
    with pytest.raises(TinylmError, match="model_type is 'lama'; did you mean"):
        model_without_weights({"model_type": "lama"})
