"""Responses without text: complete where they say why, an error where the path of the text is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import (
    bytewise,
    new_exchange,
    pieces_of,
    request,
    run_completion,
    run_failure,
    run_stream,
    sse,
)

RULES = "response: {text: $.out.text, finish_reason: $.why}"
LIST_RULES = "response: {text: \"$.parts[?(@.type=='text')].text\", finish_reason: $.why}"
STREAM = "stream: {text: $.out.text, finish_reason: $.why}"


@pytest.mark.parametrize(
    ("why", "reason"),
    [("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("tool_use", "tool_calls")],
)
def test_the_finish_reason_explains_the_lack_of_text(why: str, reason: str) -> None:
    """A response that was cut, blocked or refused is complete without text, streamed or not."""
    choice = run_completion(RULES, {"out": {}, "why": why}).choice
    assert (choice.text, choice.finish_reason) == ("", reason)
    for pieces in (sse({"out": {}, "why": None}, {"why": why}), bytewise(sse({"why": why}))):
        choice = run_stream(f"{RULES}\n{STREAM}", pieces).choice
        assert (choice.text, choice.finish_reason) == ("", reason)


@pytest.mark.parametrize("text", [None, "", []])
def test_a_place_that_is_empty_is_an_empty_text(text: Any) -> None:
    """Null, an empty string and an empty list where the path leads are an empty text."""
    assert run_completion(RULES, {"out": {"text": text}, "why": "stop"}).choice.text == ""
    stream = run_stream(f"{RULES}\n{STREAM}", sse({"out": {"text": text}}, {"why": "stop"}))
    assert (stream.choice.text, stream.choice.finish_reason) == ("", "stop")


@pytest.mark.parametrize("parts", [None, []])
def test_a_list_that_is_empty_is_an_empty_text(parts: Any) -> None:
    """A path with a filter or a wildcard leads to the list before it."""
    assert run_completion(LIST_RULES, {"parts": parts, "why": "end_turn"}).choice.text == ""
    assert run_completion("response: $.parts[*].text", {"parts": parts}).choice.text == ""


@pytest.mark.parametrize(
    ("rules", "response", "hint"),
    [
        (RULES, {"out": {"txt": "hi"}, "why": "stop"}, "$.out.txt"),
        (RULES, {"out": None, "text": "hi"}, "$.text"),
        (RULES, {"result": "hi", "why": "a new reason"}, "$.result"),
        ("response: $.choices[0].text", {"choices": [], "reply": "hi"}, "$.reply"),
        (LIST_RULES, {"parts": [{"type": "other"}], "answer": "hi"}, "$.answer"),
    ],
)
def test_a_wrong_path_is_an_error(rules: str, response: Any, hint: str) -> None:
    """A path that leads nowhere is no empty response: the error names places of text."""
    error = run_failure(rules, response)
    assert (error.status, error.code) == (502, "upstream_empty")
    assert hint in error.message


def test_conditions_of_a_slot_decide_whether_its_place_counts() -> None:
    """Null in a frame that the slot does not read explains nothing."""
    rules = "response: false\nstream: {text: {path: $.t, when: {$.type: text}}}"
    assert run_failure(rules, sse({"type": "ping", "t": None})).code == "upstream_empty"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": []},
        {"role": "assistant", "content": None, "refusal": "no"},
    ],
)
def test_openai_messages_without_text(message: Any) -> None:
    """OpenAI's own shape is read by the same rule, forwarded or converted."""
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    assert run_completion("", body).choice.finish_reason == "stop"
    assert run_completion("request: {drop: [stop]}", body, request(stop="x")).choice.text == ""


@pytest.mark.parametrize("delta", [{"role": "assistant", "content": None}, {"content": ""}])
def test_openai_streams_without_text(delta: Any) -> None:
    """A null content, then a finish reason, is an empty response."""
    chunks = [{"index": 0, "delta": delta}, {"index": 0, "delta": {}, "finish_reason": "stop"}]
    events = sse(*({"choices": [chunk]} for chunk in chunks), "data: [DONE]\n\n")
    assert run_stream("", events).choice.finish_reason == "stop"


def test_openai_streams_without_any_content_are_an_error() -> None:
    """A finish reason of `stop` alone does not explain the lack of text."""
    exchange = new_exchange("", {**request(), "stream": True})
    events = sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, "data: [DONE]\n\n")
    assert simulate(exchange, pieces_of(events)) == b""
    assert exchange.error is not None
    assert exchange.error.code == "upstream_empty"
