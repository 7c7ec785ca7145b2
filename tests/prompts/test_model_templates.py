"""Chat templates as models bring them: generation blocks, tools, named templates, files beside, variables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core.errors import ConfigError
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import CHAT
from bridge.openai.request_validation import parse_request
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load

CALL = {"id": "a1", "type": "function", "function": {"name": "feel", "arguments": '{"in": "Bern"}'}}
TOOLS = [{"type": "function", "function": {"name": "feel", "parameters": {"type": "object"}}}]
HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
TOKENS = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}


def _exchange(files: dict[str, Any], prompt: str, rules: str = "", **members: Any) -> Exchange:
    def read(name: str) -> str:
        if name not in files:
            raise FileNotFoundError(name)
        value = files[name]
        return value if isinstance(value, str) else json.dumps(value)

    text = (
        f"routes:\n  - models: m\n    upstream: http://up\n    prompt: {prompt}\n"
        "    request: {body: {prompt: $.prompt, stop: $.stop}}\n    response: $.text\n" + rules
    )
    route = load(text, "routes.yaml", LoadEnvironment({}, read, {})).routes[0]
    data = json.dumps({"model": "m", "messages": HI, **members}).encode()
    return Exchange(RequestContext(route, CHAT, parse_request(CHAT, data), data, "i", 1.0))


def _sent(files: dict[str, Any], prompt: str, **members: Any) -> Any:
    return json.loads(_exchange(files, prompt, **members).calls[0].request().body or b"")


def _prompt(template: Any, **members: Any) -> str:
    sent = _sent(
        {"t/tokenizer_config.json": {"chat_template": template}}, "{file: t/tokenizer_config.json}", **members
    )
    return str(sent["prompt"])


@pytest.mark.parametrize(
    "template",
    [
        "{% generation %}{{ messages[-1].content }}{% endgeneration %}!",
        "{%- generation -%} {{ messages[-1].content }} {%- endgeneration -%}!",
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}!",
    ],
)
def test_generation_blocks_are_passed_through(template: str) -> None:
    """The mark is for training only."""
    assert _prompt(template) == "hi!"


def test_an_open_generation_block_is_a_problem() -> None:
    """The block has an end."""
    with pytest.raises(ConfigError, match="generation"):
        _prompt("{% generation %}x")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for k, v in A.items() %}{{ k }}={{ v }};{% endfor %}", "in=Bern;"),
        ("{% for k, v in A | items %}{{ k }}={{ v }};{% endfor %}", "in=Bern;"),
        ("{{ A | tojson }}", '{"in": "Bern"}'),
    ],
)
def test_arguments_of_tools_are_objects(template: str, text: str) -> None:
    """Templates of Hugging Face iterate over the arguments."""
    messages = [*HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
    source = template.replace("A", "messages[1].tool_calls[0].function.arguments")
    assert _prompt(source, messages=messages) == text


@pytest.mark.parametrize(("arguments", "text"), [("", "{}"), ("[1]", '"[1]"'), ("{", '"{"')])
def test_arguments_that_are_no_object_stay(arguments: str, text: str) -> None:
    """A model may have written anything."""
    call = {**CALL, "function": {"name": "f", "arguments": arguments}}
    messages = [*HI, {"role": "assistant", "content": None, "tool_calls": [call]}]
    assert _prompt("{{ messages[1].tool_calls[0].function.arguments | tojson }}", messages=messages) == text


NAMED = [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T{{ tools | length }}"}]


def test_the_template_for_tools_is_used_with_tools() -> None:
    """Of named templates, `tool_use` is for requests with tools."""
    assert _prompt(NAMED, tools=TOOLS) == "T1"
    assert _prompt(NAMED) == "D"
    assert _prompt(NAMED, tools=[]) == "D"
    assert _prompt(NAMED[:1], tools=TOOLS) == "D"


@pytest.mark.parametrize("template", [NAMED, "{{ tools | length }}", "{{ reasoning_effort }}{{ tools }}"])
def test_what_a_template_reads_is_sent(template: Any) -> None:
    """Tools within the prompt are neither dropped nor refused."""
    files = {"t.json": {"chat_template": template}}
    exchange = _exchange(files, "{file: t.json}", "    unsupported: error\n", tools=TOOLS)
    assert exchange.dropped == ()


@pytest.mark.parametrize(
    "beside",
    [
        {"tokenizer_config.json": TOKENS},
        {"special_tokens_map.json": TOKENS},
        {"special_tokens_map.json": {"bos_token": "<x>"}, "tokenizer_config.json": TOKENS},
    ],
)
@pytest.mark.parametrize("folder", ["", "models/a/"])
def test_tokens_of_a_template_lie_in_the_files_beside(beside: dict[str, Any], folder: str) -> None:
    """Newer models keep the template in a file of its own; the end token is a stop string."""
    files = {f"{folder}{name}": value for name, value in beside.items()}
    files[f"{folder}chat_template.jinja"] = "{{ bos_token }}{{ messages[-1].content }}{{ eos_token }}\n"
    sent = _sent(files, f"{{file: {folder}chat_template.jinja}}")
    assert sent == {"prompt": "<s>hi</s>", "stop": ["</s>"]}


def test_a_configuration_without_a_template_uses_the_file_beside() -> None:
    """Both names lead to the same prompt."""
    files = {"a/tokenizer_config.json": TOKENS, "a/chat_template.jinja": "{{ bos_token }}!"}
    assert _sent(files, "{file: a/tokenizer_config.json}")["prompt"] == "<s>!"


def test_a_template_without_files_beside_has_no_tokens() -> None:
    """A template alone is enough."""
    assert _sent({"t.jinja": "{{ bos_token }}hi"}, "{file: t.jinja}") == {"prompt": "hi"}


THINK = "{% if enable_thinking is defined and not enable_thinking %}no{% else %}yes{% endif %}"


@pytest.mark.parametrize(
    ("variables", "members", "text"),
    [
        ("", {}, "yes"),
        (", variables: {enable_thinking: false}", {}, "no"),
        ("", {"chat_template_kwargs": {"enable_thinking": False}}, "no"),
        (", variables: {enable_thinking: false}", {"chat_template_kwargs": {"enable_thinking": True}}, "yes"),
        ("", {"chat_template_kwargs": {"messages": [], "bos_token": "x"}}, "yes"),
    ],
)
def test_variables_reach_a_template_by_name(variables: str, members: dict[str, Any], text: str) -> None:
    """The file's variables are defaults for the client's; neither replaces the messages."""
    files = {"t.jinja": THINK + "{{ messages | length }}"}
    exchange = _exchange(files, f"{{file: t.jinja{variables}}}", **members)
    assert json.loads(exchange.calls[0].request().body or b"")["prompt"] == f"{text}1"
    assert exchange.dropped == ()


def test_an_inline_template_keeps_its_last_line_end() -> None:
    """The file is the text; the line end of a template's file is none of the template."""
    assert _sent({}, '{template: "{{ last }}\\n"}')["prompt"] == "hi\n"
    assert _sent({"t.jinja": "{{ last }}\n"}, "{file: t.jinja}")["prompt"] == "hi"
