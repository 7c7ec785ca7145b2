"""Conversion between streaming and non-streaming responses, by the abilities of the upstream."""

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


def test_a_non_streaming_response_becomes_a_stream() -> None:
    stream = run_stream(WHOLE_ONLY, {"t": "Teal.", "why": "length", "p": 3}, USAGE)
    assert stream.choice.text == "Teal."
    assert stream.choice.finish_reason == "length"
    assert stream.usage == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


def test_usage_is_sent_in_a_stream_on_request() -> None:
    assert run_stream(WHOLE_ONLY, {"t": "Teal.", "p": 3}).usage is None
    assert run_completion(WHOLE_ONLY, {"t": "Teal.", "p": 3}).usage is not None


def test_a_stream_becomes_a_completion() -> None:
    completion = run_completion(STREAM_ONLY, ndjson({"t": "Te"}, {"t": "al."}, {"why": "length", "p": 3}))
    assert (completion.choice.text, completion.choice.finish_reason) == ("Teal.", "length")
    assert completion.usage == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


def test_an_upstream_with_both_is_requested_as_the_client_requests() -> None:
    assert request_bodies(new_exchange(BOTH, request(stream=True)))[0]["stream"] is True
    assert request_bodies(new_exchange(BOTH, request()))[0] == request()
    assert run_completion(BOTH, {"t": "x"}).choice.text == "x"
    assert run_stream(BOTH, sse({"d": "x"}, {"d": "y"})).choice.chunks == ["x", "y"]


@pytest.mark.parametrize("rules", ["response: $.t\nstream: false", "response: $.t"])
def test_a_non_streaming_upstream_is_requested_without_stream(rules: str) -> None:
    assert request_bodies(new_exchange(rules, request(stream=True)))[0]["stream"] is False
    assert run_stream(rules, {"t": "x"}).choice.text == "x"


def test_an_openai_upstream_may_be_non_streaming() -> None:
    rules = "stream: false"
    assert request_bodies(new_exchange(rules, request(stream=True)))[0]["stream"] is False
    body = {"choices": [{"message": {"content": "Teal."}, "finish_reason": "stop"}]}
    assert run_stream(rules, body).choice.text == "Teal."


def test_an_openai_upstream_may_only_stream() -> None:
    rules = "response: false\nstream: $.choices[0].delta.content"
    chunks = [{"choices": [{"delta": {"content": text}}]} for text in ("Te", "al.")]
    assert run_completion(rules, sse(*chunks, "data: [DONE]\n\n")).choice.text == "Teal."


def test_a_non_streaming_response_is_independent_of_splits() -> None:
    completion = run_completion("response: $.t", bytewise([b'{"t": "na\xc3\xafve \\ud83d\\ude00"}']))
    assert completion.choice.text == "naïve 😀"


def test_extractors_of_the_response_apply_to_the_stream() -> None:
    rules = """
        response: {text: $.t, finish_reason: $.why, reasoning: $.r, usage: {prompt_tokens: $.p}}
        stream: {framing: ndjson, text: $.d, reasoning: null}
    """
    stream = run_stream(rules, ndjson({"d": "x", "r": "no"}, {"why": "length", "p": 4}), USAGE)
    assert (stream.choice.text, stream.choice.reasoning, stream.choice.finish_reason) == ("x", "", "length")
    assert stream.usage is not None


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "text/plain", ""])
def test_the_content_type_does_not_change_the_framing(content_type: str) -> None:
    headers = {"content-type": content_type}
    assert run_stream(BOTH, sse({"d": "x"}), headers=headers).choice.text == "x"
    assert run_completion(BOTH, {"t": "x"}, headers=headers).choice.text == "x"


def test_a_json_body_in_place_of_a_stream_is_read() -> None:
    for body in ({"t": "Teal."}, b'\n {"t":\n\n "Teal."}\n'):
        assert run_stream(BOTH, body).choice.text == "Teal."
        assert run_stream("response: false\nstream: $.t", body).choice.text == "Teal."


