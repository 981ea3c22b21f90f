"""Chat templates that harm nobody, answers, and conversations that outgrow the context."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from chat_templates import CHATML, FORMATS, TOKENS, say

import tinylm
from tinylm import LM
from tinylm.cli import main
from tinylm.errors import TinylmError
from tinylm.formats import convert, save_model
from tinylm.inference import ChatTemplate, PlainTemplate
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer, TokenizerConfig, train_bpe

jinja2 = pytest.importorskip("jinja2")


def make(context: int = 200, template: str | None = None) -> LM:
    config = GPT2Config(256, n_positions=context, n_embd=12, n_layer=1, n_head=2, initializer_range=0.3)
    model, tokenizer = GPT2(config, Initializer(0)), ByteTokenizer()
    tokenizer.config = TokenizerConfig(TOKENS, template)
    return LM(lambda: model, lambda: tokenizer)


DOUBLING = "{% set ns = namespace(x='abcdefgh') %}{% for i in range(60) %}{% set ns.x = OP %}{% endfor %}{{ ns.x }}"
NESTED = "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
HOSTILE = {
    "endless loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "endless conditions": "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}{% endfor %}",
    "endless recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "two calls each": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "doubling by +": DOUBLING.replace("OP", "ns.x + ns.x"),
    "doubling by ~": DOUBLING.replace("OP", "ns.x ~ ns.x"),
    "doubling by *": DOUBLING.replace("OP", "ns.x * 2"),
    "doubling by join": DOUBLING.replace("OP", "[ns.x, ns.x] | join"),
    "doubling by replace": DOUBLING.replace("OP", "ns.x.replace('a', ns.x)"),
    "a large number": "{{ 9 ** 9 ** 9 }}",
    "squares": "{% set ns = namespace(x=9) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "a wide field": "{{ '%999999999d' % 1 }}",
    "a wide format": "{{ '{:>999999999}'.format(1) }}",
    "a wide field of a value": "{{ '%*d' % (999999999, 1) }}",
    "a wide format of a value": "{{ '{:{}}'.format(1, 999999999) }}",
    "a wide line": "{{ 'a'.ljust(999999999) }}",
    "a wide filter": "{{ 'a' | center(999999999) }}",
    "lists in lists": NESTED + "{{ ns.x }}",
    "lists in lists as JSON": NESTED + "{{ ns.x | tojson }}",
    "lists in lists as text": NESTED + "{{ ns.x | string }}",
    "a format of lists": NESTED + "{{ '%s' % (ns.x,) }}",
    "the interpreter": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "the interpreter by a filter": "{{ ('' | attr('__class__')).__mro__ }}",
    "the interpreter by a function": "{{ raise_exception.__globals__['json'] }}",
    "names of Python's own": "{% set ns = namespace(__class__=1) %}",
    "changing the messages": "{{ messages.append(1) }}",
    "a file": "{% include '/etc/passwd' %}",
    "no template": "{% for %}",
    "an error": "{{ 1 / 0 }}",
    "too long": " " * (1 << 20) + "{{ 1 }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_refused_in_words(name: str, monkeypatch) -> None:
    monkeypatch.setattr("tinylm.inference.chat.sandbox.MOST_TURNS", 5000)
    monkeypatch.setattr("tinylm.inference.chat.sandbox.LARGEST", 1 << 16)
    monkeypatch.setattr("tinylm.inference.chat.sandbox.MOST_ITEMS", 1 << 14)
    with pytest.raises(TinylmError, match="chat template"):
        ChatTemplate(HOSTILE[name]).render(say("Hello"))


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_refused_in_time(name: str) -> None:
    start = time.monotonic()
    with pytest.raises(TinylmError, match="chat template"):
        ChatTemplate(HOSTILE[name]).render(say("Hello"))
    assert time.monotonic() - start < 15


def test_a_format_may_hold_stars_and_braces() -> None:
    source = "{{ '**%s** {}' % 'a' }}{{ '{{\"x\": {}}}'.format(12) }}{{ '%s' % 1700000000 }}{{ 1700000000 * 2 }}"
    assert ChatTemplate(source).render(say("Hello")) == '**a** {}{"x": 12}17000000003400000000'


def test_a_long_conversation_is_no_hostile_one() -> None:
    messages = say(*["word " * 200] * 1000)
    text = ChatTemplate(FORMATS["Llama 3"], TOKENS).render(messages)
    assert text.count("<|eot_id|>") == 1001


def test_what_a_template_says_of_the_messages_is_told(tmp_path: Path) -> None:
    with pytest.raises(TinylmError, match=r"a system message is not supported"):
        ChatTemplate(FORMATS["Gemma"], TOKENS).render(say("Hello", system="x"))
    with pytest.raises(TinylmError, match="line 2"):
        ChatTemplate("\n{% endfor %}").render(say("Hello"))


@pytest.mark.parametrize(
    ("messages", "words"),
    [("Hello", "list of messages"), ({"role": "user"}, "list of messages"), ([], "at least one"),
     (["Hello"], "message 0"), ([{"content": "x"}], "message 0"),
     ([{"role": "user", "content": object()}], "holds a object")],
)  # fmt: skip
@pytest.mark.parametrize("template", [None, CHATML])
def test_messages_that_are_none_are_named(messages, words, template) -> None:
    if template is None and "object" in words:
        words = "content of a message must be a text"
    with pytest.raises(TinylmError, match=words):
        make(template=template).chat(messages)


def test_without_jinja_the_message_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(TinylmError, match=r'pip install "tinylm\[chat\]"'):
        make(template=CHATML).chat(say("Hello"))
    assert len(make().chat(say("Hello"), max_tokens=3, seed=0)) > 0  # the plain one needs none


def test_a_plain_template_writes_who_speaks() -> None:
    text = PlainTemplate().render(say("Hello", "Hi!", "Bye", system="Be brief."), add_generation_prompt=True)
    assert text == "System:\nBe brief.\n\nUser:\nHello\n\nAssistant:\nHi!\n\nUser:\nBye\n\nAssistant:\n"


def test_an_answer_follows_the_rendered_conversation_and_ends_at_the_next_turn() -> None:
    lm = make(template=CHATML)
    prompt = lm.chat_template.render(say("Hello"), add_generation_prompt=True)
    assert lm.chat(say("Hello"), max_tokens=20, seed=0) == lm.generate(prompt, max_tokens=20, seed=0)
    assert asyncio.run(lm.achat(say("Hello"), max_tokens=20, seed=0)) == lm.chat(say("Hello"), max_tokens=20, seed=0)
    force = {ord("\n"): 1e9}
    assert make().chat(say("Hello"), max_tokens=5, logit_bias=force) == "\n" * 5
    stream = make().chat_stream(say("Hello"), max_tokens=500, logit_bias=force)
    assert stream.completion.usage.prompt_tokens + sum(map(len, stream)) == 200  # the context


def test_the_token_that_ends_a_turn_ends_the_answer() -> None:
    lm = make(template=CHATML)
    lm.tokenizer.config = TokenizerConfig({"eos_token": "!"}, CHATML)
    done = lm.chat_stream(say("Hello"), logit_bias={ord("!"): 1e9})
    assert list(done) == []
    assert done.completion.finish_reason == "stop"


def test_a_template_stays_with_the_model_whatever_its_tokenizer(tmp_path: Path) -> None:
    config = GPT2Config(260, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    for name, tokenizer in (("bytes", ByteTokenizer()), ("bpe", train_bpe(["a cat and a rat " * 9], 260))):
        tokenizer.config = TokenizerConfig({"eos_token": "<|endoftext|>"}, CHATML)
        save_model(tmp_path / name, GPT2(config, Initializer(0)), tokenizer)
        loaded = tinylm.load(tmp_path / name)
        assert isinstance(loaded.chat_template, ChatTemplate)
        loaded.save(tmp_path / "again")
        assert tinylm.load(tmp_path / "again").chat_template.source == CHATML
    convert(tmp_path / "bpe", tmp_path / "m.gguf")
    assert tinylm.load(tmp_path / "m.gguf").chat_template.source == CHATML


def test_a_conversation_keeps_what_was_said_and_reads_only_what_is_new() -> None:
    lm, computed = make(400, CHATML), []
    forward = lm.model.forward
    lm.model.forward = lambda ids, *rest: (computed.append(ids.shape[1]), forward(ids, *rest))[1]
    talk = lm.conversation("Be brief.", max_tokens=6, seed=0)
    first = "".join(talk.send("Hello"))
    assert talk.messages == say("Hello", first.strip(), system="Be brief.")
    before = len(computed)
    second = talk.send("And now?")
    next(second)
    assert computed[before] < len(lm.chat_ids(talk._system + say("And now?")))  # not what stands before it
    second.close()  # an interrupted answer stays as far as it came
    assert talk.messages[-1] == {"role": "assistant", "content": second.completion.text.strip()}
    expected = lm.chat(say("Hello", system="Be brief."), max_tokens=6, seed=0)
    assert first == expected
    talk.reset()
    assert talk.messages == [{"role": "system", "content": "Be brief."}]


def test_a_history_that_outgrows_the_context_forgets_whole_turns_but_not_the_system() -> None:
    lm = make(300, FORMATS["Llama 2"])  # which refuses anything but a user first and turns after it
    talk = lm.conversation("Be brief.", max_tokens=10, seed=0)
    for turn in range(30):
        stream = talk.send(f"This is turn {turn}")
        assert stream.completion.usage.prompt_tokens <= 300 - 300 // 4
        for _ in stream:
            pass
    assert talk.forgotten > 0
    assert len(talk.messages) == 1 + 60
    with pytest.raises(TinylmError, match="too many for 300"):
        talk.send("word " * 100)
    assert len(talk.messages) == 1 + 60  # as if it had not been said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lm = make(220)
    save_model(tmp_path / "m", lm.model, ByteTokenizer())
    return tmp_path / "m"


def answer(folder: Path, monkeypatch, capsys, lines: list[str | BaseException], *options: str) -> tuple[int, str]:
    """What `tinylm chat` prints when these lines are typed."""

    def typed(prompt: str = "") -> str:
        if not lines:
            raise EOFError
        line = lines.pop(0)
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr("builtins.input", typed)
    status = main(["chat", str(folder), "--max-tokens", "5", "--seed", "1", *options])
    return status, capsys.readouterr().out


def test_the_command_answers_forgets_and_quits(folder: Path, monkeypatch, capsys) -> None:
    status, out = answer(folder, monkeypatch, capsys, ["Hello", "", "/reset", "Hello", "/quit", "never"])
    assert status == 0
    assert "reset" in out
    talk = tinylm.load(folder).conversation(max_tokens=5, seed=1, temperature=0.8)
    assert out.count("".join(talk.send("Hello"))) >= 2
    status, out = answer(folder, monkeypatch, capsys, ["x" * 30] * 9)
    assert (status, "forgets" in out) == (0, True)
    status, out = answer(folder, monkeypatch, capsys, ["x" * 300, "/nothing"])
    assert "too many" in out
    assert "/reset" in out


def test_ctrl_c_stops_the_answer_and_not_the_command(folder: Path, monkeypatch, capsys) -> None:
    steps = []
    take = tinylm.inference.Writer.take

    def interrupted(self, logits: np.ndarray) -> str:
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return take(self, logits)

    monkeypatch.setattr("tinylm.inference.Writer.take", interrupted)
    status, out = answer(folder, monkeypatch, capsys, ["Hello", KeyboardInterrupt(), "Hello again", "/quit"])
    assert status == 0
    assert "stopped" in out
    assert len(steps) == 3 + 5
