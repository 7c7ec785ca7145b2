"""Streams in OpenAI's format whose last chunk repeats the whole message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import bytewise, run_stream, sse

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
DELTAS: dict[str, dict[str, Any]] = {
    "text": {"content": "Hello"},
    "reasoning": {"reasoning_content": "hm"},
    "calls": {"tool_calls": [{"index": 0, **CALL}]},
}


@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize("said", [["text"], ["text", "reasoning"], ["text", "calls"], ["reasoning", "calls"]])
def test_a_final_message_repeats_nothing(said: list[str], converted: bool) -> None:
    """Members that deltas have brought are not sent again, the finish reason and the counts are."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for name in said:
        message |= DELTAS[name] | ({"tool_calls": [CALL]} if name == "calls" else {})
    last = {"index": 0, "finish_reason": "length", "message": message}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    deltas = [{"choices": [{"index": 0, "delta": DELTAS[name]}]} for name in said]
    events = sse(
        *deltas, {"object": "chat.completion", "choices": [last], "usage": usage}, "data: [DONE]\n\n"
    )
    rules = "request: {drop: [stop]}" if converted else ""
    body: dict[str, Any] = {"stop": "§"} if converted else {}
    body["stream_options"] = {"include_usage": True}
    for pieces in (events, bytewise(events)):
        stream = run_stream(rules, pieces, body)
        choice = stream.choice
        assert (choice.text, choice.reasoning) == ("Hello" * ("text" in said), "hm" * ("reasoning" in said))
        assert [call["arguments"] for call in choice.tool_calls] == ["{}"] * ("calls" in said)
        assert choice.finish_reason == "length"
        assert stream.usage == usage


def test_a_message_in_place_of_deltas_is_read() -> None:
    """The message supplies the parts that no delta has brought."""
    chunk = {"index": 0, "message": {"content": "Hello", "tool_calls": [CALL]}, "finish_reason": "tool_calls"}
    begin = {"choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": "hm"}}]}
    choice = run_stream("", sse(begin, {"choices": [chunk]}, "data: [DONE]\n\n")).choice
    assert (choice.text, choice.reasoning, len(choice.tool_calls)) == ("Hello", "hm", 1)
