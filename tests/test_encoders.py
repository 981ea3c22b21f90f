"""Encoders and encoder-decoders: what padding, folders and caches must not change, gradients, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.autograd import check_gradients, no_grad
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import Pooling, load_model, read_pooling, save_model
from tinylm.inference import generate, sentence_vectors
from tinylm.models import (
    T5,
    Bart,
    BartConfig,
    Bert,
    BertConfig,
    DistilBert,
    DistilBertConfig,
    Marian,
    MarianConfig,
    Model,
    T5Config,
)
from tinylm.nn import Initializer, random_step
from tinylm.optim import AdamW, parameter_groups
from tinylm.text import CharTokenizer

V, C = 11, 12
HEADS = ("none", "masked_language", "classification", "tokens", "spans")


def bert(head: str = "none", dtype=np.float64, **settings) -> Bert:
    sizes = {"hidden_size": C, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 17}
    chosen = {"max_position_embeddings": 9, "initializer_range": 0.2, **settings}
    return Bert(BertConfig(V, **sizes, **chosen), Initializer(0, dtype), head)


def distilbert(head: str = "none", dtype=np.float64) -> DistilBert:
    sizes = {"dim": C, "n_layers": 2, "n_heads": 3, "hidden_dim": 17, "max_position_embeddings": 9}
    return DistilBert(DistilBertConfig(V, **sizes, initializer_range=0.2), Initializer(0, dtype), head)


def bart(dtype=np.float64, family=Bart, config=BartConfig, **settings) -> Bart:
    heads = {"encoder_attention_heads": 3, "decoder_attention_heads": 2, "encoder_layers": 2, "decoder_layers": 1}
    sizes = {"d_model": C, "encoder_ffn_dim": 17, "decoder_ffn_dim": 13, "max_position_embeddings": 9}
    tokens = {"pad_token_id": 1, "decoder_start_token_id": 2, "eos_token_id": 2, "init_std": 0.2}
    return family(config(V, **heads, **sizes, **tokens, **settings), Initializer(0, dtype))


def marian(dtype=np.float64) -> Marian:
    return bart(dtype, Marian, MarianConfig, scale_embedding=True)


def t5(dtype=np.float64, **settings) -> T5:
    sizes = {"d_model": C, "d_kv": 5, "d_ff": 17, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 3}
    buckets = {"relative_attention_num_buckets": 6, "relative_attention_max_distance": 7}
    return T5(T5Config(V, **sizes, **buckets, **settings), Initializer(0, dtype))


ENCODER_DECODERS = {
    "bart": bart,
    "marian": marian,
    "t5": t5,
    "t5_gated": lambda dtype=np.float64: t5(dtype, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
}
TARGETS = {
    "masked_language": np.array([[3, -100, 5, -100], [-100, 2, -100, -100]]),
    "classification": np.array([1, 0]),
    "tokens": np.array([[1, 0, -100, 1], [0, -100, 1, 1]]),
    "spans": np.array([[0, 2], [1, 7]]),
}


def ids(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(3, V, shape)


def gradient_error(model: Model, loss) -> None:
    """Check the gradients of loss() by all trained parameters of the model."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    places = [
        [(module, name) for _, module in model.named_modules() for name, value in vars(module).items() if value is p]
        for p in parameters
    ]

    def of_weights(*weights):
        for found, weight in zip(places, weights, strict=True):
            for module, name in found:
                setattr(module, name, weight)
        return loss()

    check_gradients(of_weights, *[p.data for p in parameters], step=1e-7, tolerance=1e-5)


@pytest.mark.parametrize("make", [bert, distilbert])
@pytest.mark.parametrize("head", HEADS[1:])
def test_the_gradient_of_an_encoders_loss_reaches_every_parameter(make, head: str) -> None:
    model = make(head)
    gradient_error(model, lambda: model.loss(ids(2, 4), TARGETS[head]))


@pytest.mark.parametrize(("labels", "targets"), [(1, [0.5, -1.0]), (3, [[1.0, 0, 1], [0, 0, 1]])])
def test_values_and_many_labels_have_losses_of_their_own(labels: int, targets: list) -> None:
    model = bert("classification", id2label={str(i): f"L{i}" for i in range(labels)})
    gradient_error(model, lambda: model.loss(ids(2, 4), np.array(targets)))
    assert model(ids(2, 4)).shape == (2, labels)


