"""Output that keeps to a regular expression or a JSON schema, whatever the model wants and however tokens are cut."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from test_completions import Words

from tinylm import LM
from tinylm.cli import main
from tinylm.errors import TinylmError
from tinylm.formats import save_model
from tinylm.inference import GenerationSettings, Writer
from tinylm.inference.grammar import Automaton, Constraint, TokenTable, parse_json_schema, parse_regex
from tinylm.inference.grammar.automaton import DEAD
from tinylm.inference.grammar.characters import ALL, byte_tree, complement, matched_by, union, without
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer

RANGES = st.lists(st.tuples(st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF)).map(sorted).map(tuple), max_size=5)


def characters(ranges) -> set[int]:
    return {code for low, high in ranges for code in range(low, high + 1)}


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)).map(sorted).map(tuple), max_size=5), st.data())
def test_sets_of_characters_are_sets(ranges, data) -> None:
    others = data.draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)).map(sorted).map(tuple), max_size=5))
    a, b = union(ranges), union(others)
    assert characters(a) == characters(ranges)
    assert characters(without(a, b)) == characters(a) - characters(b)
    assert complement(complement(a)) == a
    assert all(high + 1 < low for (_, high), (low, _) in itertools.pairwise(a))


@given(RANGES, st.lists(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_the_bytes_of_a_set_are_the_utf_8_of_its_characters(ranges, drawn) -> None:
    whole = union(ranges)
    edges = [chr(code) for pair in whole for code in pair]
    for character in [*drawn, *edges, "\ud7ff", "\ue000", "\U0010ffff", "\x7f", "\x80"]:
        tree, inside = byte_tree(whole), True
        for byte in character.encode():
            found = [rest for low, high, rest in tree if low <= byte <= high]
            inside = bool(found)
            if not inside:
                break
            tree = found[0]
        assert inside == any(low <= ord(character) <= high for low, high in whole)


@pytest.mark.parametrize("category", [r"\d", r"\W", r"\s"])
def test_categories_are_those_of_re(category: str) -> None:
    ranges = matched_by(category)
    for code in [*range(0x300), *(edge + d for pair in ranges for edge in pair for d in (-1, 0, 1))]:
        if any(low <= code <= high for low, high in ALL):
            inside = any(low <= code <= high for low, high in ranges)
            assert inside == bool(re.fullmatch(category, chr(code)))


ATOMS = st.sampled_from(["a", "b", "今", "é", "😀", ".", r"\d", "[ab]", "[^a]", "[a-c今]", r"\.", "(?:ab|今)", "(a|)"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: f"(?:{'|'.join(options)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "{0,2}?"])).map(
            lambda p: f"({p[0]}){p[1]}"
        ),
    ),
    max_leaves=6,
)
TEXTS = st.lists(st.sampled_from([*"abc今é😀.\n1", "٣"]), max_size=6).map("".join)


def read(automaton: Automaton, text: str) -> bool:
    state = 0
    for byte in text.encode():
        state = int(automaton.step(np.array([state]), np.array([byte]))[0])
        if state == DEAD:
            return False
    return automaton.accepts(state)


@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=20))
def test_an_automaton_accepts_what_re_matches(pattern: str, texts: list[str]) -> None:
    automaton = Automaton(parse_regex(pattern))
    for text in texts:
        assert read(automaton, text) == bool(re.fullmatch(pattern, text)), (pattern, text)


# Tokens that hold a part of a character, several characters, and the end of one with the beginning of another.
TOKENS = [b"<end>", *(bytes([byte]) for byte in sorted(set("abc今é😀.\n1٣".encode()))), b"ab", "今".encode()[:2],
          "é今".encode()[1:4], b"ba1"]  # fmt: skip


def write(constraint: Constraint, seed: int, most: int = 60) -> Writer:
    """A text by a model that wants anything."""
    tokenizer, rng = Words(TOKENS), np.random.default_rng(seed)
    settings = GenerationSettings(max_tokens=most, seed=seed)
    writer = Writer([1], tokenizer, settings, end_ids={0}, constraint=constraint, continues=False)
    pieces = []
    while writer.finish_reason is None:
        pieces.append(writer.take(rng.normal(0, 3, len(TOKENS) + 2)))  # a model with more logits than tokens
    assert "".join(pieces) == writer.completion().text
    return writer


@given(PATTERNS, st.integers(0, 99))
def test_every_text_that_ends_matches(pattern: str, seed: int) -> None:
    constraint = Constraint(parse_regex(pattern), TokenTable(Words(TOKENS)))
    try:
        writer = write(constraint, seed)
    except TinylmError:  # a character that no token of this vocabulary holds
        assume(False)
    if writer.finish_reason == "stop":
        assert re.fullmatch(pattern, writer.completion().text), (pattern, writer.completion().text)


@given(PATTERNS, st.lists(st.integers(0, len(TOKENS) - 1), max_size=8))
def test_a_mask_allows_the_tokens_whose_bytes_can_go_on(pattern: str, ids: list[int]) -> None:
    automaton = Automaton(parse_regex(pattern))
    constraint = Constraint(parse_regex(pattern), TokenTable(Words(TOKENS)))
    state = inner = 0
    for id in ids:
        for byte in TOKENS[id]:
            if inner != DEAD:
                inner = int(automaton.step(np.array([inner]), np.array([byte]))[0])
        assert constraint.mask(state)[id] == (inner != DEAD)
        if inner == DEAD:
            break
        state = constraint.next(state, id)
        assert constraint.accepts(state) == automaton.accepts(inner)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("(", "malformed"), (r"a\b", "AT"), ("a(?=b)", "ASSERT"), (r"(a)\1", "GROUPREF"), ("(?i)a", "flags"),
     ("(?i:a)", "flags"), ("a^b", "AT"), ("a++", "POSSESSIVE"), (r"[^\s\S]", "matches no text"),
     ("(a{1000}){1000}", "too large"), ("(" * 2000 + "a" + ")" * 2000, "too deeply")],
)  # fmt: skip
def test_expressions_that_are_not_supported_are_refused_by_name(pattern: str, words: str) -> None:
    with pytest.raises(TinylmError, match=words):
        Automaton(parse_regex(pattern))


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"$ref": "#/$defs/age"},
        "tags": {"type": "array", "items": {"enum": ["a", 'ü"', 3, None]}, "minItems": 1, "maxItems": 2},
        "where": {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "^[a-c\n]{1,2}$"}]},
        "ok": {"type": ["boolean", "number"]},
    },
    "required": ["age", "where"],
    "$defs": {"age": {"type": "integer", "description": "in years"}},
}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('{"age": 3, "where": null}', True),
        ('{"name":"\\u0001\\n😀","age":-3, "where":"a\\n"}', True),
        ('{"name": "a", "age": 0, "tags": ["a", null], "where": "ab", "ok": -1.5e+3}', True),
        ('{"age": 3, "where": null, "ok": true}', True),
        ('{"age": 03, "where": null}', False),
        ('{"where": null}', False),
        ('{"age": 3, "tags": [], "where": null}', False),
        ('{"age": 3, "where": "abc"}', False),
        ('{"age": 3, "where": null,}', False),
        ('{"name": "123456789", "age": 3, "where": null}', False),
        ('{"name": "a\n", "age": 3, "where": null}', False),
        ('{"where": null, "age": 3}', False),  # in another order
    ],
)
def test_a_schema_allows_the_texts_that_are_promised(text: str, fits: bool) -> None:
    assert read(Automaton(parse_json_schema(SCHEMA)), text) == fits
    if fits:
        json.loads(text)


BOUNDS = st.one_of(st.none(), st.integers(-1200, 1200))


@given(BOUNDS, BOUNDS, st.lists(st.integers(-1300, 1300), max_size=30))
def test_bounds_of_integers_hold(low, high, numbers) -> None:
    schema = {
        "type": "integer",
        **({} if low is None else {"minimum": low}),
        **({} if high is None else {"maximum": high}),
    }
    assume(low is None or high is None or low <= high)
    automaton = Automaton(parse_json_schema(schema))
    for number in [*numbers, *(bound + by for bound in (low, high) if bound is not None for by in (-1, 0, 1)), 10**9]:
        assert read(automaton, str(number)) == ((low is None or number >= low) and (high is None or number <= high))
    assert not read(automaton, "007")
    assert not read(automaton, "-0")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ([], "expected an object"),
        ({}, "type is None"),
        ({"type": "text"}, "type is 'text'"),
        ({"type": "number", "minimum": 3}, "#: 'minimum' is not supported"),
        ({"type": "integer", "minimum": 0.5}, "bounds of an integer"),
        ({"type": "object", "properties": {"a": {"type": "string", "format": "date"}}}, "#/properties/a: 'format'"),
        ({"type": "object", "required": ["a"]}, "'a' is required"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}}, "contains itself"),
        ({"$ref": "#/$defs/b"}, "there is no"),
        ({"type": "array"}, "needs items"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "minLength is 3"),
        ({"enum": []}, "list of values"),
        ({"anyOf": [{"type": "null"}, 3]}, "#/anyOf/1"),
    ],
)
def test_schemas_beyond_the_subset_are_refused_by_name_and_place(schema, words) -> None:
    with pytest.raises(TinylmError, match=re.escape(words)):
        parse_json_schema(schema)


@pytest.fixture(scope="module")
def lm() -> LM:
    config = GPT2Config(256, n_positions=64, n_embd=12, n_layer=1, n_head=2, initializer_range=0.3)
    model = GPT2(config, Initializer(0))
    return LM(lambda: model, ByteTokenizer)


def test_a_model_writes_what_is_asked_for(lm: LM) -> None:
    date = lm.complete("On ", regex=r"\d{4}-(0[1-9]|1[0-2])", seed=0)
    assert re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", date.text)
    assert date.finish_reason == "stop"
    for seed in range(3):
        done = lm.complete("A person: ", json_schema=SCHEMA, seed=seed, logit_bias={ord('"'): 5.0}, max_tokens=400)
        if done.finish_reason == "stop":
            assert (
                json.loads(done.text)["where"] in (None, "a", "b", "c", "\n")
                or len(json.loads(done.text)["where"]) == 2
            )
    assert lm.generate("x", regex="yes|no", temperature=0) in ("yes", "no")
    with pytest.raises(TinylmError, match="not to both"):
        lm.generate("x", regex="a", json_schema=SCHEMA)


def test_the_command_line_takes_both(lm: LM, tmp_path: Path, capsys) -> None:
    save_model(tmp_path / "m", lm.model, ByteTokenizer())
    (tmp_path / "schema.json").write_text(json.dumps({"type": "array", "items": {"type": "boolean"}, "maxItems": 2}))
    assert main(["generate", str(tmp_path / "m"), ">", "--regex", "[a-c]{5}"]) == 0
    assert re.fullmatch(r">[a-c]{5}\n", capsys.readouterr().out)
    assert main(["generate", str(tmp_path / "m"), ">", "--json-schema", str(tmp_path / "schema.json")]) == 0
    assert isinstance(json.loads(capsys.readouterr().out[1:]), list)
    assert main(["generate", str(tmp_path / "m"), ">", "--json-schema", str(tmp_path / "none.json")]) == 2
