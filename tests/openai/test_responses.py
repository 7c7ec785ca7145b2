"""The Responses API before any server: requests as chat requests, responses, and the events of streams."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response

from bridge.core.errors import BridgeError, RequestError
from tests.openai.front_exchange import chat_body, completed, events, exchange, failed

SLOTS = """
  text: $.text
  reasoning: $.thought
  finish_reason: $.why
  tool_calls: $.calls
  usage: {prompt_tokens: $.in, completion_tokens: $.out}
"""
CUSTOM = f"request: {{body: {{q: $.messages}}}}\nresponse:{SLOTS}stream:{SLOTS}  framing: ndjson\n"
FUNCTION = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}


def frames(*documents: dict[str, Any]) -> list[bytes]:
    return [json.dumps(document).encode() + b"\n" for document in documents]


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ("hi", [{"role": "user", "content": "hi"}]),
        ([{"role": "user", "content": "hi"}], [{"role": "user", "content": "hi"}]),
        (
            [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}]}],
            [{"role": "developer", "content": "a"}],
        ),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
                }
            ],
            [{"role": "user", "content": "ab"}],
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "a"},
                        {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
                    ],
                }
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
                    ],
                }
            ],
        ),
        (
            [
                {"role": "user", "content": "1+1, 2+2"},
                {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "two sums"}]},
                {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a":1}'},
                {"type": "function_call", "call_id": "c2", "name": "add", "arguments": '{"a":2}'},
                {"type": "function_call_output", "call_id": "c1", "output": "2"},
                {
                    "type": "function_call_output",
                    "call_id": "c2",
                    "output": [{"type": "input_text", "text": "4"}],
                },
            ],
            [
                {"role": "user", "content": "1+1, 2+2"},
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "two sums",
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
                        {"id": "c2", "type": "function", "function": {"name": "add", "arguments": '{"a":2}'}},
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "2"},
                {"role": "tool", "tool_call_id": "c2", "content": "4"},
            ],
        ),
    ],
)
def test_items_become_messages(items: Any, messages: list[dict[str, Any]]) -> None:
    assert chat_body("responses", {"input": items})["messages"] == messages


def test_parameters_keep_their_meaning() -> None:
    body = chat_body(
        "responses",
        {
            "input": "hi",
            "instructions": "be short",
            "max_output_tokens": 9,
            "temperature": 0.5,
            "reasoning": {"effort": "low"},
            "text": {
                "format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True},
                "verbosity": "low",
            },
            "tools": [FUNCTION],
            "tool_choice": {"type": "function", "name": "add"},
        },
    )
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "be short"}, {"role": "user", "content": "hi"}],
        "max_completion_tokens": 9,
        "temperature": 0.5,
        "reasoning_effort": "low",
        "verbosity": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {}, "strict": True},
        },
        "tools": [
            {
                "type": "function",
                "function": {"name": "add", "parameters": {"type": "object"}, "strict": True},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
    }


def test_what_a_chat_cannot_express_is_dropped_by_name() -> None:
    body = {
        "input": [{"role": "user", "content": "hi"}, {"type": "web_search_call", "id": "w"}],
        "tools": [{"type": "web_search"}, {"type": "namespace"}, FUNCTION],
        "truncation": "auto",
        "store": False,
    }
    names = ("input.web_search_call", "tools.web_search", "tools.namespace", "truncation")
    assert exchange("responses", "", body).dropped == names


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": 1}, "input"),
        ({"input": [1]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"type": "item_reference", "id": "i"}]}, "input[0]"),
        ({"input": "hi", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "hi", "tools": [{"type": "function"}]}, "tools[0].name"),
    ],
)
def test_the_error_names_the_member_at_fault(body: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as raised:
        exchange("responses", "", body)
    assert (raised.value.status, raised.value.param) == (400, param)


def test_a_response_is_complete() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    upstream = {"text": "Deep teal", "thought": "hm", "why": "stop", "calls": [call], "in": 3, "out": 4}
    response = completed(
        "responses", CUSTOM, {"input": "hi", "tools": [FUNCTION], "metadata": {"a": "b"}}, upstream
    )
    assert Response.model_validate(response, strict=False).output_text == "Deep teal"
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call"]
    assert response["output"][2]["arguments"] == '{"a":1}'
    assert (response["status"], response["metadata"]) == ("completed", {"a": "b"})
    assert response["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7,
    }


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_a_response_that_is_cut_is_incomplete(finish: str, reason: str) -> None:
    response = completed("responses", CUSTOM, {"input": "hi"}, {"text": "Deep", "why": finish})
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    last = events("responses", CUSTOM, {"input": "hi"}, frames({"text": "Deep", "why": finish}))[-1]
    assert (last["type"], last["response"]["incomplete_details"]) == (
        "response.incomplete",
        {"reason": reason},
    )


def test_the_events_of_a_stream_are_in_order() -> None:
    pieces = frames(
        {"thought": "hm"}, {"text": "Deep"}, {"text": " teal"}, {"why": "stop", "in": 1, "out": 2}
    )
    received = events("responses", CUSTOM, {"input": "hi"}, pieces)
    assert [event["sequence_number"] for event in received] == list(range(len(received)))
    assert [event["type"].removeprefix("response.") for event in received] == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert received[-1]["response"]["usage"]["total_tokens"] == 3


def test_reasoning_is_a_summary_where_the_client_requests_one() -> None:
    body = {"input": "hi", "reasoning": {"summary": "auto"}}
    received = events("responses", CUSTOM, body, frames({"thought": "hm"}, {"text": "x"}))
    assert [
        event["delta"] for event in received if event["type"] == "response.reasoning_summary_text.delta"
    ] == ["hm"]
    assert received[-1]["response"]["output"][0]["summary"] == [{"type": "summary_text", "text": "hm"}]


def test_the_fold_of_a_stream_is_the_whole_response() -> None:
    begin = {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a"'}}
    other = {"index": 1, "id": "c2", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    rest = {"index": 0, "function": {"arguments": ":1}"}}
    pieces = frames({"text": "a"}, {"text": "b"}, {"calls": [begin]}, {"calls": [other]}, {"calls": [rest]})
    received = events("responses", CUSTOM, {"input": "hi", "tools": [FUNCTION]}, pieces)
    calls = [
        {**begin, "function": {"name": "add", "arguments": '{"a":1}'}},
        {**other, "function": {"name": "add", "arguments": "{}"}},
    ]
    whole = completed(
        "responses", CUSTOM, {"input": "hi", "tools": [FUNCTION]}, {"text": "ab", "calls": calls}
    )
    assert received[-1]["response"]["output"] == whole["output"]
    arguments: dict[int, str] = {}
    for event in received:
        if event["type"] == "response.function_call_arguments.delta":
            arguments[event["output_index"]] = arguments.get(event["output_index"], "") + event["delta"]
    assert arguments == {1: '{"a":1}', 2: "{}"}


def test_a_custom_tool_is_called_with_a_text() -> None:
    body = {"input": "hi", "tools": [{"type": "custom", "name": "patch", "description": "Applies a patch."}]}
    assert chat_body("responses", body)["tools"][0]["function"]["name"] == "patch"
    call = {"id": "c1", "type": "function", "function": {"name": "patch", "arguments": '{"input":"+ a"}'}}
    (item,) = completed("responses", CUSTOM, body, {"calls": [call]})["output"]
    assert (item["type"], item["input"]) == ("custom_tool_call", "+ a")
    received = events("responses", CUSTOM, body, frames({"calls": [{"index": 0, **call}]}))
    assert [
        event["input"] for event in received if event["type"] == "response.custom_tool_call_input.done"
    ] == ["+ a"]


def test_a_stream_that_fails_ends_with_a_failed_response() -> None:
    error = BridgeError(502, "the upstream closed the connection", code="upstream_disconnect")
    received = failed("responses", CUSTOM, {"input": "hi"}, frames({"text": "Deep"}), error)
    last = received[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": error.code, "message": error.message}