@pytest.mark.parametrize("make", [bert, distilbert])
def test_padding_changes_nothing_and_token_types_count(make) -> None:
    model, tokens = make(), ids(2, 5)
    padded, mask = np.pad(tokens, ((0, 0), (0, 3))), np.arange(8)[None] < np.array([[5], [5]])
    assert np.allclose(model(padded, key_mask=mask).data[:, :5], model(tokens).data, rtol=1e-10, atol=1e-12)
    if make is bert:
        assert not np.allclose(model(tokens, token_types=np.ones((2, 5), int)).data, model(tokens).data)
    else:
        with pytest.raises(ValueError, match="no token types"):
            model(tokens, token_types=np.ones((2, 5), int))


@pytest.mark.parametrize("make", [bert, distilbert])
@pytest.mark.parametrize("head", HEADS)
def test_an_encoder_comes_back_from_its_folder_with_its_head(tmp_path: Path, make, head: str) -> None:
    model = make(head, np.float32)
    save_model(tmp_path, model)
    again = load_model(tmp_path)
    assert again.architecture == model.architecture
    assert np.allclose(again(ids(2, 4)).data, model(ids(2, 4)).data, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_the_gradient_of_a_translation_reaches_every_parameter(name: str) -> None:
    model, targets = ENCODER_DECODERS[name](), ids(2, 3)
    targets[1, 2] = -100
    mask = np.array([[True] * 4, [False] + [True] * 3])
    before = model.final_logits_bias.data.copy() if isinstance(model, Bart) else None
    if before is not None:  # its start is not the token of padding, whose embedding is not trained
        assert not model.final_logits_bias.requires_grad
    gradient_error(model, lambda: model.loss(ids(2, 4), targets, key_mask=mask, label_smoothing=0.1))


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_a_decoder_with_a_cache_writes_what_it_writes_without(name: str) -> None:
    model, source = ENCODER_DECODERS[name](), ids(1, 5)
    given = model.given(np.pad(source, ((0, 0), (0, 2))), np.arange(7)[None] < 5)
    assert np.allclose(given(ids(1, 4)).data, model(source, ids(1, 4)).data, rtol=1e-10, atol=1e-12)
    found = [
        list(generate(given, [2], lambda logits: int(logits.argmax()), max_tokens=6, use_cache=use_cache))
        for use_cache in (True, False)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_an_encoder_decoder_comes_back_from_its_folder_and_learns(tmp_path: Path, name: str) -> None:
    model = ENCODER_DECODERS[name](np.float32).train()
    optimizer = AdamW(parameter_groups(model, 0.0))
    source, targets = ids(3, 5), ids(3, 5)[:, ::-1]
    losses = []
    for step in range(40):
        optimizer.zero_grad()
        with random_step(seed=0, step=step):
            loss = model.loss(source, targets)
        loss.backward()
        optimizer.step(1e-2)
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    model.eval()
    save_model(tmp_path, model)
    with no_grad():
        expected = model(source, targets).data
    assert np.allclose(load_model(tmp_path)(source, targets).data, expected, rtol=1e-4, atol=1e-4)
    found = tinylm.load(tmp_path).logits(source, decoder_input_ids=targets)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4)


BROKEN = [
    (bert, {"architectures": ["BertForNextSentencePrediction"]}, "BertForNextSentencePrediction"),
    (bert, {"position_embedding_type": "relative_key"}, "position_embedding_type=relative_key"),
    (bert, {"hidden_act": "mish"}, "hidden_act is 'mish'"),
    (bert, {"num_attention_heads": 5}, "num_attention_heads 5"),
    (bart, {"normalize_before": True}, "normalize_before=True"),
    (marian, {"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings=False"),
    (t5, {"feed_forward_proj": "gated-mish"}, "gated-mish"),
]


@pytest.mark.parametrize(("make", "changes", "words"), BROKEN)
def test_a_folder_that_would_compute_something_else_is_refused(tmp_path: Path, make, changes, words) -> None:
    save_model(tmp_path, make(dtype=np.float32))
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    with pytest.raises(FileFormatError, match=words):
        load_model(tmp_path)


def test_what_a_model_cannot_do_is_said() -> None:
    with pytest.raises(TinylmError, match="no head to train"):
        bert().loss(ids(1, 3), ids(1, 3))
    with pytest.raises(TinylmError, match="expected one of none, masked_language"):
        bert("chat")
    with pytest.raises(ValueError, match="10 tokens do not fit into a context of 9"):
        bert()(ids(1, 10))
    with pytest.raises(ValueError, match="10 tokens do not fit into a context of 9"):
        bart()(ids(1, 3), ids(1, 10))


def test_texts_of_any_lengths_are_pooled_without_their_padding() -> None:
    model, rows = bert(dtype=np.float32), [ids(1, n)[0] for n in (5, 1, 9, 3)]
    alone = [model(row[None]).data[0] for row in rows]
    for mode, pool in (("mean", lambda h: h.mean(0)), ("max", lambda h: h.max(0)), ("first", lambda h: h[0])):
        expected = np.stack([pool(hidden) for hidden in alone])
        assert np.allclose(sentence_vectors(model, rows, Pooling(mode), batch_size=3), expected, atol=1e-5)
        unit = sentence_vectors(model, rows, Pooling(mode, normalize=True))
        assert np.allclose(unit, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_a_folder_that_pools_in_another_way_is_refused(tmp_path: Path) -> None:
    assert read_pooling(tmp_path) == Pooling()
    steps = [
        {"path": "", "type": "a.Transformer"},
        {"path": "1", "type": "a.Pooling"},
        {"path": "2", "type": "a.Dense"},
    ]
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    for count, expected in ((2, Pooling("first")), (3, "module 'Dense' is not supported")):
        (tmp_path / "modules.json").write_text(json.dumps(steps[:count]))
        if count == 2:
            assert read_pooling(tmp_path) == expected
        else:
            with pytest.raises(FileFormatError, match=expected):
                read_pooling(tmp_path)
    (tmp_path / "modules.json").write_text(json.dumps(steps[:2]))
    (tmp_path / "1" / "config.json").write_text('{"pooling_mode_lasttoken": true}')
    with pytest.raises(FileFormatError, match="pooling_mode_lasttoken"):
        read_pooling(tmp_path)


def test_vectors_are_for_encoders_with_their_tokenizer(tmp_path: Path) -> None:
    save_model(tmp_path / "t5", t5(np.float32), CharTokenizer("abc"))
    save_model(tmp_path / "bert", bert(dtype=np.float32), CharTokenizer("abc"))
    with pytest.raises(TinylmError, match="no encoder"):
        tinylm.load(tmp_path / "t5").embed(["abc"])
    with pytest.raises(TinylmError, match="special tokens"):
        tinylm.load(tmp_path / "bert").embed(["abc"])
    with pytest.raises(TypeError, match="received one text"):
        tinylm.load(tmp_path / "bert").embed("abc")


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_an_encoder_decoder_writes_the_target_of_a_text(tmp_path: Path, name: str) -> None:
    model, tokenizer = ENCODER_DECODERS[name](np.float32), CharTokenizer("abcdefghijk")
    save_model(tmp_path, model, tokenizer, generation={"decoder_start_token_id": 4, "bad_words_ids": [[7], [8]]})
    lm = tinylm.load(tmp_path)
    text = lm.generate("fghi", temperature=0, max_tokens=6)
    assert text == lm.generate("fghi", temperature=0, max_tokens=6, use_cache=False)
    assert len(text) <= 6
    written = [4]
    for _ in text:
        logits = lm.logits([[5, 6, 7, 8]], decoder_input_ids=[written])[0, -1]
        written.append(int(np.where(np.isin(np.arange(V), [7, 8]), -np.inf, logits).argmax()))
    assert tokenizer.decode(written[1:]) == text
    lm.save(tmp_path / "again")
    assert tinylm.load(tmp_path / "again").generation_config == lm.generation_config


def test_a_target_ends_where_the_context_does_and_a_longer_source_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path, bart(np.float32), CharTokenizer("abcdefghijk"))
    lm = tinylm.load(tmp_path)
    assert len(lm.generate("fghi", max_tokens=100, seed=1)) <= 9
    with pytest.raises(TinylmError, match="the source has 10 tokens, BartForConditionalGeneration reads 9 at most"):
        lm.generate("f" * 10)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"forced_bos_token_id": "x"}, "forced_bos_token_id is 'x', expected ids of tokens"),
        ({"eos_token_id": [1, -1]}, r"eos_token_id is \[1, -1\]"),
        ({"bad_words_ids": [[1, 2]]}, "supported: lists of one token each"),
    ],
)
def test_a_generation_config_that_makes_no_sense_is_refused(tmp_path: Path, settings: dict, words: str) -> None:
    save_model(tmp_path, t5(np.float32), CharTokenizer("abcdefghijk"), generation=settings)
    with pytest.raises(FileFormatError, match=f"generation_config.json.*{words}"):
        tinylm.load(tmp_path).generate("abc")


def test_a_model_that_continues_no_text_says_so(tmp_path: Path) -> None:
    save_model(tmp_path, bert(dtype=np.float32), CharTokenizer("abcdefghijk"))
    lm = tinylm.load(tmp_path)
    for use in (lm.generate, lm.next, lm.score):
        with pytest.raises(TinylmError, match="BertModel does not continue a text"):
            use("abc")
