"""Work and memory are linear in everything that a client's body can have many of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import parse_request
from bridge.prompts import PROMPTS
from bridge.tool_formats import TOOL_FORMATS
from tests.exchange.single_exchange import new_exchange, request
from tests.scaling.growth import Make, Row, assert_linear, settled

if TYPE_CHECKING:
    from collections.abc import Callable

UNLIMITED = "limits: {calls: 1000000, inputs: 1000000, messages: 1000000, tools: 1000000, stops: 1000000}\n"
TEXT = "How deep is the sea? " * 20
MAPPED = "request: {body: {m: $.messages}}\nresponse: $.text"
LAST = "request: {body: {p: $.last}}\nresponse: $.text"
HISTORY = "request: {body: {h: $.history, l: $.last}}\nresponse: $.text"
MERGED = """
request: {body: {m: {$each: $.turns, merge: role, $as: {role: $item.role, parts: [{text: $item.content}]}}}}
response: $.text
"""
PROMPT = "prompt: %s\nrequest: {body: {p: $.prompt}}\nresponse: $.text"
TEMPLATE = 'prompt: {template: "%s"}\nrequest: {body: {p: $.prompt}}\nresponse: $.text'
TOOLS = "tools: %s\nrequest: {body: {m: $.messages, t: $.tools, c: $.tool_choice}}\nresponse: $.text"
ONE_INPUT = (
    "serves: embeddings\nemulate: {batch: 1}\nrequest: {body: {p: $.input}}\nresponse: {embeddings: $.e}"
)
INPUTS = "serves: embeddings\nrequest: {body: {p: $.inputs}}\nresponse: {embeddings: $.e}"
IN_CONTENT = '$.messages[?(@.content=~"%s")].content'
VALUE = "request: {body: {m: %s}}\nresponse: $.text"


def parsing(body: Callable[[int], bytes]) -> Make:
    """Parse and check a client's body."""

    def make(n: int) -> Callable[[], object]:
        data = body(n)
        return lambda: settled(lambda: parse_request(ENDPOINTS["chat"], data, max_values=1_000_000))

    return make


def building(rules: str, members: Callable[[int], dict[str, Any]], endpoint: str = "chat") -> Make:
    """Make the upstream requests of a client's body."""

    def make(n: int) -> Callable[[], object]:
        data = json.dumps(request(endpoint, **members(n))).encode()

        def work() -> object:
            exchange = new_exchange(UNLIMITED + rules, endpoint=endpoint, data=data)
            return [call.request() for call in exchange.calls]

        return lambda: settled(work)

    return make


def body_of(content: Any) -> bytes:
    return json.dumps(request(messages=[{"role": "user", "content": content}])).encode()


def turns(n: int) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[number % 2], "content": TEXT} for number in range(n | 1)]}


