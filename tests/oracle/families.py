"""Tiny random models of every family in transformers, and how far ours are from them.

python tests/oracle/families.py        prints the table of docs/models.md
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "kernels")]
from float64 import in_float64

from tinylm.autograd import no_grad
from tinylm.formats import load_model
from tinylm.inspect import inner_states
from tinylm.models import FAMILIES

V, B, T = 53, 4, 9
RNG = np.random.default_rng(0)
IDS = RNG.integers(3, V, (B, T))
# All tokens; padding on the left; on the right; on both sides.
MASK = np.array([[1] * 9, [0] * 3 + [1] * 6, [1] * 7 + [0] * 2, [0] + [1] * 4 + [0] * 4], bool)


@dataclass(frozen=True)
class Case:
    """A model of transformers: the name of its classes, and its settings."""

    family: str  # the folder in transformers.models
    config: str
    model: str
    settings: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Any:
        """The model in float64, its parameters drawn so that none is without effect."""
        with in_float64(self.family):
            torch.manual_seed(0)
            config = getattr(transformers, self.config)(**self.settings)
            config._attn_implementation = "eager"
            model = getattr(transformers, self.model)(config).double().eval()
            for name, parameter in model.named_parameters():
                with torch.no_grad():
                    parameter.normal_(0, 0.2)
                    parameter += "norm" in name.lower() and name.endswith("weight")
                    parameter.copy_(parameter.to(torch.float32))  # numbers that a folder holds exactly
            model.tie_weights()
        return model


def llama(**settings: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 36, "intermediate_size": 50, "num_hidden_layers": 3, "num_attention_heads": 6}
    chosen = {"num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}
    return {"vocab_size": V, **sizes, **chosen, **settings}


def neox(**settings: Any) -> dict[str, Any]:
    return {
        "vocab_size": V,
        "hidden_size": 36,
        "intermediate_size": 50,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "max_position_embeddings": 64,
        **settings,
    }


LINEAR = {"rope_type": "linear", "factor": 2.5, "rope_theta": 100.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
    "rope_theta": 100.0,
}
GPT2 = {
    "bos_token_id": 1,
    "eos_token_id": 2,
    "vocab_size": V,
    "n_positions": 19,
    "n_embd": 36,
    "n_layer": 3,
    "n_head": 3,
    "n_inner": 50,
}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}

DECODERS = {
    "gpt2": Case("gpt2", "GPT2Config", "GPT2LMHeadModel", GPT2),
    "gpt2, untied, exact GELU": Case(
        "gpt2", "GPT2Config", "GPT2LMHeadModel", {**GPT2, "tie_word_embeddings": False, "activation_function": "gelu"}
    ),
    "llama": Case("llama", "LlamaConfig", "LlamaForCausalLM", llama()),
    "llama, tied, biases, wide heads": Case(
        "llama",
        "LlamaConfig",
        "LlamaForCausalLM",
        llama(tie_word_embeddings=True, attention_bias=True, mlp_bias=True, head_dim=10),
    ),
    "llama, linear rope": Case("llama", "LlamaConfig", "LlamaForCausalLM", llama(rope_parameters=LINEAR)),
    "llama, llama3 rope": Case("llama", "LlamaConfig", "LlamaForCausalLM", llama(rope_parameters=LLAMA3)),
    "mistral, window of 4": Case("mistral", "MistralConfig", "MistralForCausalLM", llama(sliding_window=4)),
    "qwen2": Case("qwen2", "Qwen2Config", "Qwen2ForCausalLM", llama()),
    "qwen2, window in the last layers": Case(
        "qwen2",
        "Qwen2Config",
        "Qwen2ForCausalLM",
        llama(use_sliding_window=True, sliding_window=3, max_window_layers=1),
    ),
    "gpt_neox": Case("gpt_neox", "GPTNeoXConfig", "GPTNeoXForCausalLM", neox(rotary_pct=0.34)),
    "gpt_neox, one after the other, tied": Case(
        "gpt_neox",
        "GPTNeoXConfig",
        "GPTNeoXForCausalLM",
        neox(use_parallel_residual=False, tie_word_embeddings=True, rotary_pct=1.0),
    ),
}


def labels_of(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The ids as transformers' labels: those that a token which is not padding can predict."""
    seen = mask.copy()
    seen[:, 1:] &= mask[:, :-1]
    return np.where(seen, ids, -100)