def test_a_non_streaming_response_as_the_only_frame_is_read() -> None:
    assert run_stream(BOTH, sse({"t": "Teal."})).choice.text == "Teal."
    assert (
        run_stream("response: $.t\nstream: {framing: ndjson, text: $.d}", ndjson({"t": "x"})).choice.text
        == "x"
    )


def test_a_json_error_in_place_of_a_stream_is_an_error() -> None:
    error = run_failure(BOTH, {"error": {"message": "overloaded", "code": "busy"}}, request(stream=True))
    assert (error.status, error.message, error.code) == (502, "overloaded", "busy")


def test_an_error_between_the_events_ends_the_stream() -> None:
    stream = run_stream(BOTH, [*sse({"d": "x"}), b'{"error": {"message": "died"}}\n\n'])
    assert stream.choice.text == "x"
    assert stream.error is not None
    assert stream.error["message"] == "died"


@pytest.mark.parametrize("body", [b"", b" \n", b"\xef\xbb\xbf", b": ping\n\n"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_body_is_an_error(body: bytes, stream: bool) -> None:
    assert run_failure(BOTH, body, request(stream=stream)).status == 502


def test_a_body_that_is_not_json_is_an_error() -> None:
    error = run_failure(BOTH, "<html><title>Oops</title></html>", headers={"content-type": "text/html"})
    assert (error.status, error.code) == (502, "upstream_garbled")
    assert "text/html" in error.message
    error = run_failure(BOTH, sse("data: oops\n\n"), request(stream=True))
    assert (error.status, error.code) == (502, "upstream_garbled")


def test_text_before_malformed_data_is_sent() -> None:
    stream = run_stream(BOTH, sse({"d": "x"}, "data: oops\n\n", {"d": "y"}))
    assert stream.choice.text == "x"
    assert stream.error is not None


def test_a_broken_connection_is_an_error() -> None:
    assert run_failure(BOTH, b'{"t": "Te', complete=False).status == 502
    stream = run_stream(BOTH, sse({"d": "x"}), complete=False)
    assert stream.choice.text == "x"
    assert stream.error is not None


def test_without_text_the_error_suggests_paths() -> None:
    sent = {"data": {"reply": "Teal.", "id": 5}, "note": "n"}
    for body in (request(), request(stream=True)):
        error = run_failure("response: $.data.answer\nstream: false", sent, body)
        assert (error.status, error.code) == (502, "upstream_empty")
        for part in ("$.data.answer", "$.data.reply", "$.note"):
            assert part in error.message
        assert "$.data.id" not in error.message


def test_a_stream_without_text_is_an_error() -> None:
    error = run_failure("response: $.x\nstream: $.d", sse({"a": {"b": "t"}}, {"c": 1}), request(stream=True))
    assert "$.d" in error.message
    assert "$.a.b" in error.message


@pytest.mark.parametrize("body", [{"t": ""}, {"t": "", "r": None}, {"t": None}])
def test_an_empty_text_is_a_response(body: dict[str, Any]) -> None:
    assert run_completion("response: $.t", body).choice.text == ""
    assert run_stream("response: $.t", body).choice.text == ""
    assert run_stream("response: $.x\nstream: $.t", sse(body)).choice.text == ""


def test_reasoning_or_tool_calls_alone_are_a_response() -> None:
    rules = "response: {text: $.t, reasoning: $.r, tool_calls: $.calls}"
    assert run_completion(rules, {"r": "hm"}).choice.reasoning == "hm"
    part = run_completion(
        rules, {"calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}
    ).choice
    assert part.tool_calls == [{"id": "c", "name": "f", "arguments": "{}"}]
    assert part.finish_reason == "tool_calls"


def test_an_oversized_response_is_an_error_for_every_split() -> None:
    rules = "limits: {answer: 40}\nresponse: $.t\nstream: {framing: ndjson, text: $.d}"
    pieces = ndjson({"d": "abc"}, {"d": "def"}, {"d": "ghi"}, {"d": "jkl"})
    assert run_failure(rules, {"t": "x" * 50}).code == "upstream_limit"
    completion, cut = run_stream(rules, b"".join(pieces)), run_stream(rules, bytewise(pieces))
    assert completion == cut
    assert completion.error is not None
    assert completion.choice.text == "abcdefghi"
