"""Frames of a stream: selection, data and fields, and the end of the stream."""

from __future__ import annotations

import pytest

from tests.exchange.single_exchange import run_stream, sse

USAGE = {"stream_options": {"include_usage": True}}


def test_only_and_skip_select_frames() -> None:
    rules = "response: false\nstream: {text: $.t, only: {event: [add, message]}, skip: {$.type: ping}}"
    events = sse(
        'event: add\ndata: {"t": "a"}\n\n',
        'event: other\ndata: {"t": "b"}\n\n',
        'data: {"t": "c"}\n\n',
        'event: message\ndata: {"t": "d", "type": "ping"}\n\n',
        'event: message\ndata: {"t": "e"}\n\n',
        "event: odd\ndata: no json at all\n\n",
    )
    assert run_stream(rules, events).choice.text == "ae"


def test_the_data_of_an_event_may_be_text() -> None:
    rules = "response: false\nstream: {data: text, text: $}"
    events = b'data: a\n\ndata:  b\ndata: c\n\ndata:{"x":1}\n\n'
    assert run_stream(rules, events).choice.text == 'a b\nc{"x":1}'


def test_fields_of_events_are_read() -> None:
    rules = """
        response: false
        stream:
          text: {field: say}
          finish_reason: {field: event, unset: add, map: {cut: length}}
          usage: {prompt_tokens: {field: meta, path: $.usage.prompt}}
    """
    events = b'event: add\nsay: a\n\nevent:cut\nsay:b\nmeta: {"usage": {"prompt": 4}}\n\n'
    stream = run_stream(rules, events, USAGE)
    assert (stream.choice.text, stream.choice.finish_reason) == ("ab", "length")
    assert stream.usage == {"prompt_tokens": 4, "completion_tokens": 0, "total_tokens": 4}


@pytest.mark.parametrize(
    "last", ["data: [DONE]\n\n", "data:[DONE]\n\n", "data: [DONE]", 'data: "[DONE]"\n\n']
)
def test_done_ends_a_stream_by_default(last: str) -> None:
    rules = "response: false\nstream: $.t"
    assert (
        run_stream(rules, sse({"t": "a"}, last, {"t": "b"} if last.endswith("\n") else "")).choice.text == "a"
    )


def test_another_literal_may_end_a_stream() -> None:
    rules = "response: false\nstream: {text: $.t, done: END}"
    stream = run_stream(rules, sse({"t": "a"}, "data: END\n\n", {"t": "b"}))
    assert (stream.choice.text, stream.error) == ("a", None)


def test_the_frame_that_ends_a_stream_is_read() -> None:
    rules = "response: false\nstream: {text: $.t, done: {$.last: true}}"
    stream = run_stream(rules, sse({"t": "a"}, {"t": "b", "last": True}, {"t": "c"}))
    assert (stream.choice.text, stream.error) == ("ab", None)


def test_the_frame_that_ends_a_stream_need_not_be_json() -> None:
    rules = "response: false\nstream: {text: $.t, done: {event: end}}"
    stream = run_stream(rules, sse({"t": "a"}, "event: end\ndata: bye\n\n"))
    assert (stream.choice.text, stream.error) == ("a", None)


def test_a_stream_without_its_declared_end_is_truncated() -> None:
    for done in ("END", "{$.last: true}"):
        stream = run_stream(f"response: false\nstream: {{text: $.t, done: {done}}}", sse({"t": "a"}))
        assert stream.choice.text == "a"
        assert stream.error is not None
    assert run_stream("response: false\nstream: {text: $.t}", sse({"t": "a"})).error is None
