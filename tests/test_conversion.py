"""Models between folders, GGUF and npz: the same numbers on every way, and a clear error where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinylm import LM, load
from tinylm.cli import main
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import convert, open_model, save_model
from tinylm.formats.gguf import read_gguf, write_gguf
from tinylm.models import FAMILIES
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer, CharTokenizer, PipelineTokenizer, from_gguf_fields, train_bpe

V = 300
SHARED = {"vocab_size": V, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
          "intermediate_size": 96, "max_position_embeddings": 32, "initializer_range": 0.2}  # fmt: skip
MODELS = {
    "gpt2": {"vocab_size": V, "n_positions": 32, "n_embd": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.2,
             "bos_token_id": 256, "eos_token_id": 257},
    "llama": {**SHARED, "num_key_value_heads": 2, "rope_theta": 5e4, "rms_norm_eps": 1e-5, "eos_token_id": 257},
    "llama tied, of a head width of its own": {**SHARED, "head_dim": 32, "tie_word_embeddings": True},
    "llama with biases, stretched": {**SHARED, "attention_bias": True, "mlp_bias": True,
                                     "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "llama 3": {**SHARED, "rope_theta": 5e5, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}},
    "mistral": {**SHARED, "num_key_value_heads": 2, "sliding_window": None},
    "qwen2": {**SHARED, "num_key_value_heads": 2},
    "gpt_neox": {**SHARED, "rotary_pct": 0.25, "use_parallel_residual": False},
    "gpt_neox tied": {**SHARED, "rotary_pct": 0.5, "tie_word_embeddings": True},
}  # fmt: skip
IDS = np.array([[5, 77, 200, 3, 3, 140, 31, 9]])


def make(folder: Path, name: str = "llama", tokenizer=None) -> Path:
    """A folder of a model of this name with biases and norms that matter."""
    family = name.split()[0]
    model = FAMILIES[family].from_settings(MODELS[name], Initializer(1))
    rng = np.random.default_rng(2)
    for parameter in model.parameters():
        if parameter.data.ndim == 1:
            parameter.data = (parameter.data + 0.3 * rng.standard_normal(parameter.shape)).astype(np.float32)
    save_model(folder, model, ByteTokenizer() if tokenizer is None else tokenizer)
    return folder


def same_model(a: LM, b: LM) -> None:
    """The same bits in every parameter; logits may differ in the last one, where a matrix lies otherwise in memory."""
    first, second = a.model.state_dict(), b.model.state_dict()
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)
    np.testing.assert_allclose(b.logits(IDS), a.logits(IDS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_the_same_from_gguf_and_npz_and_comes_back_as_it_was(tmp_path, name) -> None:
    folder = make(tmp_path / "m", name)
    written_twice = {"lm_head.weight", "embed_out.weight"}  # where GGUF cannot say that they are tied
    for suffix in ("gguf", "npz"):
        file = convert(folder, tmp_path / f"m.{suffix}")
        same_model(load(folder), load(file))
        first, again = open_model(folder), open_model(convert(file, tmp_path / f"back from {suffix}"))
        assert set(first.tensors) ^ set(again.tensors) <= written_twice
        for key in first.tensors:
            np.testing.assert_array_equal(again.tensors[key], first.tensors[key])


def test_settings_survive_gguf(tmp_path) -> None:
    first = open_model(make(tmp_path / "m", "llama"))
    again = open_model(convert(tmp_path / "m", tmp_path / "m.gguf"))
    assert again.settings["rms_norm_eps"] == 1e-5  # a float32 there, 9.999999747378752e-06 to its digits
    for name, value in again.settings.items():
        assert first.settings.get(name) in (value, None), name


def test_opening_expands_nothing_and_the_module_is_built_when_it_is_asked_for(tmp_path, monkeypatch) -> None:
    file = convert(make(tmp_path / "m"), tmp_path / "m.gguf", dtype="q8_0")
    source = open_model(file)
    projection = source.tensors.stored("model.layers.0.self_attn.q_proj.weight")
    assert projection.dtype == projection.make().dtype == "q8_0"
    lm = load(file)
    lm.tokenizer.encode("text")
    assert "model" not in vars(lm)
    assert lm.config.hidden_size == 64
    lm.generate("a", max_tokens=1)
    assert "model" not in vars(lm)
    assert lm.model.config == lm.config


def test_fewer_bits_are_less_exact_and_norms_stay_float32(tmp_path) -> None:
    folder = make(tmp_path / "m", "llama")
    exact, errors = load(folder).logits(IDS), []
    for dtype in ("f16", "bf16", "q8_0", "q4_0"):
        file = convert(folder, tmp_path / f"{dtype}.gguf", dtype=dtype)
        tensors = read_gguf(file).tensors
        for name in tensors:
            kind = "q8_0" if dtype == "q4_0" and "blk" not in name else {"f16": "float16"}.get(dtype, dtype)
            assert tensors.stored(name).dtype == ("float32" if "norm" in name else kind), name
        errors.append(np.abs(load(file).logits(IDS) - exact).mean() / np.abs(exact).mean())
    assert 0 < errors[0] < errors[1] < errors[2] < errors[3] < 1, errors


def test_packed_weights_are_moved_as_they_are(tmp_path) -> None:
    once = convert(make(tmp_path / "m", "llama"), tmp_path / "once.gguf", dtype="q4_0")
    twice = convert(once, tmp_path / "twice.gguf")
    a, b = read_gguf(once).tensors, read_gguf(twice).tensors
    assert list(a) == list(b)
    for name in a:
        assert a.stored(name).dtype == b.stored(name).dtype
        np.testing.assert_array_equal(a[name], b[name])


def test_what_does_not_divide_into_blocks_becomes_float16(tmp_path) -> None:
    file = convert(make(tmp_path / "m", "qwen2"), tmp_path / "m.gguf", dtype="q8_0")
    assert read_gguf(file).tensors.stored("blk.0.ffn_down.weight").dtype == "q8_0"
    model = FAMILIES["llama"].from_settings({**MODELS["llama"], "intermediate_size": 90}, Initializer(0))
    save_model(tmp_path / "odd", model, ByteTokenizer())
    tensors = read_gguf(convert(tmp_path / "odd", tmp_path / "odd.gguf", dtype="q8_0")).tensors
    assert tensors.stored("blk.0.ffn_down.weight").dtype == "float16"
    assert tensors.stored("blk.0.ffn_up.weight").dtype == "q8_0"


def sentencepiece() -> PipelineTokenizer:
    """A SentencePiece BPE of eleven merges, with bytes for what it does not know."""
    merged = ["▁the", "▁cat", "▁c", "▁t", "at", "he", "th", "▁th", "ca", "ha", "hat"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *merged, *"▁thecas,"]
    fields = {
        "model": "llama",
        "tokens": tokens,
        "token_type": np.array([2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259), np.int32),
        "scores": -np.maximum(np.arange(len(tokens), dtype=np.float32) - 258, 0),
        "unknown_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return from_gguf_fields({f"tokenizer.ggml.{name}": value for name, value in fields.items()})


TOKENIZERS = {
    "SentencePiece": sentencepiece,
    "bytes": ByteTokenizer,
    "characters": lambda: CharTokenizer("abcé 今"),
    "BPE": lambda: train_bpe(["the cat and the hat, the cat and the rat " * 20], V),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_survives_every_format(tmp_path, name) -> None:
    tokenizer = TOKENIZERS[name]()
    folder = make(tmp_path / "m", "llama", tokenizer)
    text = "aé cab" if name == "characters" else "the cat, the hat, 今天 é"
    for out in ("m.gguf", "m.npz", "copy"):
        again = load(convert(folder, tmp_path / out)).tokenizer
        assert again.encode(text).tolist() == tokenizer.encode(text).tolist()
        assert again.decode(tokenizer.encode(text)) == text


def test_llama_cpp_is_told_the_tokens_their_types_and_the_split(tmp_path) -> None:
    tokenizer = train_bpe(["the cat and the hat, the cat and the rat " * 20], V - 1)
    metadata = read_gguf(convert(make(tmp_path / "m", "gpt2", tokenizer), tmp_path / "m.gguf")).metadata
    assert (metadata["tokenizer.ggml.model"], metadata["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    assert len(tokens) == len(types) == V
    assert types[tokens.index("<|endoftext|>")] == 3
    assert (tokens[-1], types[-1]) == (f"[PAD{V - 1}]", 5)
    assert len(metadata["tokenizer.ggml.merges"]) == len(tokenizer.merges)
    assert (metadata["tokenizer.ggml.bos_token_id"], metadata["tokenizer.ggml.eos_token_id"]) == (256, 257)


def test_a_sentencepiece_tokenizer_keeps_its_kind_its_scores_and_what_it_adds(tmp_path) -> None:
    file = convert(make(tmp_path / "m", "llama", sentencepiece()), tmp_path / "m.gguf")
    metadata = read_gguf(file).metadata
    assert metadata["tokenizer.ggml.model"] == "llama"
    assert metadata["tokenizer.ggml.token_type"][:4].tolist() == [2, 3, 3, 6]
    assert metadata["tokenizer.ggml.unknown_token_id"] == 0
    assert metadata["tokenizer.ggml.add_bos_token"] is True
    assert metadata["tokenizer.ggml.scores"][259] > metadata["tokenizer.ggml.scores"][260]
    assert load(file).tokenizer.inputs("the cat").ids.tolist() == sentencepiece().inputs("the cat").ids.tolist()


def test_the_command_converts_and_says_how_much_it_wrote(tmp_path, capsys) -> None:
    folder = make(tmp_path / "m")
    assert main(["convert", str(folder), str(tmp_path / "m.gguf"), "--dtype", "q8_0"]) == 0
    assert "MB of weights" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "m.gguf"), str(tmp_path / "again"), "--to", "safetensors"]) == 0
    assert json.loads((tmp_path / "again" / "config.json").read_text())["dtype"] == "float32"
    assert main(["tokens", str(tmp_path / "m.gguf"), "ab"]) == 0
    assert main(["next", str(tmp_path / "m.gguf"), "ab", "-k", "2"]) == 0
    assert main(["convert", str(folder), str(tmp_path / "x"), "--dtype", "q4_0"]) == 2
    assert "safetensors holds no q4_0" in capsys.readouterr().err


def test_a_run_folder_is_converted_from_its_best_model(tmp_path) -> None:
    make(tmp_path / "run" / "best")
    assert isinstance(load(convert(tmp_path / "run", tmp_path / "m.npz")), LM)


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth"])
@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_a_pickle_is_refused_with_what_to_do(tmp_path, suffix, start) -> None:
    (tmp_path / f"model{suffix}").write_bytes(start + bytes(40))
    with pytest.raises(FileFormatError, match="convert to safetensors"):
        load(tmp_path / f"model{suffix}")


def test_other_files_are_refused_with_what_is_expected(tmp_path) -> None:
    (tmp_path / "a.safetensors").write_bytes(bytes(9))
    with pytest.raises(FileFormatError, match="name the folder"):
        load(tmp_path / "a.safetensors")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(FileFormatError, match="expected a model folder"):
        load(tmp_path / "a.txt")


def test_a_family_that_gguf_has_no_words_for_is_named(tmp_path) -> None:
    model = FAMILIES["lstm"].from_settings({"vocab_size": 256, "embedding_size": 8, "hidden_size": 8}, Initializer(0))
    save_model(tmp_path / "m", model, ByteTokenizer())
    with pytest.raises(TinylmError, match="no words for a model of type lstm, only for llama"):
        convert(tmp_path / "m", tmp_path / "m.gguf")
    same_model(load(tmp_path / "m"), load(convert(tmp_path / "m", tmp_path / "m.npz")))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("gpt2", {"activation_function": "relu"}, "activation_function='relu' has no place in GGUF"),
        ("mistral", {"sliding_window": 4}, "sliding_window=4"),
        ("llama", {"vocab_size": 255}, "256 tokens, the model only 255"),
    ],
)
def test_what_gguf_cannot_say_is_refused_before_anything_is_written(tmp_path, name, changes, words) -> None:
    model = FAMILIES[name].from_settings({**MODELS[name], **changes}, Initializer(0))
    save_model(tmp_path / "m", model, ByteTokenizer())
    with pytest.raises(TinylmError, match=words):
        convert(tmp_path / "m", tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


def test_a_number_too_large_for_the_type_is_named_with_its_tensor(tmp_path) -> None:
    folder = make(tmp_path / "m")
    lm = load(folder)
    lm.model.blocks[1].feed_forward.down.weight.data = np.full((64, 96), 1e6, np.float32)
    lm.save(tmp_path / "large")
    for dtype, out in (("f16", "a"), ("f16", "a.gguf"), ("q8_0", "b.gguf")):
        if dtype == "q8_0":
            lm.model.blocks[1].feed_forward.down.weight.data[:] = np.nan
            lm.save(tmp_path / "large")
        with pytest.raises(TinylmError, match=r"layers\.1\.mlp\.down_proj|blk\.1\.ffn_down"):
            convert(tmp_path / "large", tmp_path / out, dtype=dtype)


def change(source: Path, target: Path, metadata=None, tensors=None) -> Path:
    """A GGUF file with other metadata and tensors; ... for one that is to go."""
    opened = read_gguf(source)
    pairs = {**opened.metadata, **(metadata or {})}
    arrays = {**{name: opened.tensors.stored(name).make() for name in opened.tensors}, **(tensors or {})}
    write_gguf(
        target,
        {key: value for key, value in pairs.items() if value is not ...},
        {name: array for name, array in arrays.items() if array is not ...},
    )
    return target


BAD_MODELS = {
    "general.architecture is 'mamba'": ({"general.architecture": "mamba"}, {}),
    "general.architecture is None": ({"general.architecture": ...}, {}),
    "general.architecture is 7": ({"general.architecture": 7}, {}),
    "lacks the settings llama.block_count": ({"llama.block_count": ...}, {}),
    "llama.expert_count is 8": ({"llama.expert_count": 8}, {}),
    "holds several values": ({"llama.attention.head_count": [4, 4]}, {}),
    "divide into 0 heads": ({"llama.attention.head_count": 0}, {}),
    "divide into 1000 heads": ({"llama.attention.head_count": 1000}, {}),
    "num_hidden_layers is 0": ({"llama.block_count": 0}, {}),
    "larger model than the tensors make up": ({"llama.block_count": 10**9}, {}),
    "rope.dimension_count 8": ({"llama.rope.dimension_count": 8}, {}),
    "rope.scaling.type 'yarn'": ({"llama.rope.scaling.type": "yarn"}, {}),
    "max_position_embeddings is 'x'": ({"llama.context_length": "x"}, {}),
    "holds no tensor 'token_embd.weight'": ({}, {"token_embd.weight": ...}),
    "q_proj.weight is missing": ({}, {"blk.1.attn_q.weight": ...}),
    "layers.9.mlp.up_proj.weight is unknown": ({}, {"blk.9.ffn_up.weight": np.zeros((96, 64), np.float32)}),
    "'blk.0.ssm_a' belongs to no llama": ({}, {"blk.0.ssm_a": np.zeros(4, np.float32)}),
    r"has shape \(96, 32\), expected \(96, 64\)": ({}, {"blk.0.ffn_up.weight": np.zeros((96, 32), np.float32)}),
    "does not divide into 4 heads": ({}, {"blk.0.attn_q.weight": np.zeros((63, 64), np.float32)}),
    "is int32, expected floating": ({}, {"blk.0.ffn_norm.weight": np.ones(64, np.int32)}),
    "not Llama 3's": ({}, {"rope_freqs.weight": np.full(8, 3.0, np.float32)}),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    return convert(make(folder / "m"), folder / "m.gguf")


@pytest.mark.parametrize("words", BAD_MODELS)
def test_a_gguf_that_is_no_model_of_its_kind_is_named_with_the_reason(tmp_path, good, words) -> None:
    bad = change(good, tmp_path / "bad.gguf", *BAD_MODELS[words])
    with pytest.raises(FileFormatError, match=words) as caught:
        _ = load(bad).model
    assert caught.value.path == str(bad)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("settings", [{"num_hidden_layers": 10**9}, {"hidden_size": 10**12}, {"vocab_size": 2**62}])
def test_a_config_that_asks_for_any_memory_is_refused_at_once(tmp_path, settings) -> None:
    folder = make(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(FileFormatError, match=r"larger model than the tensors|no tensor has an axis"):
        _ = load(folder).model


@pytest.mark.slow
def test_a_flip_anywhere_in_the_head_of_a_model_is_a_model_or_a_clear_error(tmp_path, good) -> None:
    """In a process of its own, which may take 512 MiB more than it has after its imports."""
    script = """
import pathlib, sys, time, warnings
import numpy as np
from tinylm.errors import TinylmError
from tinylm import load
import tinylm.formats, tinylm.lm, regex
warnings.simplefilter("error")
good, bad = pathlib.Path(sys.argv[1]).read_bytes(), pathlib.Path(sys.argv[2])
bad.write_bytes(good)
load(bad).model, load(bad).tokenizer
if sys.platform == "linux":
    import resource
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20),) * 2)
end = len(good) - 64 * 400
rng = np.random.default_rng(0)
refused = longest = 0
for position in rng.permutation(6000)[:1500].tolist() + list(range(0, 400)):
    content = bytearray(good)
    content[position] ^= 1 << int(rng.integers(8))
    bad.write_bytes(content)
    start = time.perf_counter()
    try:
        lm = load(bad)
        lm.model, lm.tokenizer
    except TinylmError as error:
        assert str(bad) in str(error)
        refused += 1
    longest = max(longest, time.perf_counter() - start)
assert longest < 5, longest
print(refused)
"""
    done = subprocess.run([sys.executable, "-c", script, good, tmp_path / "bad.gguf"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 300
