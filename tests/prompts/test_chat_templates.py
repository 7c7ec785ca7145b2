"""Prompts in Jinja: templates of the routes file and of tokenizer configs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BridgeError, RequestError
from bridge.core.strings import Interpolated
from bridge.prompts import PROMPTS, Prompt, template_prompt, tokenizer_prompt

# Tokenizer configs in the styles of models: tokens as mappings, templates on one or several lines, guards.

LLAMA3 = {
    "add_bos_token": True,
    "bos_token": {"__type": "AddedToken", "content": "<|begin_of_text|>", "special": True},
    "eos_token": "<|eot_id|>",
    "chat_template": (
        "{% for message in messages %}"
        "{% set turn = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
        " + message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.first %}{% set turn = bos_token + turn %}{% endif %}"
        "{{ turn }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
}

ZEPHYR = {
    "bos_token": "<s>",
    "eos_token": {"content": "</s>", "lstrip": False},
    "pad_token": None,
    "chat_template": [
        {"name": "tool_use", "template": "{{ tools | tojson }}"},
        {
            "name": "default",
            "template": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n' + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
        },
    ],
}

MISTRAL = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "chat_template": """
{%- set today = strftime_now("%Y-%m-%d") %}
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set system_message = "Today is " + today + "." %}
    {%- set turns = messages %}
{%- endif %}
{{- bos_token }}[SYSTEM_PROMPT]{{ system_message }}[/SYSTEM_PROMPT]
{%- if tools is not none %}
    {{- "[AVAILABLE_TOOLS]" + (tools | tojson) + "[/AVAILABLE_TOOLS]" }}
{%- endif %}
{%- for message in turns %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {{- "[INST]" + message["content"] + "[/INST]" }}
    {%- else %}
        {{- message["content"] + eos_token }}
    {%- endif %}
{%- endfor %}
""",
}

GEMMA = {
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "chat_template": """{{ bos_token }}
{%- set prefix = "" -%}
{%- set turns = messages -%}
{%- if messages[0]["role"] == "system" -%}
    {%- set prefix = messages[0]["content"] | trim + "\n\n" -%}
    {%- set turns = messages[1:] -%}
{%- endif -%}
{%- for turn in turns -%}
    {%- set role = "model" if turn["role"] == "assistant" else turn["role"] -%}
    {{ "<start_of_turn>" + role + "\n" + (prefix if loop.first else "") }}
    {{- turn["content"] | trim }}<end_of_turn>
{% endfor -%}
{%- if add_generation_prompt -%}
    {{ "<start_of_turn>model\n" }}
{%- endif -%}
""",
}

MESSAGES = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U1"},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "U2"},
]
NOW = 1_767_225_599.5  # the last second of 2025, UTC


def test_the_template_of_llama_3_is_rendered() -> None:
    prompt = tokenizer_prompt(LLAMA3)
    assert prompt.render({"messages": MESSAGES}) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nU1<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nU2<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert prompt.stop == ("<|eot_id|>",)
    assert prompt.variables == {"messages", "chat_template_kwargs"}


def test_the_template_of_zephyr_is_rendered() -> None:
    prompt = tokenizer_prompt(ZEPHYR)
    assert prompt.render({"messages": MESSAGES}) == (
        "<|system|>\nS</s>\n<|user|>\nU1</s>\n<|assistant|>\nA1</s>\n<|user|>\nU2</s>\n<|assistant|>\n"
    )
    assert prompt.stop == ("</s>",)


def test_the_template_of_mistral_is_rendered() -> None:
    prompt = tokenizer_prompt(MISTRAL)
    # Jinja reports further names: variables that are set in a branch only.
    assert prompt.variables >= {"messages", "tools", "now"}
    assert prompt.render({"messages": MESSAGES, "now": NOW}) == (
        "<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]U1[/INST]A1</s>[INST]U2[/INST]"
    )
    assert prompt.render({"messages": MESSAGES[1:2], "now": NOW, "tools": [{"a": "<é>"}]}) == (
        "<s>[SYSTEM_PROMPT]Today is 2025-12-31.[/SYSTEM_PROMPT]"
        '[AVAILABLE_TOOLS][{"a": "<é>"}][/AVAILABLE_TOOLS][INST]U1[/INST]'
    )


def test_a_template_may_refuse_messages() -> None:
    with pytest.raises(RequestError, match="must alternate") as raised:
        tokenizer_prompt(MISTRAL).render({"messages": [MESSAGES[1], MESSAGES[3]], "now": NOW})
    assert raised.value.status == 400
    assert raised.value.param == "messages"


texts = st.text(max_size=40).map(str.strip).filter(bool)
conversations = st.builds(
    lambda system, dialogue, last: [
        *({"role": "system", "content": text} for text in system),
        *(
            {"role": role, "content": text}
            for pair in dialogue
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ),
        {"role": "user", "content": last},
    ],
    st.lists(texts, max_size=1),
    st.lists(st.tuples(texts, texts), max_size=2),
    texts,
)


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("llama3", tokenizer_prompt(LLAMA3)),
        ("zephyr", tokenizer_prompt(ZEPHYR)),
        ("gemma", tokenizer_prompt(GEMMA)),
    ],
)
@given(messages=conversations)
def test_a_named_prompt_equals_the_models_template_without_the_first_token(
    name: str, template: Prompt, messages: list[dict[str, str]]
) -> None:
    document = {"messages": messages}
    expected = template.render(document).removeprefix("<|begin_of_text|>").removeprefix("<bos>")
    assert PROMPTS[name].render(document) == expected


@pytest.mark.parametrize(
    ("config", "stop"),
    [
        ({"chat_template": "x"}, ()),
        ({"chat_template": "x", "eos_token": None}, ()),
        ({"chat_template": "x", "eos_token": ""}, ()),
        ({"chat_template": "x", "eos_token": {"content": "<end>"}}, ("<end>",)),
    ],
)
def test_the_end_token_is_a_stop_string(config: dict[str, Any], stop: tuple[str, ...]) -> None:
    assert tokenizer_prompt(config).stop == stop


def test_special_tokens_are_variables() -> None:
    config = {"chat_template": "{{ sep_token }}{{ add_bos_token }}", "sep_token": "|", "add_bos_token": True}
    assert tokenizer_prompt(config).render({"messages": []}) == "|"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "no chat_template: expected a string or a list"),
        ({"chat_template": None}, "no chat_template: expected a string or a list"),
        ({"chat_template": {"default": "x"}}, "no chat_template: expected a string or a list"),
        ({"chat_template": [{"name": "rag", "template": "x"}]}, "named default: expected one among rag"),
        ({"chat_template": []}, "named default: expected one among the templates listed"),
        ({"chat_template": "{% for %}"}, "line 1 of the template"),
    ],
)
def test_a_config_without_a_valid_template_is_an_error(config: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        tokenizer_prompt(config)


def test_a_template_of_the_file_is_rendered() -> None:
    prompt = template_prompt(
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{{ user }}:\n"
    )
    assert prompt.render({"messages": MESSAGES[:2], "user": "u7"}) == "[system] S\n[user] U1\nu7:\n"
    assert prompt.stop == ()
    assert prompt.variables == {"messages", "user", "chat_template_kwargs"}


def test_a_client_cannot_set_predefined_variables() -> None:
    prompt = template_prompt("{{ add_generation_prompt }}{{ eos_token }}{{ strftime_now('%Y') }}")
    document = {"add_generation_prompt": False, "eos_token": "x", "strftime_now": "y", "now": 0.0}
    assert prompt.render(document) == "True1970"
    assert prompt.variables == {"now", "chat_template_kwargs"}


def test_only_referenced_members_are_computed() -> None:
    class OnDemand(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            assert name == "last", "an unreferenced member is computed"
            return super().__getitem__(name)

    assert template_prompt("ask: {{ last }}").render(OnDemand(last="hi", prompt="loops")) == "ask: hi"


def test_a_prompt_does_not_read_itself() -> None:
    prompt = template_prompt("{% if last %}{% set prompt = 'ask: ' + last %}{% endif %}{{ prompt }}")
    assert prompt.variables == {"last", "chat_template_kwargs"}
    assert prompt.render({"last": "hi", "prompt": "no"}) == "ask: hi"
    assert prompt.render({"prompt": "no"}) == ""


@pytest.mark.parametrize("message", [{"role": "user"}, {"role": "user", "content": None}])
def test_a_message_without_content_has_an_empty_content(message: dict[str, Any]) -> None:
    assert template_prompt("{{ '<' + messages[0]['content'] + '>' }}").render({"messages": [message]}) == "<>"


def test_tool_calls_keep_their_null_content() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert template_prompt("{{ messages[0].content is none }}").render({"messages": [message]}) == "True"


def test_interpolated_text_is_not_a_template() -> None:
    source = Interpolated(["say ", " to {{ last }}\n"], ["{{ messages }}"])
    assert template_prompt(source).render({"last": "me", "messages": []}) == "say {{ messages }} to me\n"
    assert template_prompt(Interpolated(["{{ last }}", ""], ["\n"])).render({"last": "me"}) == "me\n"


def test_invalid_jinja_is_an_error_with_its_line() -> None:
    with pytest.raises(ValueError, match="line 2 of the template"):
        template_prompt("{% for m in messages %}\n{% endfo %}")


def test_a_missing_time_is_an_error() -> None:
    with pytest.raises(BridgeError, match="now") as raised:
        template_prompt("{{ strftime_now('%Y') }}").render({"messages": []})
    assert raised.value.status == 500


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'].__subclasses__() }}",
        "{{ messages.append.__self__.__class__ }}",
        "{{ strftime_now.func.__globals__ }}",
        "{{ raise_exception.__globals__['__builtins__'] }}",
    ],
)
def test_the_sandbox_hides_internals(source: str) -> None:
    try:
        text = template_prompt(source).render({"messages": [], "now": 0.0})
    except BridgeError:
        return
    assert text == ""


@pytest.mark.parametrize("source", ["{% for i in range(10**9) %}{% endfor %}", "{{ messages.append(1) }}"])
def test_the_sandbox_refuses_loops_and_mutation(source: str) -> None:
    with pytest.raises(BridgeError):
        template_prompt(source).render({"messages": []})
