"""Requests that vendors refuse, and parts of their responses besides text and calls of the client's tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core import json as bridge_json
from bridge.exchange.dry_run import simulate
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import CHAT
from bridge.openai.request_validation import parse_request
from tests.exchange.single_exchange import sse
from tests.presets.preset_bridge import key_of, load_with_presets

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
STRING = {"type": "string"}
HI: dict[str, Any] = {"role": "user", "content": "hi"}
CALLED = [HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
CALLED.append({"role": "tool", "tool_call_id": "c1", "content": "red"})


def _exchange(preset: str, **members: Any) -> Exchange:
    route = f"routes:\n  - {{preset: {preset}, models: m, upstream: 'http://up', {key_of(preset)}}}"
    data = bridge_json.dumps({"model": "m", "messages": [HI], **members})
    context = RequestContext(
        load_with_presets(route).routes[0], CHAT, parse_request(CHAT, data), data, "i", 1.0
    )
    return Exchange(context)


def _sent(preset: str, **members: Any) -> Any:
    return json.loads(_exchange(preset, **members).calls[0].request().body or b"null")


def _message(preset: str, response: Any, **members: Any) -> Any:
    exchange = _exchange(preset, **members)
    choice = json.loads(simulate(exchange, [json.dumps(response).encode()]))["choices"][0]
    return {**choice["message"], "finish_reason": choice["finish_reason"]}


@pytest.mark.parametrize("preset", ["anthropic", "bedrock-anthropic"])
@pytest.mark.parametrize(
    ("members", "thinks"),
    [
        ({}, True),
        ({"tools": [TOOL]}, True),
        ({"tools": [TOOL], "tool_choice": "auto"}, True),
        ({"tools": [TOOL], "tool_choice": "none"}, True),
        ({"tools": [TOOL], "tool_choice": "required"}, False),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, False),
        ({"tools": [TOOL], "messages": CALLED}, False),
        ({"tools": [TOOL], "messages": [*CALLED, {"role": "assistant", "content": "ok"}, HI]}, False),
        ({"messages": [HI, {"role": "assistant", "content": "ok"}, HI]}, True),
    ],
)
def test_thinking_is_not_combined_with_what_anthropic_refuses(
    preset: str, members: dict[str, Any], thinks: bool
) -> None:
    """A forced tool and earlier calls exclude thinking; the temperature is sent instead."""
    sent = _sent(preset, reasoning_effort="high", temperature=0.5, **members)
    assert ("thinking" in sent, "temperature" in sent) == (thinks, not thinks)


@pytest.mark.parametrize("choice", [None, "none", "auto"])
@pytest.mark.parametrize("tools", [[], [TOOL]])
def test_bedrock_requires_tools_beside_calls(tools: list[Any], choice: str | None) -> None:
    """A conversation with calls has a `toolConfig`, also without tools of the client."""
    members = {"tools": tools} | ({"tool_choice": choice} if tools and choice else {})
    sent = _sent("bedrock", messages=CALLED, **members)
    assert [tool["toolSpec"]["name"] for tool in sent["toolConfig"]["tools"]] == ["f"]


def test_bedrock_has_no_tools_without_calls() -> None:
    """Outside of such conversations, tools that must not be called are not sent."""
    assert "toolConfig" not in _sent("bedrock", tools=[TOOL], tool_choice="none")
    assert "toolConfig" not in _sent("bedrock")


def test_anthropic_requires_tools_beside_calls() -> None:
    """Without tools of the client, the called ones are declared, and must not be called."""
    sent = _sent("anthropic", messages=CALLED)
    assert ([tool["name"] for tool in sent["tools"]], sent["tool_choice"]) == (["f"], {"type": "none"})


@pytest.mark.parametrize("preset", ["anthropic", "bedrock"])
@pytest.mark.parametrize("blank", ["", " \n", [{"type": "text", "text": ""}], None])
def test_blank_messages_are_left_out(preset: str, blank: Any) -> None:
    """A blank text is refused, and neighbours of the same role become one message."""
    messages = [HI, {"role": "assistant", "content": blank}, {"role": "user", "content": "ho"}]
    [message] = _sent(preset, messages=messages)["messages"]
    assert [block["text"] for block in message["content"]] == ["hi", "ho"]


def test_a_blank_result_of_a_tool_is_kept() -> None:
    """A result belongs to its call."""
    messages = [*CALLED[:-1], {"role": "tool", "tool_call_id": "c1", "content": ""}]
    [*_, result] = _sent("anthropic", messages=messages)["messages"]
    assert result["content"] == [{"type": "tool_result", "tool_use_id": "c1"}]


@pytest.mark.parametrize(
    ("sent", "registered"),
    [
        ("image/jpg", "image/jpeg"),
        ("image/JPG", "image/jpeg"),
        ("image/pjpeg", "image/jpeg"),
        ("image/png", "image/png"),
    ],
)
def test_media_types_are_registered_names(sent: str, registered: str) -> None:
    """Names in use for JPEG and PNG are refused."""
    part = {"type": "image_url", "image_url": {"url": f"data:{sent};base64,/9j/"}}
    messages = [{"role": "user", "content": [part]}]
    assert (
        _sent("anthropic", messages=messages)["messages"][0]["content"][0]["source"]["media_type"]
        == registered
    )
    parts = _sent("gemini", messages=messages)["contents"][0]["parts"]
    assert parts[0]["inlineData"]["mimeType"] == registered
    image = _sent("bedrock", messages=messages)["messages"][0]["content"][0]["image"]
    assert image["format"] == registered.partition("/")[2]


@pytest.mark.parametrize("preset", ["gemini", "gemini-array"])
@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            {
                "type": "object",
                "properties": {"p": {"$ref": "#/$defs/P"}},
                "$defs": {"P": {"type": "string"}},
            },
            {"type": "object", "properties": {"p": {"type": "string"}}},
        ),
        (
            {"type": "object", "properties": {"k": {"const": "x"}}, "additionalProperties": False},
            {"type": "object", "properties": {"k": {"type": "string", "enum": ["x"]}}},
        ),
        (
            {"type": "array", "items": {"type": ["string", "null"], "$comment": "c"}},
            {"type": "array", "items": {"type": "string", "nullable": True}},
        ),
    ],
)
def test_schemas_of_responses_are_cut_as_those_of_tools(preset: str, schema: Any, expected: Any) -> None:
    """Gemini refuses unknown keywords in `responseSchema` too."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert _sent(preset, response_format=wanted)["generationConfig"]["responseSchema"] == expected


