"""Tools and `tool_choice` in each tool format, compared with the references of the APIs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import new_exchange, request
from tests.tool_formats.sample_responses import SERVERS
from tests.tool_formats.tool_requests import EMPTY, NAMED, NUMBER, PICK, PICK_FUNCTION, STIR, sent_body


@pytest.mark.parametrize(
    ("name", "tools"),
    [
        ("ollama", [
            {"type": "function", "function": {**PICK_FUNCTION, "parameters": NUMBER}},
            {"type": "function", "function": {"name": "stir", "parameters": EMPTY}},
        ]),
        ("anthropic", [{**PICK_FUNCTION, "input_schema": NUMBER}, {"name": "stir", "input_schema": EMPTY}]),
        ("gemini", [{"functionDeclarations": [{**PICK_FUNCTION, "parameters": NUMBER}, {"name": "stir"}]}]),
        ("bedrock", {"tools": [
            {"toolSpec": {**PICK_FUNCTION, "inputSchema": {"json": NUMBER}}},
            {"toolSpec": {"name": "stir", "inputSchema": {"json": EMPTY}}},
        ]}),
        ("cohere", [
            {"type": "function", "function": {**PICK_FUNCTION, "parameters": NUMBER}},
            {"type": "function", "function": {"name": "stir", "parameters": EMPTY}},
        ]),
    ],
)  # fmt: skip
def test_tools_are_converted(name: str, tools: Any) -> None:
    body = sent_body(name, tools=[PICK, STIR])
    assert body["toolConfig" if name == "bedrock" else "tools"] == tools


def test_parameters_for_gemini_may_be_a_reference() -> None:
    parameters = {"$ref": "#/$defs/Pick", "$defs": {"Pick": NUMBER}}
    tool = {"type": "function", "function": {"name": "pick", "parameters": parameters}}
    [toolbox] = sent_body("gemini", tools=[tool])["tools"]
    assert toolbox == {"functionDeclarations": [{"name": "pick", "parameters": NUMBER}]}


ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
ABSENT = "nothing"


@pytest.mark.parametrize(
    ("name", "choice", "expected", "tool_count"),
    [
        ("ollama", "auto", ABSENT, 2),
        ("ollama", "none", ABSENT, 0),
        ("ollama", NAMED, ABSENT, 1),
        ("anthropic", None, ABSENT, 2),
        ("anthropic", "auto", {"type": "auto"}, 2),
        ("anthropic", "none", {"type": "none"}, 2),
        ("anthropic", "required", {"type": "any"}, 2),
        ("anthropic", NAMED, {"type": "tool", "name": "pick"}, 2),
        ("anthropic", ALLOWED, {"type": "any"}, 1),
        ("gemini", None, ABSENT, 2),
        ("gemini", "auto", {"functionCallingConfig": {"mode": "AUTO"}}, 2),
        ("gemini", "none", {"functionCallingConfig": {"mode": "NONE"}}, 2),
        ("gemini", "required", {"functionCallingConfig": {"mode": "ANY"}}, 2),
        ("gemini", NAMED, {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["pick"]}}, 2),
        ("bedrock", None, ABSENT, 2),
        ("bedrock", "auto", {"auto": {}}, 2),
        ("bedrock", "none", ABSENT, 0),
        ("bedrock", "required", {"any": {}}, 2),
        ("bedrock", NAMED, {"tool": {"name": "pick"}}, 2),
        ("cohere", "auto", ABSENT, 2),
        ("cohere", "none", "NONE", 2),
        ("cohere", "required", "REQUIRED", 2),
        ("cohere", NAMED, "REQUIRED", 1),
    ],
)
def test_tool_choice_is_converted(name: str, choice: Any, expected: Any, tool_count: int) -> None:
    body = sent_body(name, tools=[PICK, STIR], tool_choice=choice)
    tools = body.get("tools", [])
    match name:
        case "gemini":
            sent, tools = body.get("toolConfig", ABSENT), tools[0]["functionDeclarations"]
        case "bedrock":
            config = body.get("toolConfig", {})
            sent, tools = config.get("toolChoice", ABSENT), config.get("tools", [])
        case _:
            sent = body.get("tool_choice", ABSENT)
    assert (sent, len(tools)) == (expected, tool_count)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
        (NAMED, {"type": "tool", "name": "pick", "disable_parallel_tool_use": True}),
    ],
)
def test_parallel_tool_calls_is_part_of_anthropics_tool_choice(choice: Any, expected: Any) -> None:
    members: dict[str, Any] = {"tools": [PICK], "tool_choice": choice}
    assert sent_body("anthropic", **members, parallel_tool_calls=False)["tool_choice"] == expected
    several = sent_body("anthropic", **members, parallel_tool_calls=True).get("tool_choice", {})
    assert "disable_parallel_tool_use" not in several


def test_parameters_without_equivalent_are_dropped() -> None:
    body = request(tools=[PICK], tool_choice="auto", parallel_tool_calls=False)
    dropped = {name: new_exchange(server.rules, body).dropped for name, server in SERVERS.items()}
    assert dropped == {
        "ollama": ("parallel_tool_calls",),
        "anthropic": (),
        "gemini": ("parallel_tool_calls",),
        "bedrock": ("parallel_tool_calls",),
        "cohere": ("parallel_tool_calls",),
    }
    without_tools = "tools: anthropic\nrequest: {body: {messages: $.turns}}\nresponse: $.t"
    assert new_exchange(without_tools, body).dropped == ("tools", "parallel_tool_calls")


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("members", [{}, {"tools": []}, {"tools": [], "tool_choice": "auto"}])
def test_without_tools_no_tool_members_are_sent(name: str, members: Any) -> None:
    assert not sent_body(name, **members).keys() & {"tools", "tool_choice", "toolConfig"}
