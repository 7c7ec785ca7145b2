"""Errors of upstreams: how an upstream reports a failure, and the error that the client gets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import ndjson, request, run_failure, run_stream, sse

PLAIN = "response: $.t\nstream: {framing: ndjson, text: $.t}\n"


@pytest.mark.parametrize("status", [400, 404, 408, 409, 413, 422, 429, 500, 501, 502, 503, 504, 529, 599])
def test_an_error_status_is_kept(status: int) -> None:
    assert run_failure(PLAIN, "no", status=status).status == status
    assert run_failure(PLAIN, "no", request(stream=True), status=status).status == status


@pytest.mark.parametrize("status", [401, 403, 300, 302, 304, 307, 402, 405, 406, 410, 418, 424, 451, 199])
def test_other_statuses_become_502(status: int) -> None:
    assert run_failure(PLAIN, "no", status=status).status == 502


@pytest.mark.parametrize("status", [401, 403])
def test_401_and_403_are_kept_for_the_clients_own_key(status: int) -> None:
    assert run_failure(PLAIN + "auth: client", "no", key="Bearer k", status=status).status == status
    assert run_failure(PLAIN + "auth: {bearer: k}", "no", status=status).status == 502


def test_429_keeps_retry_after() -> None:
    assert run_failure(PLAIN, "no", status=429, headers={"retry-after": "7"}).retry_after == "7"
    assert run_failure(PLAIN, "no", status=429).retry_after is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "no", "type": "t", "code": "c", "param": "p"}}, "no"),
        ({"error": "no"}, "no"),
        ({"message": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"detail": [{"loc": ["body", "inputs"], "msg": "required"}]}, "body.inputs: required"),
        ([{"error": {"message": "no", "code": 400, "status": "INVALID"}}], "no"),
        ({"error_msg": "no", "error_code": 17}, "no"),
    ],
)
def test_errors_of_common_shapes_are_read(body: Any, message: str) -> None:
    assert run_failure(PLAIN, body, status=400).message == message


def test_the_envelope_of_an_openai_upstream_is_forwarded() -> None:
    envelope = {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "length"}
    assert run_failure("serves: [chat]", {"error": envelope}, status=400).envelope == {"error": envelope}


@pytest.mark.parametrize(
    "body", [b"", b"<html><head><title>Bad gateway</title></head><body>nginx</body></html>", b"oops", b"[1]"]
)
def test_an_error_body_of_another_shape_is_shortened(body: bytes) -> None:
    error = run_failure(PLAIN, body + b" " * 5000 + b"x" * 5000, status=500)
    assert 0 < len(error.message) < 1000
    assert "500" in error.message
    assert run_failure(PLAIN, body, status=500).message


def test_an_html_page_becomes_plain_text() -> None:
    page = "<html><style>b{}</style><title>Bad gateway</title><h1>nginx</h1></html>"
    error = run_failure(PLAIN, page, status=502)
    assert "Bad gateway nginx" in error.message
    assert "<" not in error.message


RULES = """
    response: $.t
    stream: {framing: ndjson, text: $.t}
    error:
      - when: {$.code: 17}
        message: $.msg
        type: overloaded
        code: $.code
        status: 503
        retry_after: $.wait
      - when: {$.code: {not: 0}}
        message: $.msg
        status: {path: $.code, map: {-4: 404, -5: 404, -6: 504}, default: 502}
      - message: $.why
        code: not_found