def test_calls_that_the_upstream_answers_itself_are_not_the_clients() -> None:
    """A search by Bedrock's model arrives with its result."""
    use = {"toolUseId": "t1", "name": "search", "input": {"q": "a"}}
    own = {"toolUse": {**use, "type": "server_tool_use"}}
    result = {"toolResult": {"toolUseId": "t1", "content": [{"text": "found"}]}}
    client = {"toolUse": {"toolUseId": "t2", "name": "f", "input": {}}}
    for content, calls in (
        ([own, {"text": "x"}], None),
        ([{"toolUse": use}, result, {"text": "x"}], None),
        ([own, result, {"text": "x"}, client], ["f"]),
    ):
        response = {"output": {"message": {"content": content}}, "stopReason": "end_turn"}
        message = _message("bedrock", response)
        assert message["content"] == "x"
        names = message.get("tool_calls") and [call["function"]["name"] for call in message["tool_calls"]]
        assert (names, message["finish_reason"]) == (calls, "tool_calls" if calls else "stop")


def test_text_with_citations_keeps_its_order() -> None:
    """Bedrock puts such text into parts of its own; reasoning is none of the text."""
    content = [
        {"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "It says "},
        {"citationsContent": {"content": [{"text": "fun"}, {"text": "ny"}], "citations": []}}, {"text": "."},
    ]  # fmt: skip
    response = {"output": {"message": {"content": content}}, "stopReason": "end_turn"}
    message = _message("bedrock", response)
    assert (message["content"], message["reasoning_content"]) == ("It says funny.", "hm")


def _anthropic_stream(*events: Any) -> tuple[Exchange, bytes]:
    exchange = _exchange("anthropic", stream=True, tools=[TOOL])
    return exchange, simulate(exchange, sse(*events))


def test_a_call_within_the_start_of_a_message() -> None:
    """A call by a program of Anthropic's arrives complete."""
    block = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
    start = {"type": "message_start", "message": {"id": "m", "content": [block], "stop_reason": "tool_use"}}
    exchange, out = _anthropic_stream(start, {"type": "message_stop"})
    assert exchange.error is None
    assert b'"arguments":"{\\"a\\":1}"' in out
    assert b'"finish_reason":"tool_calls"' in out


CALL_BLOCK = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


@pytest.mark.parametrize(
    "before",
    [
        [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}}],
        [
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "tool_use", "id": "t", "name": "f"},
            }
        ],
        [],
    ],
)
def test_a_message_that_begins_anew_is_an_error(before: list[Any]) -> None:
    """A proxy that repeats the request splices two messages."""
    start = {"type": "message_start", "message": {"id": "m", "content": []}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
    exchange, _ = _anthropic_stream(start, *before, start, text, {"type": "message_stop"})
    assert exchange.error is not None
    assert exchange.error.code == "upstream_garbled"


@pytest.mark.parametrize("arguments", ["null", "", None, "{}"])
def test_arguments_of_null_are_empty(arguments: Any) -> None:
    """Cohere's tools without parameters have such arguments."""
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    message = _message(
        "cohere", {"message": {"tool_calls": [call]}, "finish_reason": "TOOL_CALL"}, tools=[TOOL]
    )
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"
