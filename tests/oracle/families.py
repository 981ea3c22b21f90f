"""Tiny random models of every family in transformers, and how far ours are from them.

python tests/oracle/families.py        prints the table of docs/models.md
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "kernels")]
from float64 import in_float64

from tinylm.autograd import Tensor, no_grad
from tinylm.formats import load_model
from tinylm.inspect import inner_states

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
    untied: bool = False  # an output projection of its own, where transformers ties it in a new model

    def build(self) -> Any:
        """The model in float64, its parameters drawn so that none is without effect."""
        with in_float64(self.family):
            torch.manual_seed(0)
            config = getattr(transformers, self.config)(**self.settings)
            config._attn_implementation = "eager"
            model = getattr(transformers, self.model)(config).double().eval()
            for name, parameter in trained(model):
                with torch.no_grad():
                    parameter.normal_(0, 0.2)
                    parameter += "norm" in name.lower() and name.endswith("weight")
                    parameter.copy_(parameter.to(torch.float32))  # numbers that a folder holds exactly
            for name, buffer in model.named_buffers():
                if name == "final_logits_bias":
                    buffer.normal_(0, 0.2).copy_(buffer.to(torch.float32))
            if self.untied:
                model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.flip(0).clone())
            else:
                model.tie_weights()
        return model


def trained(model: Any) -> list[tuple[str, Any]]:
    """The parameters that are no constants."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


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


BERT = {
    "vocab_size": V,
    "hidden_size": 36,
    "intermediate_size": 50,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "max_position_embeddings": 19,
    "layer_norm_eps": 1e-5,
}
DISTILBERT = {
    "vocab_size": V,
    "dim": 36,
    "hidden_dim": 50,
    "n_layers": 3,
    "n_heads": 3,
    "max_position_embeddings": 19,
    "activation": "gelu",
}


def bert(model: str, **settings: Any) -> Case:
    return Case("bert", "BertConfig", f"BertFor{model}", {**BERT, **settings})


def distilbert(model: str, **settings: Any) -> Case:
    return Case("distilbert", "DistilBertConfig", f"DistilBertFor{model}", {**DISTILBERT, **settings})