def one_side(n: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": TEXT}] * n}


def system_messages(n: int) -> dict[str, Any]:
    return {"messages": [*[{"role": "system", "content": TEXT}] * n, {"role": "user", "content": "hi"}]}


def parts(n: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi there"}] * n}]}


def tools(n: int) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    listed = [
        {"type": "function", "function": {"name": f"f{number}", "parameters": schema}} for number in range(n)
    ]
    return {"tools": listed, "tool_choice": {"type": "function", "function": {"name": f"f{n - 1}"}}}


def tool_turns(n: int) -> dict[str, Any]:
    calls = [
        {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for number in range(n)
    ]
    results = [{"role": "tool", "tool_call_id": f"c{number}", "content": TEXT} for number in range(n)]
    user = {"role": "user", "content": "hi"}
    return {
        **tools(1),
        "messages": [user, {"role": "assistant", "content": None, "tool_calls": calls}, *results],
    }


def properties(n: int) -> dict[str, Any]:
    names = {f"p{number}": {"type": "string"} for number in range(n)}
    return tool_with({"type": "object", "properties": names, "required": list(names)})


def joined_schemas(n: int) -> dict[str, Any]:
    members = [{"properties": {f"p{number}": {}}, "required": [f"p{number}"]} for number in range(n)]
    return tool_with({"type": "object", "allOf": members})


def alternatives(n: int) -> dict[str, Any]:
    return tool_with({"anyOf": [{"const": f"v{number}"} for number in range(n)]})


def references(n: int) -> dict[str, Any]:
    names = {f"p{number}": {"$ref": "#/$defs/a"} for number in range(n)}
    return tool_with({"type": "object", "properties": names, "$defs": {"a": {"type": "string"}}})


def tool_with(schema: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}


BODIES = {
    "bytes of a content": Row(parsing(lambda n: body_of("x" * n)), 1_000_000),
    "escaped bytes of a content": Row(parsing(lambda n: body_of('"\\' * n)), 200_000),
    "brackets in a string": Row(parsing(lambda n: body_of("[{" * n)), 600_000),
    "escapes in an unclosed string": Row(parsing(lambda n: b"[" * 101 + b'"' + b'\\"' * n), 200_000),
    "open brackets": Row(parsing(lambda n: b"[" * n), 200_000),
    "short strings": Row(parsing(lambda n: b'{"a":[' + b'{"b":"c"},' * n + b"0]}"), 20_000),
    "invalid JSON": Row(parsing(lambda n: body_of("x" * n)[:-1]), 1_000_000),
    "digits of a number": Row(parsing(lambda n: b'{"seed":' + b"1" * n + b"}"), 500),
    "members": Row(parsing(lambda n: json.dumps({f"x{i}": 1 for i in range(n)}).encode()), 2_000),
    "parts of a message": Row(parsing(lambda n: body_of([{"type": "text", "text": "hi"}] * n)), 4_000),
}

REQUESTS = {
    "messages": Row(building(MAPPED, turns), 1_000),
    "messages of one side": Row(building(MAPPED, one_side), 1_000),
    "messages forwarded": Row(building("name: openai", turns), 1_000),
    "messages with other keys": Row(building("request: {message_keys: {content: says}}", turns), 1_000),
    "text parts": Row(building(MAPPED, parts), 4_000),
    "text parts, joined": Row(building(PROMPT % "join", parts), 4_000),
    "system messages": Row(building(VALUE % "$.system", system_messages), 1_000),
    "pairs of the history": Row(building(HISTORY, turns), 1_000),
    "one side of the history": Row(building(HISTORY, one_side), 1_000),
    "turns, merged by role": Row(building(MERGED, one_side), 1_000),
    "turns, merged and forwarded": Row(
        building(VALUE % "{$each: $.turns, merge: role}", one_side), 1_000
    ),
    "stop strings": Row(building(LAST, lambda n: {"stop": [f"s{i}" for i in range(n)]}), 1_000),
    "dropped parameters": Row(building(LAST, lambda n: {f"x{i}": 1 for i in range(n)}), 2_000),
    "matches of a path": Row(building(VALUE % '"$.messages[*].content"', turns), 300),
    "elements of a filter": Row(building(VALUE % f"'{IN_CONTENT % 'sea'}'", turns), 200),
    "characters of a pattern": Row(
        building(VALUE % f"'{IN_CONTENT % '(a+)+$'}'", lambda n: one_message("a" * n + "!")), 50_000
    ),
    "characters of a condition": Row(
        building(
            VALUE % "{$when: {$.last: {matches: '(a|aa)+$'}}, $then: 1}",
            lambda n: one_message("a" * n + "!"),
        ), 50_000,
    ),
    "numbers, joined": Row(building(VALUE % "{$path: $.x, join: ','}", lambda n: {"x": ["1"] * n}), 2_000),
    "estimated tokens": Row(
        building("emulate: {usage: estimate}\n" + LAST, lambda n: one_message("é" * n)), 100_000
    ),
    "prompts of a completion": Row(
        building(VALUE % "$.prompt", lambda n: {"prompt": ["hi"] * n}, "completions"), 300
    ),
    "tokens of a prompt": Row(
        building("serves: completions", lambda n: {"prompt": [7] * n}, "completions"), 20_000
    ),
    "choices, one a call": Row(building(VALUE % "$.last", lambda n: {"n": n}), 32),
    "inputs, one a call": Row(building(ONE_INPUT, lambda n: {"input": ["hi"] * n}, "embeddings"), 300),
    "inputs in one call": Row(building(INPUTS, lambda n: {"input": ["hi"] * n}, "embeddings"), 4_000),
    "iterations of a template": Row(
        building(TEMPLATE % "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}", turns), 500
    ),
    "a text that a template adds to": Row(
        building(TEMPLATE % "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = m.content %}"
                 "{% endfor %}{{ ns.t }}", turns), 500,
    ),
    **{
        f"{name} in the prompt {prompt}": Row(building(PROMPT % prompt, members), 500)
        for prompt in PROMPTS
        for name, members in (
            ("turns", turns), ("messages of one side", one_side), ("system messages", system_messages),
        )
    },
    **{
        f"{name} for {vendor}": Row(building(TOOLS % vendor, members), n)
        for vendor in TOOL_FORMATS
        for name, members, n in (
            ("turns", turns, 500), ("messages of one side", one_side, 500), ("tools", tools, 250),
            ("calls of one turn", tool_turns, 250), ("properties of a tool", properties, 1_000),
        )
    },
    "schemas joined for gemini": Row(building(TOOLS % "gemini", joined_schemas), 1_000),
    "alternatives for gemini": Row(building(TOOLS % "gemini", alternatives), 1_000),
    "references for gemini": Row(building(TOOLS % "gemini", references), 1_000),
}  # fmt: skip


def one_message(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("name", BODIES)
def test_parsing_a_body_is_linear(name: str) -> None:
    assert_linear(BODIES[name])


@pytest.mark.parametrize("name", REQUESTS)
def test_building_requests_is_linear(name: str) -> None:
    assert_linear(REQUESTS[name])
