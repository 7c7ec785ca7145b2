"""Combinations of two rules of the language."""

from __future__ import annotations

from tests.exchange.single_exchange import request, run_completion, run_failure, run_stream, sse


def test_a_stop_that_the_route_sets_is_emulated() -> None:
    rules = "request: {fields: {stop: [END]}}\nresponse: $.t"
    assert run_completion(rules, {"t": "one X two"}, request(stop="X")).choice.text == "one "


def test_a_frame_that_is_not_selected_may_end_the_stream() -> None:
    rules = "response: false\nstream: {text: $.t, only: {event: add}, done: {event: end}}"
    events = [
        b'event: add\ndata: {"t": "hi"}\n\n',
        b"event: end\ndata: bye\n\n",
        b'event: add\ndata: {"t": "!"}\n\n',
    ]
    assert run_stream(rules, events).choice.text == "hi"


def test_text_parts_are_joined() -> None:
    parts = [{"type": "thinking"}, {"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    for path in ("$.parts", "$.parts[1:]"):
        assert run_completion(f"response: {path}", {"parts": parts}).choice.text == "hello"
    assert run_failure("response: $.parts", {"parts": parts[:1]}).status == 502


def test_an_error_event_without_data_has_a_default_message() -> None:
    error = run_failure("response: false\nstream: $.t", [b"event: error\n\n"], request(stream=True))
    assert error.status == 502
    assert "reported a failure" in error.message


def test_a_stream_with_its_own_text_is_read_as_a_single_choice() -> None:
    rules = "response: {choices: '$.all[*]', text: $item.t}\nstream: $.t"
    assert run_stream(rules, sse({"t": "one"}, {"t": " two"})).choice.text == "one two"
