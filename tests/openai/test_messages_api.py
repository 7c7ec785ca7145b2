"""Anthropic's Messages API before any server: requests as chat requests, messages, and events of streams."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core.errors import BridgeError, RequestError
from bridge.openai.endpoints import MESSAGES
from tests.openai.front_exchange import chat_body, completed, events, exchange, failed
from tests.openai.test_responses import CUSTOM, frames

HI = [{"role": "user", "content": "hi"}]
TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (HI, HI),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}]}], [{"role": "user", "content": "a"}]),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
                        },
                        {"type": "text", "text": "a"},
                    ],
                }
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                        {"type": "text", "text": "a"},
                    ],
                }
            ],
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "text", "text": "I add."},
                        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t1",
                            "content": [{"type": "text", "text": "2"}],
                        },
                        {"type": "text", "text": "and now?"},
                    ],
                },
            ],
            [
                {
                    "role": "assistant",
                    "content": "I add.",
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "t1", "content": "2"},
                {"role": "user", "content": "and now?"},
            ],
        ),
    ],
)
def test_blocks_become_messages(messages: list[Any], expected: list[Any]) -> None:
    assert chat_body("messages", {"max_tokens": 9, "messages": messages})["messages"] == expected


def test_parameters_keep_their_meaning() -> None:
    body = chat_body(
        "messages",
        {
            "max_tokens": 9,
            "messages": HI,
            "system": [{"type": "text", "text": "be short", "cache_control": {"type": "ephemeral"}}],
            "stop_sequences": ["END"],
            "tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "thinking": {"type": "enabled", "budget_tokens": 5000},
            "metadata": {"user_id": "u"},
            "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        },
    )
    assert body == {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "system", "content": "be short"}, *HI],
        "stop": ["END"],
        "tools": [
            {
                "type": "function",
                "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "reasoning_effort": "medium",
        "user": "u",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "output", "schema": {"type": "object"}, "strict": True},
        },
    }


def test_what_a_chat_cannot_express_is_dropped_by_name() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "container_upload", "file_id": "f"}]
    body = {
        "max_tokens": 9,
        "messages": [{"role": "user", "content": blocks}],
        "tools": [{"type": "bash_20250124", "name": "bash"}],
        "container": "c",
    }
    assert exchange("messages", "", body).dropped == (
        "messages.container_upload",
        "tools.bash_20250124",
        "container",
    )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [{"content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": HI, "tools": [TOOL], "tool_choice": {"type": "some"}}, "tool_choice"),
        ({"messages": HI, "thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    ],
)
def test_the_error_names_the_member_at_fault(body: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as raised:
        exchange("messages", "", {"max_tokens": 9, **body})
    assert (raised.value.status, raised.value.param) == (400, param)


@pytest.mark.parametrize(
    ("finish", "reason"), [("stop", "end_turn"), ("length", "max_tokens"), (None, "end_turn")]
)
def test_a_message_is_complete(finish: str | None, reason: str) -> None:
    upstream = {"text": "Deep teal", "thought": "hm", "why": finish, "in": 3, "out": 4}
    message = completed("messages", CUSTOM, {"max_tokens": 9, "messages": HI}, upstream)
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "Deep teal"},
    ]
    assert (message["type"], message["role"], message["stop_reason"]) == ("message", "assistant", reason)
    assert (message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (3, 4)


def test_the_fold_of_a_stream_is_the_whole_message() -> None:
    begin = {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a"'}}
    rest = {"index": 0, "function": {"arguments": ":1}"}}
    pieces = frames(
        {"thought": "hm"},
        {"text": "a"},
        {"text": "b"},
        {"calls": [begin]},
        {"calls": [rest]},
        {"in": 1, "out": 2},
    )
    body = {"max_tokens": 9, "messages": HI, "tools": [TOOL]}
    received = events("messages", CUSTOM, body, pieces)
    whole_call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    whole = completed(
        "messages", CUSTOM, body, {"thought": "hm", "text": "ab", "calls": [whole_call], "in": 1, "out": 2}
    )
    assert folded(received) == whole["content"]
    assert received[-2]["delta"]["stop_reason"] == whole["stop_reason"] == "tool_use"
    assert received[-2]["usage"] == whole["usage"]
    assert (received[0]["type"], received[-1]["type"]) == ("message_start", "message_stop")


def folded(received: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the blocks of a stream as a client folds them."""
    blocks: list[dict[str, Any]] = []
    arguments = ""
    for event in received:
        match event:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert index == len(blocks)
                blocks.append({**block})
                arguments = ""
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                assert index == len(blocks) - 1
                match delta:
                    case {"text": text}:
                        blocks[-1]["text"] += text
                    case {"thinking": text}:
                        blocks[-1]["thinking"] += text
                    case {"partial_json": text}:
                        arguments += text
                        blocks[-1]["input"] = json.loads(arguments)
    return blocks


def test_a_stream_that_fails_ends_with_an_error_event() -> None:
    error = BridgeError(503, "the upstream is overloaded")
    received = failed("messages", CUSTOM, {"max_tokens": 9, "messages": HI}, frames({"text": "Deep"}), error)
    assert received[-1] == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "the upstream is overloaded"},
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (502, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_errors_have_the_form_of_the_api(status: int, kind: str) -> None:
    body = MESSAGES.error_body(BridgeError(status, "no"))
    assert body == {"type": "error", "error": {"type": kind, "message": "no"}}


@pytest.mark.parametrize("endpoint", ["messages", "responses"])
def test_a_refusal_differs_from_an_answer(endpoint: str) -> None:
    message = {"role": "assistant", "content": None, "refusal": "No."}
    upstream = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    request = {"messages": HI, "max_tokens": 9} if endpoint == "messages" else {"input": "hi"}
    response = completed(endpoint, "", request, upstream)
    if endpoint == "messages":
        assert (response["content"], response["stop_reason"]) == (
            [{"type": "text", "text": "No."}],
            "refusal",
        )
    else:
        assert response["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]