"""


def test_error_rules_apply_to_status_200() -> None:
    error = run_failure(RULES, {"code": 17, "msg": "busy", "wait": 1.2, "t": "x"})
    assert (error.status, error.message, error.type, error.code) == (503, "busy", "overloaded", "17")
    assert error.retry_after == "2"


@pytest.mark.parametrize(
    ("wait", "seconds"), [("30s", "30"), ("0.5s", "1"), (7, "7"), ("soon", None), (-1, None), (None, None)]
)
def test_retry_after_is_rounded_up_to_seconds(wait: Any, seconds: str | None) -> None:
    assert run_failure(RULES, {"code": 17, "msg": "busy", "wait": wait}).retry_after == seconds


@pytest.mark.parametrize(("code", "status"), [(-4, 404), (-5, 404), (-6, 504), (-7, 502), ("x", 502)])
def test_error_rules_are_tried_in_order_and_map_statuses(code: Any, status: int) -> None:
    assert run_failure(RULES, {"code": code, "msg": "no"}).status == status
    assert run_failure(RULES, ndjson({"code": code, "msg": "no"}), request(stream=True)).status == status


def test_an_error_rule_without_when_applies_to_error_statuses() -> None:
    error = run_failure(RULES, {"why": "gone"}, status=404)
    assert (error.status, error.message, error.code) == (404, "gone", "not_found")
    error = run_failure(RULES, {"code": -6, "msg": "slow"}, status=500)
    assert (error.status, error.message) == (504, "slow")


def test_a_response_that_matches_no_error_rule_is_a_success() -> None:
    for body in ({"t": "x", "code": 0}, {"t": "x"}):
        stream = run_stream(RULES, ndjson(body))
        assert (stream.choice.text, stream.error) == ("x", None)


def test_any_condition_of_a_list_makes_an_error() -> None:
    rules = PLAIN + "error: {when: [{$.ok: false}, {$.code: {above: 0}, $.kind: fatal}], message: $.m}"
    assert run_failure(rules, {"t": "x", "ok": False, "m": "a"}).message == "a"
    assert run_failure(rules, {"t": "x", "code": 1, "kind": "fatal", "m": "b"}).message == "b"
    assert run_stream(rules, ndjson({"t": "x", "code": 1})).error is None


def test_an_error_after_output_ends_the_stream() -> None:
    stream = run_stream(RULES, ndjson({"t": "a"}, {"code": 17, "msg": "busy"}, {"t": "b"}))
    assert stream.choice.text == "a"
    assert stream.error == {"message": "busy", "type": "overloaded", "param": None, "code": "17"}


def test_error_rules_apply_to_frames_that_are_not_selected() -> None:
    rules = (
        "response: $.t\nstream: {text: $.t, only: {event: add}}\nerror: {when: {event: failed}, message: $.m}"
    )
    error = run_failure(rules, sse('event: failed\ndata: {"m": "no"}\n\n'), request(stream=True))
    assert error.message == "no"


def test_the_error_message_may_be_a_header() -> None:
    rules = PLAIN + "error: {message: {header: x-reason}, status: 418}"
    error = run_failure(rules, "", status=500, headers={"x-reason": "teapot"})
    assert (error.message, error.status) == ("teapot", 418)


@pytest.mark.parametrize("body", [{"error": "no"}, {"error": {"message": "no"}}, {"error": ["no"]}])
def test_an_error_in_a_common_shape_needs_no_rule(body: Any) -> None:
    assert run_failure(PLAIN, body).status == 502
    stream = run_stream(PLAIN, ndjson({"t": "a"}, body))
    assert stream.error is not None
    assert stream.choice.text == "a"


@pytest.mark.parametrize("error", [None, "", False, {}, []])
def test_an_empty_error_member_is_ignored(error: Any) -> None:
    assert run_stream(PLAIN, ndjson({"t": "a", "error": error})).error is None


def test_an_error_beside_an_empty_text_is_an_error() -> None:
    """OpenRouter ends a failed stream in this way."""
    stream = run_stream(PLAIN, ndjson({"t": "a"}, {"t": "", "error": {"code": 502, "message": "lost"}}))
    assert stream.error is not None
    assert (stream.error["message"], stream.error["code"]) == ("lost", "502")


def test_an_event_named_error_is_an_error() -> None:
    rules = "response: $.x\nstream: $.message"
    error = run_failure(rules, sse('event: error\ndata: {"message": "busy"}\n\n'), request(stream=True))
    assert error.message == "busy"
    assert run_failure(rules, sse("event: error\ndata: busy\n\n"), request(stream=True)).status == 502


def test_an_error_event_under_an_error_status_is_read() -> None:
    error = run_failure(PLAIN, sse({"error": {"message": "busy"}}), request(stream=True), status=503)
    assert (error.status, error.message) == (503, "busy")


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("stream", [False, True])
def test_excessively_nested_json_is_an_error(status: int, stream: bool) -> None:
    deep = b'{"error": {"detail": ' + b'{"error": ' * 900 + b"1" + b"}" * 902
    for rules in (PLAIN, "serves: [chat]"):
        assert run_failure(rules, deep, request(stream=stream), status=status).status >= 400
