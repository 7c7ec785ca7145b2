"""Polling: the answer is asked for until it is there, whole or piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.commands import DeliverResponse, SendRequest, Sleep
from tests.exchange.callout_steps import after, before, bodies, heard, lost, places, take
from tests.exchange.single_exchange import ask, request
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


def polled(rules: str, *came: Any, stream: bool = False) -> tuple[Exchange, list[Any], bytes]:
    """The exchange, its steps, and what the client gets."""
    exchange = ask(rules, request(stream=stream))
    steps = before(exchange.legs[0], *came)
    return exchange, steps, take(exchange, steps)


def test_the_request_is_sent_and_its_answer_asked_for_until_it_is_there() -> None:
    exchange, steps, out = polled(
        PREDICTION,
        heard(prediction("starting"), 201),
        None,
        heard(prediction("processing", "hel")),
        None,
        heard(prediction("succeeded", ["hel", "lo"])),
        None,
    )
    assert places(steps) == ["POST http://server/api/predictions", GET, GET]
    assert bodies(steps) == [{"input": {"prompt": "hi"}}, None, None]
    assert [step.begins for step in steps if isinstance(step, SendRequest)] == [True, False, False]
    assert steps[-1] is True
    said = read_completion(out).said
    assert (said.text, said.finish_reason) == ("hello", "stop")
    assert after(exchange.legs[0]) == []


def test_an_answer_that_is_there_at_once_is_not_asked_for() -> None:
    _, steps, out = polled(PREDICTION, heard(prediction("succeeded", "hello"), 201), None)
    assert [type(step) for step in steps] == [SendRequest, DeliverResponse, bool]
    assert read_completion(out).said.text == "hello"


def test_pieces_of_a_stream_leave_as_they_come() -> None:
    came = [prediction("starting"), prediction("processing", "hel"), prediction("succeeded", "hello")]
    exchange = ask(STREAMED, request(stream=True))
    [leg] = exchange.legs
    # Of each answer comes: its reading; a pause.
    steps = before(leg, heard(came[0]), None, None, heard(came[1]), None, None, heard(came[2]), None)
    assert [step.heard.body for step in steps if isinstance(step, DeliverResponse)] == [
        heard(one).body for one in came
    ]
    first = take(exchange, steps[:5])
    assert b"hel" in first
    assert b"[DONE]" not in first
    exchange = ask(STREAMED, request(stream=True))
    whole = read_stream(take(exchange, steps))
    assert whole.said.text == "hello"


def test_a_client_that_wants_no_stream_gets_the_last_answer_of_it() -> None:
    _, steps, out = polled(
        STREAMED + "    emulate: {n: true}\n",
        heard(prediction("processing", "hel")),
        None,
        heard(prediction("succeeded", "hello")),
        None,
    )
    assert len([step for step in steps if isinstance(step, DeliverResponse)]) == 1
    assert read_completion(out).said.text == "hello"


def test_a_job_that_fails_is_a_failure() -> None:
    exchange = ask(PREDICTION)
    with pytest.raises(UpstreamError, match="no memory") as raised:
        before(
            exchange.legs[0],
            heard(prediction("starting")),
            None,
            heard(prediction("failed", error="no memory")),
        )
    assert raised.value.kind is UpstreamFailure.REFUSED
    exchange.connection_lost(exchange.legs[0], raised.value)
    assert after(exchange.legs[0]) == []


def test_a_job_that_ends_without_a_text_is_no_empty_success() -> None:
    exchange, _, out = polled(PREDICTION, heard(prediction("succeeded")), None)
    assert out == b""
    assert isinstance(exchange.error, UpstreamError)
    assert exchange.error.kind is UpstreamFailure.EMPTY


def test_pauses_grow_to_ten_times_the_first() -> None:
    again = [one for _ in range(12) for one in (heard(prediction("processing")), None)]
    [leg] = ask(PREDICTION).legs
    pauses = [step.seconds for step in before(leg, *again) if isinstance(step, Sleep)]
    assert pauses[:4] == [1.0, 1.5, 2.25, 3.375]
    assert pauses[-4:] == [10.0] * 4


def test_the_last_pause_ends_when_the_time_does() -> None:
    exchange = ask(PREDICTION)
    [leg] = exchange.legs
    first, late, over = (heard(prediction("processing"), at=at) for at in (1000.0, 1059.75, 1060.0))
    assert before(leg, first, None, late)[-1] == Sleep(0.25)
    exchange = ask(PREDICTION)
    [leg] = exchange.legs
    with pytest.raises(UpstreamError, match=r"60 s .*poll\.timeout") as raised:
        before(leg, first, None, late, None, over)
    assert (raised.value.status, raised.value.kind) == (504, UpstreamFailure.TIMEOUT)
    exchange.connection_lost(leg, raised.value)
    assert places(after(leg)) == [CANCEL]


BUSY = [heard({"error": "busy"}, status) for status in (429, 502, 503, 504)]


@pytest.mark.parametrize(
    "busy", [*BUSY, lost(), lost(UpstreamFailure.CONNECT), lost(UpstreamFailure.TIMEOUT)], ids=str
)
def test_a_busy_moment_is_waited_for(busy: Any) -> None:
    fine = [prediction("processing"), prediction("succeeded", "hello")]
    _, steps, out = polled(
        PREDICTION,
        heard(fine[0]),
        None,
        *[busy, None] * 3,
        heard(fine[0]),
        None,
        *[busy, None] * 3,
        heard(fine[1]),
        None,
    )
    assert steps[-1] is True
    assert read_completion(out).said.text == "hello"


@pytest.mark.parametrize(
    "busy", [*BUSY, lost(), lost(UpstreamFailure.CONNECT), lost(UpstreamFailure.TIMEOUT)], ids=str
)
def test_four_in_a_row_are_too_many(busy: Any) -> None:
    [leg] = ask(PREDICTION).legs
    with pytest.raises(UpstreamError):
        before(leg, heard(prediction("processing")), None, *[busy, None] * 3, busy)


@pytest.mark.parametrize("came", [*BUSY, lost(), heard(b"", 500), heard({}, 404)], ids=str)
def test_the_request_itself_is_sent_once(came: Any) -> None:
    [leg] = ask(PREDICTION).legs
    with pytest.raises(UpstreamError):
        before(leg, came)


@pytest.mark.parametrize(
    "came",
    [heard(b"", 500), heard({}, 404), lost(UpstreamFailure.MALFORMED), lost(UpstreamFailure.LIMIT)],
    ids=str,
)
def test_other_failures_are_not_waited_for(came: Any) -> None:
    [leg] = ask(PREDICTION).legs
    with pytest.raises(UpstreamError):
        before(leg, heard(prediction("processing")), None, came)


@pytest.mark.parametrize(
    "urls", [None, {}, {"get": None}, {"get": 7}, {"get": "/p/1"}, {"get": "http://a b/"}]
)
def test_a_server_that_names_no_url_fails(urls: Any) -> None:
    [leg] = ask(PREDICTION).legs
    with pytest.raises(UpstreamError, match=r"poll\.url` found no URL") as raised:
        before(leg, heard({"status": "starting", "urls": urls}), None)
    assert raised.value.kind is UpstreamFailure.MALFORMED
    assert after(leg) == []  # nor does it say where to cancel


def test_the_newest_answer_says_where_to_ask() -> None:
    moved = prediction("processing") | {"urls": {"get": "http://server/p/2", "cancel": "http://server/c/2"}}
    [leg] = ask(PREDICTION).legs
    steps = before(leg, heard(prediction("starting")), None, heard(moved), None)
    assert places(steps)[1:] == [GET, "GET http://server/p/2"]
    assert places(after(leg)) == ["POST http://server/c/2"]


@pytest.mark.parametrize("answer", [b"", b"<html>wait</html>", b"[]", b"null", b"\xff"])
def test_what_is_no_answer_is_asked_for_again(answer: bytes) -> None:
    rules = PREDICTION.replace("url: $.urls.get", "path: /job")
    _, steps, out = polled(rules, heard(answer), None, heard(prediction("succeeded", "hello")), None)
    assert places(steps)[1:] == ["GET http://server/api/job"]
    assert read_completion(out).said.text == "hello"


def test_what_nobody_waits_for_is_cancelled() -> None:
    [leg] = ask(PREDICTION).legs
    before(leg, heard(prediction("starting")), None)
    assert places(after(leg)) == [CANCEL]
    assert after(leg) == []


def test_an_answer_that_was_there_when_the_client_left_is_not_cancelled() -> None:
    [leg] = ask(PREDICTION).legs
    before(leg, heard(prediction("succeeded", "hello")))
    assert after(leg) == []


def test_what_is_cut_at_a_stop_string_is_cancelled() -> None:
    exchange = ask(STREAMED, request(stream=True, stop=["<end>"]))
    [leg] = exchange.legs
    out = take(exchange, before(leg, heard(prediction("processing", "hello<end> and more"))))
    assert b"[DONE]" in out
    assert leg.answering.finished
    assert places(after(leg)) == [CANCEL]


MADE = """
    upstream: {url: http://server/v1/answer, method: GET}
    calls: {create: {url: http://server/v1/jobs, body: {ask: $.last}, values: {id: $.id}}}
    poll: {path: "/{{ id }}", until: {$.done: true}}
    response: $.text
"""


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (MADE, "GET http://server/v1/answer/7"),
        (MADE.replace('path: "/{{ id }}", ', ""), "GET http://server/v1/answer"),
        (MADE.replace("{url: http://server/v1/answer, method: GET}", "http://server"), "GET http://server/7"),
    ],
)
def test_calls_that_made_it_leave_only_the_asking(rules: str, expected: str) -> None:
    _, steps, out = polled(rules, heard({"id": 7}), heard({"done": True, "text": "hello"}), None)
    assert places(steps) == ["POST http://server/v1/jobs", expected]
    assert read_completion(out).said.text == "hello"


@pytest.mark.parametrize("more", ["path: /answer", "request: {body: {job: $.id}}"])
def test_calls_that_only_prepared_it_leave_the_request(more: str) -> None:
    rules = f"""
    upstream: http://server
    {more}
    calls: {{create: {{path: /jobs, body: {{}}, values: {{id: $.id}}}}}}
    poll: {{path: "/jobs/{{{{ id }}}}", until: {{$.done: true}}}}
    response: $.text
"""
    _, steps, _ = polled(rules, heard({"id": 7}), heard({}), None, heard({"done": True, "text": "ho"}), None)
    posted = "POST http://server/answer" if "path" in more else "POST http://server"
    assert places(steps) == ["POST http://server/jobs", posted, "GET http://server/jobs/7"]


def test_a_poll_whose_condition_does_not_hold_leaves_an_answer_as_it_is() -> None:
    rules = PREDICTION.replace("{url: $.urls.get,", "{url: $.urls.get, when: {$.stream: true},")
    assert before(ask(rules).legs[0]) == [False]
