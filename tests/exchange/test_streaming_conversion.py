"""What the server cannot do is made of what it can: whole answers of streams, streams of whole answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import (
    bytewise,
    ndjson,
    new_exchange,
    request,
    request_bodies,
    run_completion,
    run_failure,
    run_stream,
    sse,
)

WHOLE_ONLY = "response: {text: $.t, finish_reason: $.why, usage: {prompt_tokens: $.p}}"
STREAM_ONLY = """
    response: false
    stream: {framing: ndjson, text: $.t, finish_reason: $.why, usage: {prompt_tokens: $.p}}
"""
BOTH = "response: $.t\nstream: $.d"
USAGE = {"stream_options": {"include_usage": True}}


def test_a_whole_answer_is_sent_on_as_a_stream() -> None:
    stream = run_stream(WHOLE_ONLY, {"t": "Teal.", "why": "length", "p": 3}, USAGE)
    assert stream.choice.text == "Teal."
    assert stream.choice.finish_reason == "length"
    assert stream.usage == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


def test_usage_is_told_to_those_who_ask() -> None:
    assert run_stream(WHOLE_ONLY, {"t": "Teal.", "p": 3}).usage is None
    assert run_completion(WHOLE_ONLY, {"t": "Teal.", "p": 3}).usage is not None


def test_a_stream_is_gathered_to_a_whole_answer() -> None:
    whole = run_completion(STREAM_ONLY, ndjson({"t": "Te"}, {"t": "al."}, {"why": "length", "p": 3}))
    assert (whole.choice.text, whole.choice.finish_reason) == ("Teal.", "length")
    assert whole.usage == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


def test_each_is_asked_for_where_the_server_has_both() -> None:
    assert request_bodies(new_exchange(BOTH, request(stream=True)))[0]["stream"] is True
    assert request_bodies(new_exchange(BOTH, request()))[0] == request()
    assert run_completion(BOTH, {"t": "x"}).choice.text == "x"
    assert run_stream(BOTH, sse({"d": "x"}, {"d": "y"})).choice.chunks == ["x", "y"]


@pytest.mark.parametrize("rules", ["response: $.t\nstream: false", "response: $.t"])
def test_a_server_that_cannot_stream_is_not_asked_to(rules: str) -> None:
    assert request_bodies(new_exchange(rules, request(stream=True)))[0]["stream"] is False
    assert run_stream(rules, {"t": "x"}).choice.text == "x"


def test_an_openai_server_may_be_one_that_cannot_stream() -> None:
    rules = "stream: false"
    assert request_bodies(new_exchange(rules, request(stream=True)))[0]["stream"] is False
    answer = {"choices": [{"message": {"content": "Teal."}, "finish_reason": "stop"}]}
    assert run_stream(rules, answer).choice.text == "Teal."


def test_an_openai_server_may_be_one_that_only_streams() -> None:
    rules = "response: false\nstream: $.choices[0].delta.content"
    chunks = [{"choices": [{"delta": {"content": text}}]} for text in ("Te", "al.")]
    assert run_completion(rules, sse(*chunks, "data: [DONE]\n\n")).choice.text == "Teal."


def test_a_whole_answer_is_one_piece_however_it_is_cut() -> None:
    whole = run_completion("response: $.t", bytewise([b'{"t": "na\xc3\xafve \\ud83d\\ude00"}']))
    assert whole.choice.text == "naïve 😀"


def test_slots_of_the_response_hold_for_the_stream_too() -> None:
    rules = """
        response: {text: $.t, finish_reason: $.why, reasoning: $.r, usage: {prompt_tokens: $.p}}
        stream: {framing: ndjson, text: $.d, reasoning: null}
    """
    stream = run_stream(rules, ndjson({"d": "x", "r": "no"}, {"why": "length", "p": 4}), USAGE)
    assert (stream.choice.text, stream.choice.reasoning, stream.choice.finish_reason) == ("x", "", "length")
    assert stream.usage is not None


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "text/plain", ""])
def test_the_rule_says_how_an_answer_is_framed_not_its_content_type(content_type: str) -> None:
    headers = {"content-type": content_type}
    assert run_stream(BOTH, sse({"d": "x"}), headers=headers).choice.text == "x"
    assert run_completion(BOTH, {"t": "x"}, headers=headers).choice.text == "x"


def test_one_whole_body_where_a_stream_was_promised() -> None:
    for body in ({"t": "Teal."}, b'\n {"t":\n\n "Teal."}\n'):
        assert run_stream(BOTH, body).choice.text == "Teal."
        assert run_stream("response: false\nstream: $.t", body).choice.text == "Teal."


def test_one_whole_answer_as_the_only_event() -> None:
    assert run_stream(BOTH, sse({"t": "Teal."})).choice.text == "Teal."
    assert (
        run_stream("response: $.t\nstream: {framing: ndjson, text: $.d}", ndjson({"t": "x"})).choice.text
        == "x"
    )


def test_bare_json_that_reports_an_error_is_one() -> None:
    error = run_failure(BOTH, {"error": {"message": "overloaded", "code": "busy"}}, request(stream=True))
    assert (error.status, error.message, error.code) == (502, "overloaded", "busy")


def test_an_error_between_the_events_ends_the_stream() -> None:
    stream = run_stream(BOTH, [*sse({"d": "x"}), b'{"error": {"message": "died"}}\n\n'])
    assert stream.choice.text == "x"
    assert stream.error is not None
    assert stream.error["message"] == "died"


@pytest.mark.parametrize("body", [b"", b" \n", b"\xef\xbb\xbf", b": ping\n\n"])
@pytest.mark.parametrize("stream", [False, True])
def test_nothing_at_all_is_an_error(body: bytes, stream: bool) -> None:
    assert run_failure(BOTH, body, request(stream=stream)).status == 502


def test_what_is_no_json_is_an_error() -> None:
    error = run_failure(BOTH, "<html><title>Oops</title></html>", headers={"content-type": "text/html"})
    assert (error.status, error.code) == (502, "upstream_garbled")
    assert "text/html" in error.message
    error = run_failure(BOTH, sse("data: oops\n\n"), request(stream=True))
    assert (error.status, error.code) == (502, "upstream_garbled")


def test_what_came_before_garbage_still_leaves() -> None:
    stream = run_stream(BOTH, sse({"d": "x"}, "data: oops\n\n", {"d": "y"}))
    assert stream.choice.text == "x"
    assert stream.error is not None


def test_a_broken_connection_is_an_error() -> None:
    assert run_failure(BOTH, b'{"t": "Te', complete=False).status == 502
    stream = run_stream(BOTH, sse({"d": "x"}), complete=False)
    assert stream.choice.text == "x"
    assert stream.error is not None


def test_a_text_path_that_matches_nothing_says_where_text_is() -> None:
    answer = {"data": {"reply": "Teal.", "id": 5}, "note": "n"}
    for body in (request(), request(stream=True)):
        error = run_failure("response: $.data.answer\nstream: false", answer, body)
        assert (error.status, error.code) == (502, "upstream_empty")
        for said in ("$.data.answer", "$.data.reply", "$.note"):
            assert said in error.message
        assert "$.data.id" not in error.message


def test_a_stream_without_text_is_no_empty_success() -> None:
    error = run_failure("response: $.x\nstream: $.d", sse({"a": {"b": "t"}}, {"c": 1}), request(stream=True))
    assert "$.d" in error.message
    assert "$.a.b" in error.message


@pytest.mark.parametrize("answer", [{"t": ""}, {"t": "", "r": None}])
def test_an_empty_text_is_something_found(answer: dict[str, Any]) -> None:
    assert run_completion("response: $.t", answer).choice.text == ""
    assert run_stream("response: $.t", answer).choice.text == ""
    assert run_stream("response: $.x\nstream: $.t", sse(answer)).choice.text == ""


def test_null_is_nothing_found() -> None:
    assert run_failure("response: $.t", {"t": None}).code == "upstream_empty"


def test_reasoning_or_tool_calls_are_an_answer_without_text() -> None:
    rules = "response: {text: $.t, reasoning: $.r, tool_calls: $.calls}"
    assert run_completion(rules, {"r": "hm"}).choice.reasoning == "hm"
    said = run_completion(
        rules, {"calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}
    ).choice
    assert said.tool_calls == [{"id": "c", "name": "f", "arguments": "{}"}]
    assert said.finish_reason == "tool_calls"


def test_an_answer_over_the_limit_is_an_error_wherever_it_is_cut() -> None:
    rules = "limits: {answer: 40}\nresponse: $.t\nstream: {framing: ndjson, text: $.d}"
    pieces = ndjson({"d": "abc"}, {"d": "def"}, {"d": "ghi"}, {"d": "jkl"})
    assert run_failure(rules, {"t": "x" * 50}).code == "upstream_limit"
    whole, cut = run_stream(rules, b"".join(pieces)), run_stream(rules, bytewise(pieces))
    assert whole == cut
    assert whole.error is not None
    assert whole.choice.text == "abcdefghi"
