"""Routes that adjust OpenAI's own format: what they do not name is as a passthrough gives it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import bytewise, ndjson, new_exchange, pieces_of, request, sse

FINISH = '{finish_reason: {path: "$.choices[0].finish_reason", map: {eos: length}}}'
ROUTES = {
    "a mapped finish reason": (f"response: {FINISH}", {}),
    "a dropped parameter and a stop string": ("request: {drop: [stop]}", {"stop": "§"}),
    "another reasoning": ('response: {reasoning: "$.choices[0].thoughts"}', {}),
    "AutoDev's paths": (
        "response: $.choices[0].message.content\nstream: $.choices[0].delta.content", {}
    ),
}  # fmt: skip
CALL = {"name": "f", "arguments": '{"n": 1}'}
MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"content": "Hello"},
    "function call": {"content": None, "function_call": CALL},
    "refusal": {"content": None, "refusal": "I cannot."},
    "annotations": {
        "content": "Hello",
        "annotations": [{"type": "url_citation", "url": "https://a.example"}],
    },
    "audio": {"content": None, "audio": {"id": "a1", "data": "UklG", "transcript": "Hello"}},
}
BODY = {
    "id": "c1", "created": 7, "model": "up", "system_fingerprint": "f1", "service_tier": "default",
    "citations": ["https://a.example"],
}  # fmt: skip
USAGE = {
    "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cost": 0.5,
    "completion_tokens_details": {"reasoning_tokens": 1, "accepted_prediction_tokens": 4},
}  # fmt: skip


def _output(rules: str, response: Any, body: dict[str, Any]) -> bytes:
    exchange = new_exchange(rules, {**request(), **body})
    out = simulate(exchange, pieces_of(response))
    assert exchange.error is None, exchange.error
    return out


def _chunks(rules: str, response: Any, body: dict[str, Any]) -> list[Any]:
    out = _output(rules, response, {**body, "stream": True})
    return [json.loads(event[6:]) for event in out.decode().split("\n\n") if event.startswith("data: {")]


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("route", ROUTES)
def test_completions_keep_what_no_slot_reads(name: str, route: str) -> None:
    """Members of the body, the choice, the message and the usage reach the client."""
    rules, more = ROUTES[route]
    choice = {"index": 0, "message": MESSAGES[name], "finish_reason": "stop", "filter": {"hate": "safe"}}
    body = json.loads(_output(rules, {**BODY, "choices": [choice], "usage": USAGE}, more))
    assert {name: body[name] for name in BODY} == BODY
    assert body["usage"] == USAGE
    assert body["choices"][0]["filter"] == {"hate": "safe"}
    message = body["choices"][0]["message"]
    assert {each: message[each] for each in MESSAGES[name]} == MESSAGES[name]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", ["refusal", "function call", "annotations"])
def test_streams_keep_what_no_slot_reads(name: str, route: str) -> None:
    """Streams keep these members too, for every split."""
    rules, more = ROUTES[route]
    delta = {each: value for each, value in MESSAGES[name].items() if value is not None}
    choices = [
        {
            "index": 0,
            "delta": {"role": "assistant", **delta},
            "finish_reason": None,
            "filter": {"hate": "safe"},
        },
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
    events = sse(*({**BODY, "choices": [choice]} for choice in choices), "data: [DONE]\n\n")
    chunks = _chunks(rules, events, more)
    assert chunks == _chunks(rules, bytewise(events), more)
    assert all({each: chunk[each] for each in ("id", "created", "model")} == {
        "id": "c1", "created": 7, "model": "up"
    } for chunk in chunks)  # fmt: skip
    assert "f1" in [chunk.get("system_fingerprint") for chunk in chunks]
    assert {"hate": "safe"} in [choice.get("filter") for chunk in chunks for choice in chunk["choices"]]
    sent: dict[str, Any] = {}
    for chunk in chunks:
        sent |= {each: value for each, value in chunk["choices"][0]["delta"].items() if value}
    assert {each: sent[each] for each in delta} == delta


@pytest.mark.parametrize("name", MESSAGES)
def test_a_completion_in_place_of_a_stream_keeps_its_members(name: str) -> None:
    """An upstream that cannot stream loses nothing either."""
    body = {
        **BODY,
        "choices": [{"index": 0, "message": MESSAGES[name], "finish_reason": "stop"}],
        "usage": USAGE,
    }
    chunks = _chunks("stream: false", body, {"stream_options": {"include_usage": True}})
    sent: dict[str, Any] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            sent |= {each: value for each, value in choice["delta"].items() if value}
    assert {each: sent[each] for each, value in MESSAGES[name].items() if value} == {
        each: value for each, value in MESSAGES[name].items() if value
    }
    assert chunks[-1]["usage"] == USAGE
    assert ["https://a.example"] in [chunk.get("citations") for chunk in chunks]


def test_a_gathered_stream_joins_its_members() -> None:
    """An upstream that only streams gives the same completion as one that does not."""
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": '{"n": '}, "refusal": "I "},
        {"function_call": {"arguments": "1}"}, "refusal": "cannot.", "annotations": [1]},
        {"annotations": [2]},
    ]
    events = sse(
        *({**BODY, "choices": [{"index": 0, "delta": delta}]} for delta in deltas),
        {**BODY, "choices": [{"index": 0, "delta": {}, "finish_reason": "function_call"}], "usage": USAGE},
        "data: [DONE]\n\n",
    )
    body = json.loads(_output("response: false", events, {}))
    choice = body["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == CALL
    assert (choice["message"]["refusal"], choice["message"]["annotations"]) == ("I cannot.", [1, 2])
    assert (body["usage"], body["service_tier"]) == (USAGE, "default")


@pytest.mark.parametrize("finish", ["content_filter", "length"])
def test_a_stream_that_only_has_a_finish_reason(finish: str) -> None:
    """A filtered response is legal in an adjusted format too."""
    events = sse({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}, "data: [DONE]\n\n")
    chunks = _chunks(f"response: {FINISH}", events, {})
    assert chunks[-1]["choices"][0]["finish_reason"] == finish


def test_autodev_paths_read_the_other_parts_from_their_places() -> None:
    """Two paths to OpenAI's own text lose neither tool calls, nor reasoning, nor usage."""
    rules, _ = ROUTES["AutoDev's paths"]
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hel", "reasoning_content": "hm", "tool_calls": [call]}
    sent = {**BODY, "choices": [{"index": 0, "message": message, "finish_reason": "length"}], "usage": USAGE}
    body = json.loads(_output(rules, sent, {}))
    assert body["choices"][0]["message"]["tool_calls"] == [call]
    assert body["choices"][0]["message"]["reasoning_content"] == "hm"
    assert (body["choices"][0]["finish_reason"], body["usage"]) == ("length", USAGE)