ENCODERS = {
    "bert, masked language": bert("MaskedLM", hidden_act="gelu_new"),
    "bert, single labels": bert("SequenceClassification", num_labels=3),
    "bert, many labels": bert("SequenceClassification", num_labels=5, problem_type="multi_label_classification"),
    "bert, regression": bert("SequenceClassification", num_labels=1),
    "bert, tokens": bert("TokenClassification", num_labels=4),
    "bert, spans": bert("QuestionAnswering"),
    "distilbert, masked language": distilbert("MaskedLM"),
    "distilbert, single labels": distilbert("SequenceClassification", num_labels=3),
    "distilbert, spans": distilbert("QuestionAnswering"),
}
BART = {
    "vocab_size": V,
    "d_model": 36,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 50,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 30,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
MARIAN = {**BART, "decoder_start_token_id": 1, "scale_embedding": True, "activation_function": "swish"}
T5 = {
    "vocab_size": V,
    "d_model": 36,
    "d_kv": 10,
    "d_ff": 50,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 3,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
}
GATED = {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}

ENCODER_DECODERS = {
    "bart": Case("bart", "BartConfig", "BartForConditionalGeneration", BART),
    "marian": Case("marian", "MarianConfig", "MarianMTModel", MARIAN),
    "t5": Case("t5", "T5Config", "T5ForConditionalGeneration", T5),
    "t5 1.1, gated and untied": Case("t5", "T5Config", "T5ForConditionalGeneration", GATED, untied=True),
}
TARGETS = np.random.default_rng(3).integers(3, V, (B, 11))
TARGET_MASK = np.arange(11) < np.array([[11], [4], [7], [1]])
TYPES = np.random.default_rng(1).integers(0, 2, (B, T))


def targets_of(case: Case) -> Any:
    """What the head of a case is trained on."""
    rng, labels = np.random.default_rng(2), case.settings.get("num_labels", 2)
    if case.model.endswith("QuestionAnswering"):
        return np.array([[0, 3], [4, 8], [2, 30], [1, 1]])  # one end lies outside
    if case.model.endswith("SequenceClassification"):
        if labels == 1:
            return rng.standard_normal(B)
        if "problem_type" in case.settings:
            return rng.integers(0, 2, (B, labels)).astype(float)
        return rng.integers(0, labels, B)
    ids = rng.integers(0, labels, (B, T)) if case.model.endswith("TokenClassification") else IDS
    return np.where(MASK & (rng.random((B, T)) < 0.5), ids, -100)


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
    with in_float64(case.family) if next(model.parameters()).dtype == torch.float64 else nullcontext():
        model.zero_grad()
        seen = model(ids, attention_mask=mask, output_hidden_states=True, output_attentions=True)
        loss = model(ids, attention_mask=mask, labels=torch.tensor(labels_of(IDS, MASK))).loss
        loss.backward()
    arrays = {"logits": seen.logits.detach().numpy()[MASK], "loss": loss.detach().numpy()}
    arrays |= their_gradients(case, model)
    arrays |= _states(seen.hidden_states, seen.attentions)
    return Results(arrays)


def their_encoder(case: Case, model: Any) -> Results:
    """The same of an encoder; its logits are those of its head."""
    inputs = {"input_ids": torch.tensor(IDS), "attention_mask": torch.tensor(MASK.astype(int))}
    if case.family == "bert":
        inputs["token_type_ids"] = torch.tensor(TYPES)
    targets = targets_of(case)
    labels = {"labels": torch.tensor(targets)}
    if case.model.endswith("QuestionAnswering"):
        labels = {"start_positions": torch.tensor(targets[:, 0]), "end_positions": torch.tensor(targets[:, 1])}
    dtype = next(model.parameters()).dtype
    labels = {name: label.to(dtype) if label.is_floating_point() else label for name, label in labels.items()}
    with in_float64(case.family) if dtype == torch.float64 else nullcontext():
        model.zero_grad()
        seen = model(**inputs, **labels, output_hidden_states=True, output_attentions=True)
        seen.loss.backward()
    if case.model.endswith("QuestionAnswering"):
        logits = torch.stack([seen.start_logits, seen.end_logits], -1)
    else:
        logits = seen.logits
    arrays = {"logits": _counted(logits.detach().numpy()), "loss": seen.loss.detach().numpy()}
    arrays |= their_gradients(case, model)
    arrays |= _states(seen.hidden_states, seen.attentions)
    return Results(arrays)


def our_encoder(case: Case, model: Any) -> Results:
    """The same of ours."""
    types = {"token_types": TYPES} if case.family == "bert" else {}
    model.zero_grad()
    states = inner_states(model, IDS, key_mask=MASK, method="hidden", **types)
    with no_grad():
        logits = model(IDS, key_mask=MASK, **types).data
    loss = model.loss(IDS, targets_of(case), key_mask=MASK, **types)
    loss.backward()
    arrays = {"logits": _counted(logits), "loss": loss.data}
    arrays |= gradients(model)
    arrays |= _states([*states.hidden.values(), states.output], states.attentions.values())
    return Results(arrays)


def their_encoder_decoder(case: Case, model: Any) -> Results:
    """The same of an encoder-decoder, whose targets are padded on the right."""
    labels = torch.tensor(np.where(TARGET_MASK, TARGETS, -100))
    inputs = {"input_ids": torch.tensor(IDS), "attention_mask": torch.tensor(MASK.astype(int)), "labels": labels}
    with in_float64(case.family) if next(model.parameters()).dtype == torch.float64 else nullcontext():
        model.zero_grad()
        seen = model(**inputs, output_hidden_states=True, output_attentions=True)
        seen.loss.backward()
    arrays = {"logits": seen.logits.detach().numpy()[TARGET_MASK], "loss": seen.loss.detach().numpy()}
    arrays |= their_gradients(case, model)
    arrays |= _states(seen.encoder_hidden_states, seen.encoder_attentions)
    arrays |= _states(seen.decoder_hidden_states, seen.decoder_attentions, TARGET_MASK, "/decoder")
    return Results(arrays | _states([], seen.cross_attentions, TARGET_MASK, "/cross"))


def our_encoder_decoder(case: Case, model: Any) -> Results:
    """The same of ours."""
    targets = np.where(TARGET_MASK, TARGETS, -100)
    model.zero_grad()
    read = inner_states(model, IDS, key_mask=MASK, method="encode")
    shifted = model.shifted(targets)
    memory = Tensor(read.output)
    written = inner_states(model, shifted, memory, memory_mask=MASK, method="decode")
    with no_grad():
        logits = model(IDS, shifted, MASK).data
    loss = model.loss(IDS, targets, key_mask=MASK)
    loss.backward()
    arrays = {"logits": logits[TARGET_MASK], "loss": loss.data} | gradients(model)
    arrays |= _states([*read.hidden.values(), read.output], read.attentions.values())
    own = [a for name, a in written.attentions.items() if "cross" not in name]
    cross = [a for name, a in written.attentions.items() if "cross" in name]
    arrays |= _states([*written.hidden.values(), written.output], own, TARGET_MASK, "/decoder")
    return Results(arrays | _states([], cross, TARGET_MASK, "/cross"))


def _counted(logits: np.ndarray) -> np.ndarray:
    """Without those of padding, where each token has logits."""
    return logits[MASK] if logits.ndim == 3 else logits


def _states(hidden: Any, attentions: Any, mask: np.ndarray = MASK, of: str = "") -> dict[str, np.ndarray]:
    """Hidden states and attention maps of what is no padding."""
    arrays = {f"hidden states{of}/{i}": _array(h)[mask] for i, h in enumerate(hidden)}
    return arrays | {f"attention maps{of}/{i}": _array(a).swapaxes(1, 2)[mask] for i, a in enumerate(attentions)}


def _array(x: Any) -> np.ndarray:
    return x.detach().numpy() if torch.is_tensor(x) else x


def their_gradients(case: Case, model: Any) -> dict[str, np.ndarray]:
    """The gradients of their parameters, under the names that ours has for them."""
    ours = in_ours(case, model)
    return {f"gradient/{ours.full_name(name)}": p.grad.numpy() for name, p in trained(model)}


def our_decoder(case: Case, model: Any) -> Results:
    """The same of ours."""
    model.zero_grad()
    states = inner_states(model, IDS, key_mask=MASK, method="hidden")
    with no_grad():
        logits = model(IDS, key_mask=MASK).data
    loss = model.loss(IDS[:, :-1], labels_of(IDS, MASK)[:, 1:], key_mask=MASK[:, :-1])
    loss.backward()
    arrays = {"logits": logits[MASK], "loss": loss.data}
    arrays |= gradients(model)
    arrays |= _states([*states.hidden.values(), states.output], states.attentions.values())
    return Results(arrays)


def gradients(model: Any) -> dict[str, np.ndarray]:
    """The gradients of our parameters under the names, and in the shapes, of the folder."""
    names = model.folder_names()
    found: dict[str, np.ndarray] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        found |= {f"gradient/{stored}": array for stored, array in names[name].split(parameter.grad).items()}
    return found


def measure(case: Case, theirs_of: Callable[..., Results], ours_of: Callable[..., Results]) -> dict[str, Any]:
    """Differences from transformers in float64: of ours in float64 and in float32, and of its own in float32."""
    model = case.build()
    ours = in_ours(case, model)
    truth = theirs_of(case, model)
    wide = ours_of(case, ours.astype(np.float64)).differences(truth)
    narrow = ours_of(case, ours.astype(np.float32)).differences(truth)
    own = theirs_of(case, model.float()).differences(truth)
    return {"float64": wide, "float32": narrow, "own float32": own}


KINDS = {
    **dict.fromkeys(DECODERS, (their_decoder, our_decoder)),
    **dict.fromkeys(ENCODERS, (their_encoder, our_encoder)),
    **dict.fromkeys(ENCODER_DECODERS, (their_encoder_decoder, our_encoder_decoder)),
}
CASES = {**DECODERS, **ENCODERS, **ENCODER_DECODERS}

COLUMNS = ("logits", "loss", "gradient", "hidden states", "attention maps")


def table(names: Iterable[str] = CASES) -> str:
    """The rows of docs/models.md: in float64, and in float32 beside transformers' own rounding in float32."""
    lines = [f"| model | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for name in names:
        found = measure(CASES[name], *KINDS[name])
        cells = []
        for column in COLUMNS:
            wide, narrow, own = (
                max(value for kind, value in found[dtype].items() if kind.startswith(column))
                for dtype in ("float64", "float32", "own float32")
            )
            cells.append(f"{wide:.0e}; {narrow:.0e} ({own:.0e})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(sys.argv[1:] or CASES))
