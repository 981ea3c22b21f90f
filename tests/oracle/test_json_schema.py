"""Texts of random schemas against jsonschema, which has to find nothing wrong with them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

jsonschema = pytest.importorskip("jsonschema")

from tinylm.inference import GenerationSettings, Writer
from tinylm.inference.grammar import Constraint, TokenTable, parse_json_schema
from tinylm.text import ByteTokenizer

pytestmark = pytest.mark.oracle

NAMES = st.sampled_from(["a", "b", 'q"uote', "ünï", ""])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.text(max_size=3), st.just([1, {"a": None}]))
SIMPLE = st.one_of(
    st.sampled_from(["integer", "number", "boolean", "null"]).map(lambda kind: {"type": kind}),
    st.just({"type": ["string", "null"], "maxLength": 4}),
    st.integers(-50, 50).map(lambda bound: {"type": "integer", "minimum": bound, "exclusiveMaximum": bound + 12}),
    st.tuples(st.integers(0, 2), st.integers(2, 5)).map(
        lambda b: {"type": "string", "minLength": b[0], "maxLength": b[1]}
    ),
    st.sampled_from(["^a+$", "b", "^[^x]", r"\d\"|\\"]).map(lambda pattern: {"type": "string", "pattern": pattern}),
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    VALUES.map(lambda value: {"const": value}),
)


def objects(inner: st.SearchStrategy) -> st.SearchStrategy:
    return st.tuples(st.dictionaries(NAMES, inner, max_size=4), st.integers(0, 4)).map(
        lambda drawn: {
            "type": "object",
            "properties": drawn[0],
            "required": list(drawn[0])[: drawn[1]],
            "additionalProperties": False,
        }
    )


SCHEMAS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        objects(inner),
        st.tuples(inner, st.integers(0, 2)).map(
            lambda d: {"type": "array", "items": d[0], "minItems": d[1], "maxItems": 3}
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"anyOf": options}),
    ),
    max_leaves=6,
)
TOKENIZER = ByteTokenizer()
TABLE = TokenTable(TOKENIZER)
# A model that likes to end strings and numbers, so that most texts end.
LIKES = np.zeros(256)
LIKES[list(b'"]}, ')] = 6


@given(SCHEMAS, st.integers(0, 999))
def test_what_is_written_is_valid(schema, seed: int) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    constraint = Constraint(parse_json_schema(schema), TABLE)
    settings = GenerationSettings(max_tokens=300, seed=seed)
    writer = Writer([0], TOKENIZER, settings, constraint=constraint)
    rng = np.random.default_rng(seed)
    while writer.finish_reason is None:
        writer.take(LIKES + rng.normal(0, 1, 256))
        if constraint.accepts(writer._state):  # a number may always go on: this model would not end
            break
    done = writer.completion()
    if done.finish_reason != "length":
        jsonschema.validate(json.loads(done.text), schema)
