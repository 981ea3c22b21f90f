"""Chat templates in the shape of well-known formats, and conversations for them."""

from __future__ import annotations

from typing import Any

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

CHATML = """\
{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

LLAMA_2 = """\
{%- if messages[0].role == 'system' -%}
  {%- set system, turns = '<<SYS>>\n' ~ messages[0].content ~ '\n<</SYS>>\n\n', messages[1:] -%}
{%- else -%}
  {%- set system, turns = '', messages -%}
{%- endif -%}
{%- for turn in turns -%}
  {%- if (turn.role == 'user') != (loop.index0 % 2 == 0) -%}
    {{ raise_exception('the user and the assistant must take turns') }}
  {%- endif -%}
  {%- if turn.role == 'user' -%}
    {{ bos_token ~ '[INST] ' ~ (system if loop.first else '') ~ turn.content.strip() ~ ' [/INST]' }}
  {%- else -%}
    {{ ' ' ~ turn.content.strip() ~ ' ' ~ eos_token }}
  {%- endif -%}
{%- endfor -%}"""

LLAMA_3 = """\
{{- bos_token }}
{%- set ns = namespace(date=date_string is defined and date_string or '26 Jul 2024', system='') %}
{%- if messages[0]['role'] == 'system' %}
    {%- set ns.system = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\nToday: " + ns.date + "\n\n" + ns.system + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role in ['ipython', 'tool'] or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\n\n' }}{{ message | tojson(indent=2) }}{{ '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"""

MISTRAL = """\
{%- set ns = namespace(index=0) -%}
{%- for message in messages -%}
  {%- if message.role == 'system' %}{% continue %}{% endif -%}
  {%- if ns.index > 20 %}{% break %}{% endif -%}
  {%- set ns.index = ns.index + 1 -%}
{%- endfor -%}
{{- bos_token }}
{%- for message in messages | rejectattr('role', 'equalto', 'system') %}
    {%- if message['role'] == 'user' %}
        {%- if loop.last and messages | selectattr('role', 'equalto', 'system') | list %}
            {{- '[INST] ' + (messages | selectattr('role', 'equalto', 'system') | first).content + '\n\n' }}
            {{- message['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'] + '[/INST]' }}
        {%- endif %}
    {%- else %}
        {{- ' ' + message['content'] | trim + eos_token }}
    {%- endif %}
{%- endfor %}"""

ZEPHYR = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n' }}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

GEMMA = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('a system message is not supported') }}
{% endif %}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""

PHI_3 = """\
{% macro said(message) %}{{ '<|' ~ message.role ~ '|>\n' ~ message.content ~ '<|end|>\n' }}{% endmacro %}
{% for message in messages if message.content %}{{ said(message) }}{% endfor %}
{{ '<|assistant|>\n' if add_generation_prompt else eos_token }}"""

QWEN_2 = """\
{%- if tools %}
    {{- '<|im_start|>system\n' + (messages[0].content if messages[0].role == 'system' else '') + '\n<tools>' }}
    {%- for tool in tools %}{{- '\n' ~ (tool | tojson) }}{%- endfor %}
    {{- '\n</tools><|im_end|>\n' }}
{%- elif messages[0].role != 'system' %}
    {{- '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}
{%- endif %}
{%- for message in (messages[1:] if tools and messages[0].role == 'system' else messages) %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

VICUNA = """\
{% set said = dict(user='USER', assistant='ASSISTANT') %}
{% for message in messages %}{% if message.role == 'system' %}{{ message.content ~ '\n\n' }}{% else %}
{{ '%s: %s' | format(said[message.role], message.content) }}{{ eos_token if message.role == 'assistant' else ' ' }}
{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""

ALPACA = """\
{% for message in messages %}
{% if message.role == 'system' %}
{{ message.content }}

{% elif message.role == 'user' %}
### Instruction:
{{ message.content | replace('\r\n', '\n') }}

{% else %}
### Response:
{{ message['content'].split('</think>')[-1].lstrip('\n') }}{{ eos_token }}

{% endif %}
{% endfor %}
{% if add_generation_prompt %}
### Response:
{% endif %}"""

FORMATS = {
    "ChatML": CHATML,
    "Llama 2": LLAMA_2,
    "Llama 3": LLAMA_3,
    "Mistral": MISTRAL,
    "Zephyr": ZEPHYR,
    "Gemma": GEMMA,
    "Phi-3": PHI_3,
    "Qwen2": QWEN_2,
    "Vicuna": VICUNA,
    "Alpaca": ALPACA,
}


def say(*turns: str, system: str | None = None) -> list[dict[str, Any]]:
    """A conversation of a user and an assistant by turns."""
    said = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(turns)]
    return ([] if system is None else [{"role": "system", "content": system}]) + said


CONVERSATIONS = {
    "a question": say("Hello"),
    "several turns": say(" What is 2 + 2? ", "It is 4.\n", "<b>Thanks</b> & \"bye\" 'now'\n\n", "Bye"),
    "a system message": say("你好 😀", "</think>\n\nHi {{ user }}", "{% raise %}", system="Be\r\nbrief."),
    "a tool": [*say("Weather?", "Let me see"), {"role": "tool", "content": '{"t": 21.5, "é": null}', "id": 3}],
}
