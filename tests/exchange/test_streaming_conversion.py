"""What the server cannot do is made of what it can: whole answers of streams, streams of whole answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import (
    ask,
    completed,
    failed,
    lines,
    made,
    one_by_one,
    request,
    sse,
    streamed,
)

WHOLE_ONLY = "response: {text: $.t, finish_reason: $.why, usage: {prompt_tokens: $.p}}"
STREAM_ONLY = """
    response: false
    stream: {framing: ndjson, text: $.t, finish_reason: $.why, usage: {prompt_tokens: $.p}}
"""
BOTH = "response: $.t\nstream: $.d"
USAGE = {"stream_options": {"include_usage": True}}


def test_a_whole_answer_is_sent_on_as_a_stream() -> None:
    stream = streamed(WHOLE_ONLY, {"t": "Teal.", "why": "length", "p": 3}, USAGE)
    assert stream.said.text == "Teal."
    assert stream.said.finish_reason == "length"
    assert stream.usage == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


def test_usage_is_told_to_those_who_ask() -> None:
    assert streamed(WHOLE_ONLY, {"t": "Teal.", "p": 3}).usage is None
    assert completed(WHOLE_ONLY, {"t": "Teal.", "p": 3}).usage is not None


def test_a_stream_is_gathered_to_a_whole_answer() -> None:
    whole = completed(STREAM_ONLY, lines({"t": "Te"}, {"t": "al."}, {"why": "length", "p": 3}))
    assert (whole.said.text, whole.said.finish_reason) == ("Teal.", "length")
    assert whole.usage == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


def test_each_is_asked_for_where_the_server_has_both() -> None:
    assert made(ask(BOTH, request(stream=True)))[0]["stream"] is True
    assert made(ask(BOTH, request()))[0] == request()
    assert completed(BOTH, {"t": "x"}).said.text == "x"
    assert streamed(BOTH, sse({"d": "x"}, {"d": "y"})).said.chunks == ["x", "y"]


@pytest.mark.parametrize("rules", ["response: $.t\nstream: false", "response: $.t"])
def test_a_server_that_cannot_stream_is_not_asked_to(rules: str) -> None:
    assert made(ask(rules, request(stream=True)))[0]["stream"] is False
    assert streamed(rules, {"t": "x"}).said.text == "x"


def test_an_openai_server_may_be_one_that_cannot_stream() -> None:
    rules = "stream: false"
    assert made(ask(rules, request(stream=True)))[0]["stream"] is False
    answer = {"choices": [{"message": {"content": "Teal."}, "finish_reason": "stop"}]}
    assert streamed(rules, answer).said.text == "Teal."


def test_an_openai_server_may_be_one_that_only_streams() -> None:
    rules = "response: false\nstream: $.choices[0].delta.content"
    chunks = [{"choices": [{"delta": {"content": text}}]} for text in ("Te", "al.")]
    assert completed(rules, sse(*chunks, "data: [DONE]\n\n")).said.text == "Teal."


def test_a_whole_answer_is_one_piece_however_it_is_cut() -> None:
    whole = completed("response: $.t", one_by_one([b'{"t": "na\xc3\xafve \\ud83d\\ude00"}']))
    assert whole.said.text == "naïve 😀"


def test_slots_of_the_response_hold_for_the_stream_too() -> None:
    rules = """
        response: {text: $.t, finish_reason: $.why, reasoning: $.r, usage: {prompt_tokens: $.p}}
        stream: {framing: ndjson, text: $.d, reasoning: null}
    """
    stream = streamed(rules, lines({"d": "x", "r": "no"}, {"why": "length", "p": 4}), USAGE)
    assert (stream.said.text, stream.said.reasoning, stream.said.finish_reason) == ("x", "", "length")
    assert stream.usage is not None


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "text/plain", ""])
def test_the_rule_says_how_an_answer_is_framed_not_its_content_type(content_type: str) -> None:
    headers = {"content-type": content_type}
    assert streamed(BOTH, sse({"d": "x"}), headers=headers).said.text == "x"
    assert completed(BOTH, {"t": "x"}, headers=headers).said.text == "x"


def test_one_whole_body_where_a_stream_was_promised() -> None:
    for body in ({"t": "Teal."}, b'\n {"t":\n\n "Teal."}\n'):
        assert streamed(BOTH, body).said.text == "Teal."
        assert streamed("response: false\nstream: $.t", body).said.text == "Teal."


def test_one_whole_answer_as_the_only_event() -> None:
    assert streamed(BOTH, sse({"t": "Teal."})).said.text == "Teal."
    assert streamed("response: $.t\nstream: {framing: ndjson, text: $.d}", lines({"t": "x"})).said.text == "x"


def test_bare_json_that_reports_an_error_is_one() -> None:
    error = failed(BOTH, {"error": {"message": "overloaded", "code": "busy"}}, request(stream=True))
    assert (error.status, error.message, error.code) == (502, "overloaded", "busy")


def test_an_error_between_the_events_ends_the_stream() -> None:
    stream = streamed(BOTH, [*sse({"d": "x"}), b'{"error": {"message": "died"}}\n\n'])
    assert stream.said.text == "x"
    assert stream.error is not None
    assert stream.error["message"] == "died"


@pytest.mark.parametrize("body", [b"", b" \n", b"\xef\xbb\xbf", b": ping\n\n"])
@pytest.mark.parametrize("stream", [False, True])
def test_nothing_at_all_is_an_error(body: bytes, stream: bool) -> None:
    assert failed(BOTH, body, request(stream=stream)).status == 502


def test_what_is_no_json_is_an_error() -> None:
    error = failed(BOTH, "<html><title>Oops</title></html>", headers={"content-type": "text/html"})
    assert (error.status, error.code) == (502, "upstream_garbled")
    assert "text/html" in error.message
    error = failed(BOTH, sse("data: oops\n\n"), request(stream=True))
    assert (error.status, error.code) == (502, "upstream_garbled")


def test_what_came_before_garbage_still_leaves() -> None:
    stream = streamed(BOTH, sse({"d": "x"}, "data: oops\n\n", {"d": "y"}))
    assert stream.said.text == "x"
    assert stream.error is not None


def test_a_broken_connection_is_an_error() -> None:
    assert failed(BOTH, b'{"t": "Te', complete=False).status == 502
    stream = streamed(BOTH, sse({"d": "x"}), complete=False)
    assert stream.said.text == "x"
    assert stream.error is not None


def test_a_text_path_that_matches_nothing_says_where_text_is() -> None:
    answer = {"data": {"reply": "Teal.", "id": 5}, "note": "n"}
    for body in (request(), request(stream=True)):
        error = failed("response: $.data.answer\nstream: false", answer, body)
        assert (error.status, error.code) == (502, "upstream_empty")
        for said in ("$.data.answer", "$.data.reply", "$.note"):
            assert said in error.message
        assert "$.data.id" not in error.message


def test_a_stream_without_text_is_no_empty_success() -> None:
    error = failed("response: $.x\nstream: $.d", sse({"a": {"b": "t"}}, {"c": 1}), request(stream=True))
    assert "$.d" in error.message
    assert "$.a.b" in error.message


@pytest.mark.parametrize("answer", [{"t": ""}, {"t": "", "r": None}])
def test_an_empty_text_is_something_found(answer: dict[str, Any]) -> None:
    assert completed("response: $.t", answer).said.text == ""
    assert streamed("response: $.t", answer).said.text == ""
    assert streamed("response: $.x\nstream: $.t", sse(answer)).said.text == ""


def test_null_is_nothing_found() -> None:
    assert failed("response: $.t", {"t": None}).code == "upstream_empty"


def test_reasoning_or_tool_calls_are_an_answer_without_text() -> None:
    rules = "response: {text: $.t, reasoning: $.r, tool_calls: $.calls}"
    assert completed(rules, {"r": "hm"}).said.reasoning == "hm"
    said = completed(rules, {"calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}).said
    assert said.tool_calls == [{"id": "c", "name": "f", "arguments": "{}"}]
    assert said.finish_reason == "tool_calls"


def test_an_answer_over_the_limit_is_an_error_wherever_it_is_cut() -> None:
    rules = "limits: {answer: 40}\nresponse: $.t\nstream: {framing: ndjson, text: $.d}"
    pieces = lines({"d": "abc"}, {"d": "def"}, {"d": "ghi"}, {"d": "jkl"})
    assert failed(rules, {"t": "x" * 50}).code == "upstream_limit"
    whole, cut = streamed(rules, b"".join(pieces)), streamed(rules, one_by_one(pieces))
    assert whole == cut
    assert whole.error is not None
    assert whole.said.text == "abcdefghi"
