"""Errors of upstreams: their own statuses and further members, and failures in fields of events."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import (
    bytewise,
    new_exchange,
    pieces_of,
    request,
    run_failure,
    run_stream,
    sse,
)

CHUNK = {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}
RULES = "response: $.t\nstream: {text: $.t}\nauth: {bearer: a-secret-key}"


@pytest.mark.parametrize("rules", ["", RULES])
@pytest.mark.parametrize(
    "more",
    [
        {"failed_generation": "g", "metadata": {"raw": "r"}},
        {
            "innererror": {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"hate": {"filtered": True}},
            }
        },
        {"details": [{"@type": "ErrorInfo", "reason": "QUOTA"}], "status": "RESOURCE_EXHAUSTED"},
    ],
)
def test_further_members_of_an_error_are_kept(rules: str, more: dict[str, Any]) -> None:
    """The client gets what else the upstream's error object says, as a status and within a stream."""
    error = {"message": "m", "type": "t", "code": "c", "param": None, **more}
    exchange = new_exchange(rules)
    simulate(exchange, pieces_of({"error": error}), status=400)
    assert exchange.error is not None
    assert exchange.error.envelope == {"error": error}
    chunk = {"t": "Hel"} if rules else CHUNK
    stream = run_stream(rules, sse(chunk, {"error": error}))
    assert stream.error == error


def test_members_without_an_error_object_are_not_members_of_the_error() -> None:
    """Other shapes have no object whose members belong to the error."""
    error = run_failure("", {"message": "m", "trace": "t"}, status=400)
    assert error.envelope["error"].keys() == {"message", "type", "param", "code"}


def test_secrets_in_further_members_are_masked() -> None:
    """An upstream may repeat the credentials anywhere."""
    exchange = new_exchange(RULES)
    error = {"message": "m", "request": {"headers": ["Bearer a-secret-key"], "a-secret-key": 1}}
    simulate(exchange, pieces_of({"error": error}), status=400)
    assert exchange.error is not None
    assert "a-secret-key" not in str(exchange.error.envelope)


def test_large_members_are_left_out() -> None:
    """An error text stays readable."""
    exchange = new_exchange("")
    simulate(exchange, pieces_of({"error": {"message": "m", "dump": "x" * 20_000}}), status=400)
    assert exchange.error is not None
    assert exchange.error.envelope["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"message": "m", "status": 400}}, 400),
        ({"error": {"message": "m", "code": 429}}, 429),
        ({"error": {"message": "m", "code": "503"}}, 503),
        ({"error": "m", "status": 404}, 404),
        ({"error": {"message": "m"}, "status_code": 422}, 422),
        ({"error": {"message": "m", "code": "content_filter"}}, 502),
        ({"error": {"message": "m", "code": 17}}, 502),
        ({"error": {"message": "m", "status": 200}}, 502),
        ({"error": {"message": "m", "status": 401}}, 502),
    ],
)
def test_an_error_under_200_may_name_its_status(body: Any, status: int) -> None:
    """The body's own status counts, streamed or not; that of the upstream wins outside of 2xx."""
    assert run_failure("", body).status == status
    exchange = new_exchange("", {**request(), "stream": True})
    assert simulate(exchange, pieces_of(sse(body))) == b""
    assert exchange.error is not None
    assert exchange.error.status == status
    assert run_failure("", body, status=409).status == (502 if "401" in str(body) else 409)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"code": 400, "type": "InvalidKeyException", "message": "Token Authorization failed"}),
        (400, {"error": {"message": "Incorrect key", "code": "invalid_api_key"}}),
        (200, {"error": {"message": "no", "type": "authentication_error"}}),
        (401, {"error": {"message": "no"}}),
    ],
)
def test_a_refused_key_is_not_the_clients_fault(status: int, body: Any) -> None:
    """The bridge's key failed, whatever the status; the client's own key is the client's."""
    error = run_failure("", body, status=status)
    assert error.status == 502
    assert "credentials" in error.message
    assert run_failure("auth: client", body, key="Bearer k", status=status).message != error.message


@pytest.mark.parametrize("rules", ["", "response: $.t\nstream: $.choices[0].delta.content"])
@pytest.mark.parametrize(
    ("field", "message"),
    [
        ('error: {"code":400,"message":"too long","type":"invalid_request_error"}', "too long"),
        ('error:{"error":{"message":"too long"}}', "too long"),
        ("error: the model died", "the model died"),
    ],
)
def test_an_error_field_is_a_failure(rules: str, field: str, message: str) -> None:
    """A failure in a field of an event ends the stream, after its text or before."""
    events = sse(CHUNK, f"{field}\n\n", "data: [DONE]\n\n")
    for pieces in (events, bytewise(events)):
        stream = run_stream(rules, pieces)
        assert stream.choice.text == "Hel"
        assert stream.error is not None
        assert stream.error["message"] == message
    exchange = new_exchange(rules, {**request(), "stream": True})
    assert simulate(exchange, pieces_of(events[1:])) == b""
    assert exchange.error is not None
    assert exchange.error.status == (400 if "400" in field else 502)
