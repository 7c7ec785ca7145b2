"""What each format's server is told of tools and their choice, held against the APIs' references."""

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
def test_tools(name: str, tools: Any) -> None:
    body = sent_body(name, tools=[PICK, STIR])
    assert body["toolConfig" if name == "bedrock" else "tools"] == tools


def test_geminis_parameters_may_be_a_reference() -> None:
    parameters = {"$ref": "#/$defs/Pick", "$defs": {"Pick": NUMBER}}
    tool = {"type": "function", "function": {"name": "pick", "parameters": parameters}}
    [toolbox] = sent_body("gemini", tools=[tool])["tools"]
    assert toolbox == {"functionDeclarations": [{"name": "pick", "parameters": NUMBER}]}


ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
NOTHING = "nothing"


@pytest.mark.parametrize(
    ("name", "choice", "told", "offered"),
    [
        ("ollama", "auto", NOTHING, 2),
        ("ollama", "none", NOTHING, 0),
        ("ollama", NAMED, NOTHING, 1),
        ("anthropic", None, NOTHING, 2),
        ("anthropic", "auto", {"type": "auto"}, 2),
        ("anthropic", "none", {"type": "none"}, 2),
        ("anthropic", "required", {"type": "any"}, 2),
        ("anthropic", NAMED, {"type": "tool", "name": "pick"}, 2),
        ("anthropic", ALLOWED, {"type": "any"}, 1),
        ("gemini", None, NOTHING, 2),
        ("gemini", "auto", {"functionCallingConfig": {"mode": "AUTO"}}, 2),
        ("gemini", "none", {"functionCallingConfig": {"mode": "NONE"}}, 2),
        ("gemini", "required", {"functionCallingConfig": {"mode": "ANY"}}, 2),
        ("gemini", NAMED, {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["pick"]}}, 2),
        ("bedrock", None, NOTHING, 2),
        ("bedrock", "auto", {"auto": {}}, 2),
        ("bedrock", "none", NOTHING, 0),
        ("bedrock", "required", {"any": {}}, 2),
        ("bedrock", NAMED, {"tool": {"name": "pick"}}, 2),
        ("cohere", "auto", NOTHING, 2),
        ("cohere", "none", "NONE", 2),
        ("cohere", "required", "REQUIRED", 2),
        ("cohere", NAMED, "REQUIRED", 1),
    ],
)
def test_choices(name: str, choice: Any, told: Any, offered: int) -> None:
    body = sent_body(name, tools=[PICK, STIR], tool_choice=choice)
    tools = body.get("tools", [])
    match name:
        case "gemini":
            found, tools = body.get("toolConfig", NOTHING), tools[0]["functionDeclarations"]
        case "bedrock":
            config = body.get("toolConfig", {})
            found, tools = config.get("toolChoice", NOTHING), config.get("tools", [])
        case _:
            found = body.get("tool_choice", NOTHING)
    assert (found, len(tools)) == (told, offered)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
        (NAMED, {"type": "tool", "name": "pick", "disable_parallel_tool_use": True}),
    ],
)
def test_one_call_at_a_time_is_part_of_anthropics_choice(choice: Any, told: Any) -> None:
    members: dict[str, Any] = {"tools": [PICK], "tool_choice": choice}
    assert sent_body("anthropic", **members, parallel_tool_calls=False)["tool_choice"] == told
    several = sent_body("anthropic", **members, parallel_tool_calls=True).get("tool_choice", {})
    assert "disable_parallel_tool_use" not in several


def test_what_a_format_cannot_say_is_named_as_dropped() -> None:
    body = request(tools=[PICK], tool_choice="auto", parallel_tool_calls=False)
    dropped = {name: new_exchange(server.rules, body).dropped for name, server in SERVERS.items()}
    assert dropped == {
        "ollama": ("tool_choice", "parallel_tool_calls"),
        "anthropic": (),
        "gemini": ("parallel_tool_calls",),
        "bedrock": ("parallel_tool_calls",),
        "cohere": ("parallel_tool_calls",),
    }
    toolless = "tools: anthropic\nrequest: {body: {messages: $.turns}}\nresponse: $.t"
    assert new_exchange(toolless, body).dropped == ("tools", "tool_choice", "parallel_tool_calls")


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("members", [{}, {"tools": []}, {"tools": [], "tool_choice": "auto"}])
def test_without_tools_nothing_is_said_of_them(name: str, members: Any) -> None:
    assert not sent_body(name, **members).keys() & {"tools", "tool_choice", "toolConfig"}