def test_a_mixed_route_reads_the_stream_at_openai_places() -> None:
    """The other slots of a stream at OpenAI's place default to OpenAI's places, under those of `response`."""
    rules = "response: {text: $.t, finish_reason: $.why}\nstream: $.choices[0].delta.content"
    chunk = {
        "choices": [{"index": 0, "delta": {"content": "x", "reasoning_content": "hm"}}],
        "why": "max_tokens",
    }
    chunks = _chunks(rules, sse(chunk), {})
    assert "hm" in [chunk["choices"][0]["delta"].get("reasoning_content") for chunk in chunks]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_a_text_at_openai_place_does_not_make_an_upstream_stream() -> None:
    """`response` with a text and no `stream` still means an upstream that cannot stream."""
    exchange = new_exchange("response: $.choices[0].message.content", {**request(), "stream": True})
    assert json.loads(exchange.calls[0].request().body or b"")["stream"] is False


@pytest.mark.parametrize("framing", ["ndjson", "json"])
def test_another_framing_forwards_chunks(framing: str) -> None:
    """A framing adjusts only the framing."""
    chunk = {
        **BODY,
        "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop", "filter": {}}],
    }
    assert _chunks(f"stream: {{framing: {framing}}}", ndjson(chunk), {})[0]["choices"][0]["filter"] == {}


@pytest.mark.parametrize("route", ROUTES)
def test_parts_without_text_are_passed_over(route: str) -> None:
    """Mistral's reasoning models send thinking and text as parts of the content."""
    rules, more = ROUTES[route]
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Hel"},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": "lo"},
    ]
    body = {"choices": [{"index": 0, "message": {"content": parts}, "finish_reason": "stop"}]}
    message = json.loads(_output(rules, body, more))["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Hello", "hm")
    chunks = _chunks(
        rules, sse({"choices": [{"index": 0, "delta": {"content": parts}}]}, "data: [DONE]\n\n"), more
    )
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Hello"
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "hm"