def in_ours(case: Case, theirs: Any) -> Any:
    """The model read from the folder that transformers writes, in float32."""
    with tempfile.TemporaryDirectory() as folder:
        copy.deepcopy(theirs).float().save_pretrained(folder)
        model = load_model(folder)
        for parameter in model.parameters():
            parameter.data = np.array(parameter.data)  # the folder goes
    return model


@dataclass
class Results:
    """Arrays by name, what padding gives left out."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def differences(self, other: Results) -> dict[str, float]:
        """By kind ("gradient" of "gradient/NAME"), the largest difference over the largest number."""
        assert self.arrays.keys() == other.arrays.keys(), self.arrays.keys() ^ other.arrays.keys()
        found: dict[str, float] = {}
        scale: dict[str, float] = {}
        for name, array in self.arrays.items():
            kind, expected = name.partition("/")[0], other.arrays[name].astype(np.float64)
            assert array.shape == expected.shape, (name, array.shape, expected.shape)
            found[kind] = max(found.get(kind, 0.0), float(np.abs(array - expected).max()))
            scale[kind] = max(scale.get(kind, 0.0), float(np.abs(expected).max()))
        return {kind: found[kind] / (scale[kind] or 1) for kind in found}


def their_decoder(case: Case, model: Any) -> Results:
    """Logits, loss, gradients, hidden states and attention maps of a decoder in transformers, in its own dtype."""
    ids, mask = torch.tensor(IDS), torch.tensor(MASK.astype(int))
    wide = in_float64 if next(model.parameters()).dtype == torch.float64 else _as_it_is
    with wide(case.family):
        model.zero_grad()
        seen = model(ids, attention_mask=mask, output_hidden_states=True, output_attentions=True)
        loss = model(ids, attention_mask=mask, labels=torch.tensor(labels_of(IDS, MASK))).loss
        loss.backward()
    arrays = {"logits": seen.logits.detach().numpy()[MASK], "loss": loss.detach().numpy()}
    arrays |= {f"gradient/{FAMILIES[case.family].full_name(n)}": p.grad.numpy() for n, p in model.named_parameters()}
    arrays |= {f"hidden states/{i}": h.detach().numpy()[MASK] for i, h in enumerate(seen.hidden_states)}
    arrays |= {f"attention maps/{i}": a.detach().numpy().swapaxes(1, 2)[MASK] for i, a in enumerate(seen.attentions)}
    return Results(arrays)


def our_decoder(model: Any) -> Results:
    """The same of ours."""
    model.zero_grad()
    states = inner_states(model, IDS, key_mask=MASK, method="hidden")
    with no_grad():
        logits = model(IDS, key_mask=MASK).data
    loss = model.loss(IDS[:, :-1], labels_of(IDS, MASK)[:, 1:], key_mask=MASK[:, :-1])
    loss.backward()
    arrays = {"logits": logits[MASK], "loss": loss.data}
    arrays |= gradients(model)
    hidden = [*states.hidden.values(), states.output]
    arrays |= {f"hidden states/{i}": h[MASK] for i, h in enumerate(hidden)}
    arrays |= {f"attention maps/{i}": a.swapaxes(1, 2)[MASK] for i, a in enumerate(states.attentions.values())}
    return Results(arrays)


def gradients(model: Any) -> dict[str, np.ndarray]:
    """The gradients of our parameters under the names, and in the shapes, of the folder."""
    names = model.folder_names()
    found: dict[str, np.ndarray] = {}
    for name, parameter in model.named_parameters():
        found |= {f"gradient/{stored}": array for stored, array in names[name].split(parameter.grad).items()}
    return found


class _as_it_is:
    def __init__(self, *families: str):
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        pass


def measure(case: Case, theirs_of: Callable[..., Results], ours_of: Callable[..., Results]) -> dict[str, Any]:
    """Differences from transformers in float64: of ours in float64 and in float32, and of its own in float32."""
    model = case.build()
    ours = in_ours(case, model)
    truth = theirs_of(case, model)
    wide = ours_of(ours.astype(np.float64)).differences(truth)
    narrow = ours_of(ours.astype(np.float32)).differences(truth)
    own = theirs_of(case, model.float()).differences(truth)
    return {"float64": wide, "float32": narrow, "own float32": own}


if __name__ == "__main__":
    for name, case in DECODERS.items():
        print(name)
        for kind, found in measure(case, their_decoder, our_decoder).items():
            print("   ", kind, {k: f"{v:.1e}" for k, v in found.items()})
