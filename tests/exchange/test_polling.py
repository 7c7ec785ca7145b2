"""Polling: requests for a response until it is complete, at once or in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.commands import DeliverResponse, SendRequest, Sleep
from tests.exchange.callout_steps import (
    commands_after,
    commands_before,
    connection_lost,
    deliver,
    fetched,
    request_bodies,
    request_lines,
)
from tests.exchange.single_exchange import new_exchange, request
from tests.strict_client import read_completion, read_stream

if TYPE_CHECKING:
    from bridge.exchange.exchange import Exchange

PREDICTION = """
    path: /predictions
    auth: {bearer: k}
    request: {body: {input: {prompt: $.prompt}}}
    poll: {url: $.urls.get, every: 1s, until: {$.status: [succeeded, failed]}, timeout: 60s}
    cancel: {url: $.urls.cancel}
    response: {text: $.output, finish_reason: {path: $.status, map: {succeeded: stop}}}
    error: {when: {$.status: failed}, message: $.error}
"""
STREAMED = PREDICTION + "    stream: {framing: json, mode: cumulative, text: $.output}\n"
URLS = {"get": "http://server/p/1", "cancel": "http://server/p/1/cancel"}
GET, CANCEL = "GET http://server/p/1", "POST http://server/p/1/cancel"


def prediction(status: str, output: Any = None, **members: Any) -> dict[str, Any]:
    return {"id": "1", "status": status, "output": output, "urls": URLS, **members}


def polled(rules: str, *results: Any, stream: bool = False) -> tuple[Exchange, list[Any], bytes]:
    """Return an exchange, its commands, and the output for the client."""
    exchange = new_exchange(rules, request(stream=stream))
    steps = commands_before(exchange.calls[0], *results)
    return exchange, steps, deliver(exchange, steps)


def test_the_request_is_sent_once_and_its_response_polled_until_complete() -> None:
    exchange, steps, out = polled(
        PREDICTION,
        fetched(prediction("starting"), 201),
        None,
        fetched(prediction("processing", "hel")),
        None,
        fetched(prediction("succeeded", ["hel", "lo"])),
        None,
    )
    assert request_lines(steps) == ["POST http://server/api/predictions", GET, GET]
    assert request_bodies(steps) == [{"input": {"prompt": "hi"}}, None, None]
    assert [step.begins for step in steps if isinstance(step, SendRequest)] == [True, False, False]
    assert steps[-1] is True
    choice = read_completion(out).choice
    assert (choice.text, choice.finish_reason) == ("hello", "stop")
    assert commands_after(exchange.calls[0]) == []


def test_an_immediate_response_is_not_polled() -> None:
    _, steps, out = polled(PREDICTION, fetched(prediction("succeeded", "hello"), 201), None)
    assert [type(step) for step in steps] == [SendRequest, DeliverResponse, bool]
    assert read_completion(out).choice.text == "hello"


def test_text_of_a_polled_stream_is_sent_as_it_arrives() -> None:
    results = [prediction("starting"), prediction("processing", "hel"), prediction("succeeded", "hello")]
    exchange = new_exchange(STREAMED, request(stream=True))
    [call] = exchange.calls
    # After each response: its delivery, and an interval.
    steps = commands_before(
        call, fetched(results[0]), None, None, fetched(results[1]), None, None, fetched(results[2]), None
    )
    assert [step.response.body for step in steps if isinstance(step, DeliverResponse)] == [
        fetched(each).body for each in results
    ]
    first = deliver(exchange, steps[:5])
    assert b"hel" in first
    assert b"[DONE]" not in first
    exchange = new_exchange(STREAMED, request(stream=True))
    stream = read_stream(deliver(exchange, steps))
    assert stream.choice.text == "hello"


def test_a_non_streaming_client_gets_the_last_response() -> None:
    _, steps, out = polled(
        STREAMED + "    emulate: {n: true}\n",
        fetched(prediction("processing", "hel")),
        None,
        fetched(prediction("succeeded", "hello")),
        None,
    )
    assert len([step for step in steps if isinstance(step, DeliverResponse)]) == 1
    assert read_completion(out).choice.text == "hello"


def test_a_failed_job_is_an_error() -> None:
    exchange = new_exchange(PREDICTION)
    with pytest.raises(UpstreamError, match="no memory") as raised:
        commands_before(
            exchange.calls[0],
            fetched(prediction("starting")),
            None,
            fetched(prediction("failed", error="no memory")),
        )
    assert raised.value.kind is UpstreamFailure.REFUSED
    exchange.connection_lost(exchange.calls[0], raised.value)
    assert commands_after(exchange.calls[0]) == []


def test_a_job_without_text_is_an_error() -> None:
    exchange, _, out = polled(PREDICTION, fetched({"status": "succeeded", "result": "hi"}), None)
    assert out == b""
    assert isinstance(exchange.error, UpstreamError)
    assert exchange.error.kind is UpstreamFailure.EMPTY


def test_the_interval_grows_to_ten_times_the_first() -> None:
    responses = [each for _ in range(12) for each in (fetched(prediction("processing")), None)]
    [call] = new_exchange(PREDICTION).calls
    intervals = [step.seconds for step in commands_before(call, *responses) if isinstance(step, Sleep)]
    assert intervals[:4] == [1.0, 1.5, 2.25, 3.375]
    assert intervals[-4:] == [10.0] * 4


def test_the_last_interval_ends_at_the_timeout() -> None:
    exchange = new_exchange(PREDICTION)
    [call] = exchange.calls
    first, almost_over, over = (fetched(prediction("processing"), at=at) for at in (1000.0, 1059.75, 1060.0))
    assert commands_before(call, first, None, almost_over)[-1] == Sleep(0.25)
    exchange = new_exchange(PREDICTION)
    [call] = exchange.calls
    with pytest.raises(UpstreamError, match=r"60 s .*poll\.timeout") as raised:
        commands_before(call, first, None, almost_over, None, over)
    assert (raised.value.status, raised.value.kind) == (504, UpstreamFailure.TIMEOUT)
    exchange.connection_lost(call, raised.value)
    assert request_lines(commands_after(call)) == [CANCEL]


BUSY = [fetched({"error": "busy"}, status) for status in (429, 502, 503, 504)]


@pytest.mark.parametrize(
    "busy",
    [
        *BUSY,
        connection_lost(),
        connection_lost(UpstreamFailure.CONNECT),
        connection_lost(UpstreamFailure.TIMEOUT),
    ],
    ids=str,
)
def test_up_to_three_consecutive_failed_polls_are_retried(busy: Any) -> None:
    successes = [prediction("processing"), prediction("succeeded", "hello")]
    _, steps, out = polled(
        PREDICTION,
        fetched(successes[0]),
        None,
        *[busy, None] * 3,
        fetched(successes[0]),
        None,
        *[busy, None] * 3,
        fetched(successes[1]),
        None,
    )
    assert steps[-1] is True
    assert read_completion(out).choice.text == "hello"


@pytest.mark.parametrize(
    "busy",
    [
        *BUSY,
        connection_lost(),
        connection_lost(UpstreamFailure.CONNECT),
        connection_lost(UpstreamFailure.TIMEOUT),
    ],
    ids=str,
)
def test_the_fourth_consecutive_failed_poll_is_an_error(busy: Any) -> None:
    [call] = new_exchange(PREDICTION).calls
    with pytest.raises(UpstreamError):
        commands_before(call, fetched(prediction("processing")), None, *[busy, None] * 3, busy)


@pytest.mark.parametrize("results", [*BUSY, connection_lost(), fetched(b"", 500), fetched({}, 404)], ids=str)
def test_a_failed_request_is_not_retried(results: Any) -> None:
    [call] = new_exchange(PREDICTION).calls
    with pytest.raises(UpstreamError):
        commands_before(call, results)


@pytest.mark.parametrize(
    "results",
    [
        fetched(b"", 500),
        fetched({}, 404),
        connection_lost(UpstreamFailure.MALFORMED),
        connection_lost(UpstreamFailure.LIMIT),
    ],
    ids=str,
)
def test_other_failures_of_a_poll_are_not_retried(results: Any) -> None:
    [call] = new_exchange(PREDICTION).calls
    with pytest.raises(UpstreamError):
        commands_before(call, fetched(prediction("processing")), None, results)


@pytest.mark.parametrize(
    "urls", [None, {}, {"get": None}, {"get": 7}, {"get": "/p/1"}, {"get": "http://a b/"}]
)
def test_a_missing_or_invalid_poll_url_is_an_error(urls: Any) -> None:
    [call] = new_exchange(PREDICTION).calls
    with pytest.raises(UpstreamError, match=r"poll\.url` found .*: expected a URL") as raised:
        commands_before(call, fetched({"status": "starting", "urls": urls}), None)
    assert raised.value.kind is UpstreamFailure.MALFORMED
    assert commands_after(call) == []  # the response has no URL to cancel either


def test_the_poll_url_is_that_of_the_latest_response() -> None:
    moved = prediction("processing") | {"urls": {"get": "http://server/p/2", "cancel": "http://server/c/2"}}
    [call] = new_exchange(PREDICTION).calls
    steps = commands_before(call, fetched(prediction("starting")), None, fetched(moved), None)
    assert request_lines(steps)[1:] == [GET, "GET http://server/p/2"]
    assert request_lines(commands_after(call)) == ["POST http://server/c/2"]


@pytest.mark.parametrize("body", [b"", b"<html>wait</html>", b"[]", b"null", b"\xff"])
def test_an_unreadable_response_is_polled_again(body: bytes) -> None:
    rules = PREDICTION.replace("url: $.urls.get", "path: /job")
    _, steps, out = polled(rules, fetched(body), None, fetched(prediction("succeeded", "hello")), None)
    assert request_lines(steps)[1:] == ["GET http://server/api/job"]
    assert read_completion(out).choice.text == "hello"


def test_an_abandoned_job_is_cancelled_once() -> None:
    [call] = new_exchange(PREDICTION).calls
    commands_before(call, fetched(prediction("starting")), None)
    assert request_lines(commands_after(call)) == [CANCEL]
    assert commands_after(call) == []


def test_a_completed_job_is_not_cancelled() -> None:
    [call] = new_exchange(PREDICTION).calls
    commands_before(call, fetched(prediction("succeeded", "hello")))
    assert commands_after(call) == []


def test_a_job_cut_at_a_stop_string_is_cancelled() -> None:
    exchange = new_exchange(STREAMED, request(stream=True, stop=["<end>"]))
    [call] = exchange.calls
    out = deliver(exchange, commands_before(call, fetched(prediction("processing", "hello<end> and more"))))
    assert b"[DONE]" in out
    assert call.decoder.finished
    assert request_lines(commands_after(call)) == [CANCEL]


STARTED = """
    upstream: {url: http://server/v1/answer, method: GET}
    calls: {create: {url: http://server/v1/jobs, body: {ask: $.last}, values: {id: $.id}}}
    poll: {path: "/{{ id }}", until: {$.done: true}}
    response: $.text
"""


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (STARTED, "GET http://server/v1/answer/7"),
        (STARTED.replace('path: "/{{ id }}", ', ""), "GET http://server/v1/answer"),
        (
            STARTED.replace("{url: http://server/v1/answer, method: GET}", "http://server"),
            "GET http://server/7",
        ),
    ],
)
def test_the_request_is_a_poll_if_calls_started_the_job(rules: str, expected: str) -> None:
    _, steps, out = polled(rules, fetched({"id": 7}), fetched({"done": True, "text": "hello"}), None)
    assert request_lines(steps) == ["POST http://server/v1/jobs", expected]
    assert read_completion(out).choice.text == "hello"


@pytest.mark.parametrize("more", ["path: /answer", "request: {body: {job: $.id, text: $.last}}"])
def test_the_request_is_sent_if_calls_only_prepared_it(more: str) -> None:
    rules = f"""
    upstream: http://server
    {more}
    calls: {{create: {{path: /jobs, body: {{}}, values: {{id: $.id}}}}}}
    poll: {{path: "/jobs/{{{{ id }}}}", until: {{$.done: true}}}}
    response: $.text
"""
    _, steps, _ = polled(
        rules, fetched({"id": 7}), fetched({}), None, fetched({"done": True, "text": "ho"}), None
    )
    posted = "POST http://server/answer" if "path" in more else "POST http://server"
    assert request_lines(steps) == ["POST http://server/jobs", posted, "GET http://server/jobs/7"]


def test_a_poll_is_skipped_if_its_condition_is_false() -> None:
    rules = PREDICTION.replace("{url: $.urls.get,", "{url: $.urls.get, when: {$.stream: true},")
    assert commands_before(new_exchange(rules).calls[0]) == [False]
