"""The server's API, in the process of the tests."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2")

from serving_models import byte_model
from starlette.testclient import TestClient

import tinylm
from tinylm.formats import GenerationConfig, Pooling
from tinylm.serving import ServerSettings, create_app

LIMITS = {"max_tokens": 64, "max_prompt_tokens": 400, "max_texts": 8, "max_body": 20_000}


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def client(lm):
    settings = ServerSettings("tiny", hosts=("testserver",), **LIMITS)
    with TestClient(create_app(lm, settings), raise_server_exceptions=False) as client:
        yield client


def complete(client, **fields):
    return client.post("/v1/completions", json={"model": "tiny", "temperature": 0, **fields})


def chat(client, **fields):
    messages = [{"role": "user", "content": "Hi"}]
    return client.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 8, "seed": 1, **fields})


def events(response) -> list:
    """The data of a stream, without its end."""
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block.removeprefix("data: ") for block in response.text.split("\n\n") if block]
    assert blocks.pop() == "[DONE]"
    return [json.loads(block) for block in blocks]


def error(response, status: int) -> dict:
    assert response.status_code == status, response.text
    body = response.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    return body


def test_a_completion_is_what_the_model_writes(client, lm) -> None:
    body = complete(client, prompt="Hello", max_tokens=9).json()
    done = lm.complete("Hello", max_tokens=9, temperature=0)
    assert body["choices"] == [{"index": 0, "text": done.text, "logprobs": None, "finish_reason": "length"}]
    assert body["usage"] == {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
    assert (body["object"], body["model"]) == ("text_completion", "tiny")


def test_prompts_and_choices_are_numbered_in_order(client, lm) -> None:
    body = complete(client, prompt=["a", "b"], n=2, max_tokens=5, temperature=1, seed=3).json()
    expected = [done.text for done in lm.complete(["a", "b"], n=2, max_tokens=5, seed=3)]
    assert [choice["text"] for choice in body["choices"]] == expected
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert body["usage"]["completion_tokens"] == 20


@pytest.mark.parametrize("prompt", [[72, 105], [[72, 105]], "Hi", ["Hi"]])
def test_a_prompt_may_be_the_ids_of_its_tokens(client, prompt) -> None:
    assert (
        complete(client, prompt=prompt, max_tokens=6).json()["choices"][0]["text"]
        == (complete(client, prompt="Hi", max_tokens=6).json()["choices"][0]["text"])
    )


@pytest.mark.parametrize("settings", [{}, {"logprobs": 3}, {"echo": True, "logprobs": 1}, {"n": 2, "seed": 5}])
def test_the_pieces_of_a_stream_join_to_the_whole_answer(client, settings) -> None:
    asked = {"prompt": ["One", "Two"], "max_tokens": 12, "temperature": 0.9, "seed": 1, **settings}
    whole = complete(client, **asked).json()
    parts = events(complete(client, **asked, stream=True, stream_options={"include_usage": True}))
    assert parts.pop()["usage"] == whole["usage"]
    for index, choice in enumerate(whole["choices"]):
        mine = [part["choices"][0] for part in parts if part["choices"][0]["index"] == index]
        assert "".join(part["text"] for part in mine) == choice["text"]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
        if choice["logprobs"]:
            for name, values in choice["logprobs"].items():
                assert [value for part in mine for value in part["logprobs"][name]] == values


def test_echo_tells_the_probability_of_each_token_of_the_prompt(client, lm) -> None:
    text = "An echo of a prompt that is longer than one step. " * 5
    body = complete(client, prompt=text, max_tokens=1, echo=True, logprobs=2).json()
    choice, score = body["choices"][0], lm.score(text)
    logprobs = choice["logprobs"]
    assert choice["text"].startswith(text)
    assert len(logprobs["tokens"]) == len(text) + 1
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["top_logprobs"][0] is None
    assert np.allclose(logprobs["token_logprobs"][1:-1], score.log_probabilities, atol=1e-4)
    for token, own, likeliest in zip(
        *(logprobs[name][1:] for name in ("tokens", "token_logprobs", "top_logprobs")), strict=True
    ):
        assert likeliest[token] == own
        assert 2 <= len(likeliest) <= 3
    assert logprobs["text_offset"][:-1] == list(range(len(text)))


def test_echo_without_new_tokens_scores_beyond_the_context(tmp_path) -> None:
    lm = byte_model(tmp_path / "small", context=16)
    text = "Longer than the sixteen bytes that this one looks at."
    with TestClient(create_app(lm, ServerSettings("small"))) as client:
        asked = {"prompt": text, "max_tokens": 0, "echo": True, "logprobs": 0}
        choice = client.post("/v1/completions", json=asked).json()["choices"][0]
    assert choice["text"] == text
    assert np.allclose(choice["logprobs"]["token_logprobs"][1:], lm.score(text).log_probabilities, atol=1e-4)


def test_a_token_that_ends_the_text_has_a_probability_too(tmp_path) -> None:
    """Those who score with one new token count on one more entry than the prompt has tokens."""
    lm = byte_model(tmp_path / "model")
    (end,) = lm.complete("Hello", max_tokens=1, temperature=0).tokens
    ending = tinylm.LM(lambda: lm.model, lambda: lm.tokenizer, Pooling, lambda: GenerationConfig((end,)))
    with TestClient(create_app(ending, ServerSettings("tiny"))) as client:
        body = complete(client, prompt="Hello", max_tokens=5, echo=True, logprobs=1).json()
    choice = body["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("Hello", "stop")
    assert len(choice["logprobs"]["tokens"]) == len(choice["logprobs"]["token_logprobs"]) == 6
    assert body["usage"]["completion_tokens"] == 0


def test_a_stop_string_ends_a_text_and_is_not_in_it(client) -> None:
    free = complete(client, prompt="Hello", max_tokens=30).json()["choices"][0]["text"]
    stop = free[3:5]
    choice = complete(client, prompt="Hello", max_tokens=30, stop=stop).json()["choices"][0]
    assert choice["text"] == free[: free.index(stop)]
    assert choice["finish_reason"] == "stop"


def test_an_answer_is_what_the_model_answers(client, lm) -> None:
    body = chat(client).json()
    messages = [{"role": "user", "content": "Hi"}]
    choice = body["choices"][0]
    assert choice["message"] == {
        "role": "assistant",
        "content": lm.chat(messages, max_tokens=8, seed=1),
        "refusal": None,
    }
    assert body["usage"]["prompt_tokens"] == len(lm.chat_ids(messages))
    assert body["object"] == "chat.completion"


def test_a_streamed_answer_begins_with_its_role_and_ends_with_its_usage(client) -> None:
    whole = chat(client, logprobs=True, top_logprobs=2).json()
    parts = events(chat(client, logprobs=True, top_logprobs=2, stream=True, stream_options={"include_usage": True}))
    assert parts[-1]["choices"] == []
    assert parts.pop()["usage"] == whole["usage"]
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert deltas[0]["role"] == "assistant"
    assert not any("role" in delta for delta in deltas[1:])
    assert "".join(delta.get("content", "") for delta in deltas) == whole["choices"][0]["message"]["content"]
    scored = [entry for part in parts for entry in part["choices"][0]["logprobs"]["content"]]
    assert scored == whole["choices"][0]["logprobs"]["content"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in scored)


def test_a_content_may_come_in_parts(client) -> None:
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    assert (
        chat(client, messages=[{"role": "user", "content": parts}]).json()["choices"] == chat(client).json()["choices"]
    )


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), st.integers(0, 1000))
def test_no_chunk_of_any_text_splits_a_character(client, prompt: str, seed: int) -> None:
    asked = {"prompt": prompt, "max_tokens": 20, "temperature": 1.5, "seed": seed, "logprobs": 1, "echo": True}
    response = complete(client, **asked, stream=True)
    text = "".join(part["choices"][0]["text"] for part in events(response))
    assert text == complete(client, **asked).json()["choices"][0]["text"]
    assert text.startswith(prompt)
    for block in response.content.split(b"\n\n"):
        block.decode("utf-8")


WRONG = {
    "no prompt": ({}, "prompt", "prompt is missing"),
    "a prompt of another kind": (
        {"prompt": {"a": 1}},
        "prompt",
        "expected a text, a list of texts, or ids of tokens, 0 to 255",
    ),
    "ids that do not exist": ({"prompt": [1, 256]}, "prompt", "[1, 256]"),
    "no prompts": ({"prompt": []}, "prompt", "missing or empty"),
    "too many prompts": ({"prompt": ["a"] * 9}, "prompt", "9 texts, expected at most 8"),
    "too many choices": ({"prompt": ["a"] * 4, "n": 3}, "n", "n is 3, expected a whole number from 1 to 2"),
    "a long prompt": ({"prompt": "a" * 401}, None, "401 tokens, expected at most 400"),
    "max_tokens": ({"prompt": "a", "max_tokens": 65}, "max_tokens", "from 0 to 64"),
    "true for a number": ({"prompt": "a", "max_tokens": True}, "max_tokens", "max_tokens is true"),
    "temperature": ({"prompt": "a", "temperature": -0.1}, "temperature", "temperature is -0.1"),
    "a huge number": ({"prompt": "a", "temperature": 10**400}, "temperature", "expected a number from 0 to 100"),
    "top_p": ({"prompt": "a", "top_p": 0}, None, "top_p is 0, expected 0 < p <= 1"),
    "stop": ({"prompt": "a", "stop": ["b", ""]}, "stop", "none of them empty"),
    "stops": ({"prompt": "a", "stop": ["b"] * 17}, "stop", "17 texts"),
    "logit_bias": ({"prompt": "a", "logit_bias": {"256": 1}}, "logit_bias", "0 to 255"),
    "an unknown field": ({"prompt": "a", "max_token": 3}, "max_token", "did you mean 'max_tokens'"),
    "an unknown option": ({"prompt": "a", "stream_options": {"x": 1}}, "stream_options.x", "include_usage"),
    "best_of": ({"prompt": "a", "best_of": 2}, "best_of", "best_of is 2"),
    "deep": ({"prompt": "a", "logit_bias": [[[[[[]]]]]]}, "logit_bias", "[[[[[[]]]]]]"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_named_with_its_field(client, name: str, stream: bool) -> None:
    fields, param, words = WRONG[name]
    body = error(client.post("/v1/completions", json={**fields, "stream": stream}), 400)
    assert words in body["message"]
    assert body["param"] == param
    assert body["type"] == "invalid_request_error"


def form(schema, **more) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


def test_an_answer_is_a_value_of_the_schema_that_was_asked_for(client) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    messages = [{"role": "user", "content": "Is it?"}]
    body = chat(client, messages=messages, response_format=form(schema, strict=True), max_tokens=64, seed=1).json()
    assert isinstance(json.loads(body["choices"][0]["message"]["content"])["ok"], bool)
    assert chat(client, messages=messages, response_format={"type": "text"}, max_tokens=2).status_code == 200


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"type": "json_object"}, "'text' or 'json_schema'"),
        ({"type": "json_schema"}, "no json_schema.schema"),
        (form({"type": "object", "patternProperties": {}}), "patternProperties"),
        (form({}, extra=1), "there is no field"),
    ],
)
def test_a_form_that_cannot_be_kept_is_refused(client, asked, words) -> None:
    messages = [{"role": "user", "content": "Is it?"}]
    assert words in error(chat(client, messages=messages, response_format=asked), 400)["message"]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "missing or empty"),
        ("Hi", 'messages is "Hi"'),
        ([{"role": "user"}], 'messages[0] is {"role": "user"}'),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "text as content"),
        ([{"content": "x"}], "text as role"),
        ([{"role": "user", "content": "x" * 390}], "tokens"),
    ],
)
def test_a_conversation_that_is_none_is_refused(client, messages, words) -> None:
    assert words in error(chat(client, messages=messages), 400)["message"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "malformed JSON"),
        (b"[1]", "expected a JSON object"),
        (b"[" * 100_000 + b"]" * 100_000, "too large"),
        (b'{"prompt": ' + b"[" * 9_000 + b"]" * 9_000 + b"}", "nested too deeply"),
        (b'{"prompt": NaN}', "NaN"),
        (b'{"prompt": "a", "prompt": "b"}', "twice"),
        (b'{"prompt": "\\ud800"}', "surrogate"),
        (b'{"prompt": "\xff"}', "UTF-8"),
    ],
)
def test_what_is_no_json_is_refused(client, content, words) -> None:
    response = client.post("/v1/completions", content=content, headers={"Content-Type": "application/json"})
    assert words in error(response, 413 if len(content) > LIMITS["max_body"] else 400)["message"]


def test_a_body_whose_length_is_not_told_is_bounded_too(client) -> None:
    chunks = (b" " * 1000 for _ in range(100))
    response = client.post("/v1/completions", content=chunks, headers={"Content-Type": "application/json"})
    assert error(response, 413)["message"].endswith("at most 20,000 bytes")


def test_other_sites_and_other_hosts_are_refused(client) -> None:
    form = client.post("/v1/completions", content=b'{"prompt": "a"}', headers={"Content-Type": "text/plain"})
    assert "application/json" in error(form, 415)["message"]
    rebound = client.post("/v1/completions", json={"prompt": "a"}, headers={"Host": "evil.example:80"})
    assert error(rebound, 400)["code"] == "wrong_host"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2", 404), ("GET", "/v1/completions", 405)])
def test_what_is_not_there_has_the_shape_of_an_error(client, method, path, status) -> None:
    error(client.request(method, path), status)


def test_models_are_listed_and_others_are_not_found(client) -> None:
    listed = client.get("/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["tiny"]
    assert client.get("/v1/models/tiny").json() == listed["data"][0]
    assert error(client.get("/v1/models/else/where"), 404)["code"] == "model_not_found"
    assert error(complete(client, model="gpt-4", prompt="a"), 404)["code"] == "model_not_found"


def test_health_and_metrics_tell_of_the_server(client) -> None:
    assert client.get("/health").json() == {"status": "ok", "active": 0, "waiting": 0}
    before = metrics(client)
    complete(client, prompt="abc", max_tokens=7)
    after = metrics(client)
    grown = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    assert grown["tinylm_prompt_tokens_total"] == 3
    assert grown["tinylm_completion_tokens_total"] == 7
    assert grown['tinylm_requests_total{path="/v1/completions",status="200"}'] == 1
    assert grown["tinylm_first_token_seconds_count"] == 1
    assert after["tinylm_requests_waiting"] == 0


def metrics(client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_a_key_is_asked_for_everywhere_but_at_the_door(lm) -> None:
    with TestClient(create_app(lm, ServerSettings("tiny", api_key="sésame"))) as client:
        for path in ("/v1/models", "/metrics", "/v1/else"):
            assert error(client.get(path), 401)["code"] == "invalid_api_key"
        assert error(client.get("/v1/models", headers={"Authorization": "Bearer wrong"}), 401)
        assert client.get("/v1/models", headers={"Authorization": "Bearer sésame".encode()}).status_code == 200
        assert client.get("/health").status_code == 200


def test_an_error_of_ours_is_told_without_its_details(lm, monkeypatch) -> None:
    settings = ServerSettings("tiny")
    with TestClient(create_app(lm, settings), raise_server_exceptions=False) as client:
        monkeypatch.setattr(lm, "stream", lambda *_, **__: 1 / 0)
        body = error(client.post("/v1/completions", json={"prompt": "a"}), 500)
        assert "zero" not in body["message"]
        text = client.post("/v1/completions", json={"prompt": "a", "stream": True}).text
        assert json.loads(text.removeprefix("data: "))["error"]["type"] == "server_error"


def test_embeddings_need_an_encoder(client) -> None:
    asked = {"input": "Hi", "model": "tiny"}
    assert "no encoder" in error(client.post("/v1/embeddings", json=asked), 400)["message"]


def test_embeddings_are_the_vectors_of_the_model_in_both_encodings(lm, monkeypatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    monkeypatch.setattr(lm, "embed", lambda texts: vectors[[int(text) for text in texts]])
    with TestClient(create_app(lm, ServerSettings("tiny"))) as client:
        asked = {"input": [str(number) for number in range(20)]}
        body = client.post("/v1/embeddings", json=asked).json()
        assert np.allclose([entry["embedding"] for entry in body["data"]], vectors)
        assert body["usage"] == {"prompt_tokens": 30, "total_tokens": 30}
        body = client.post("/v1/embeddings", json={**asked, "encoding_format": "base64"}).json()
        rows = [np.frombuffer(base64.b64decode(entry["embedding"]), "<f4") for entry in body["data"]]
        assert np.array_equal(rows, vectors)
        assert math.isfinite(body["data"][0]["index"])
