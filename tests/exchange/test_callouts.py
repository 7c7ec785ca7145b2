"""Callouts before a response: requests, values, conditions, credentials, and cancellation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import ConfigError, UpstreamError, UpstreamFailure
from bridge.core.urls import origin
from bridge.exchange.commands import SendRequest, Sleep
from tests.exchange.callout_steps import (
    commands_after,
    commands_before,
    connection_lost,
    fetched,
    request_bodies,
    request_body,
    request_lines,
    respond,
)
from tests.exchange.single_exchange import new_exchange, request, table

if TYPE_CHECKING:
    from bridge.exchange.upstream_call import UpstreamCall

RULES = """
    upstream: http://server:8000/v1
    path: /messages
    auth: {bearer: k}
    headers: {X-Team: a}
    calls:
      thread: {path: /threads, body: {meta: $.user}, values: {thread: $.id}}
      run:
        path: "/threads/{{ thread }}/runs"
        body: {ask: $.last}
        values: {run: $.run.id, next: {path: $.urls.next, default: none}}
    request: {body: {thread: $.thread, run: $.run, next: $.next}}
    response: $.text
    cancel: {path: "/threads/{{ thread }}/runs/{{ run }}/cancel"}
"""
POLLED = """
    calls:
      made: {path: /made, body: {}, values: {id: $.id}}
      there:
        path: "/made/{{ id }}"
        until: {$.status: done}
        every: 2s
        timeout: 20s
        values: {where: $.where}
    request: {body: {where: $.where}}
    response: $.text
"""


def leg_of(rules: str = RULES, **members: Any) -> UpstreamCall:
    [call] = new_exchange(rules, request(**members)).calls
    return call


def body(call: UpstreamCall) -> Any:
    return json.loads(call.request().body or b"null")


def test_calls_are_made_in_order_and_their_values_are_in_the_request() -> None:
    call = leg_of()
    steps = commands_before(call, fetched({"id": "t 1"}), fetched({"run": {"id": 7}, "urls": {"next": "n"}}))
    assert request_lines(steps) == [
        "POST http://server:8000/v1/threads",
        "POST http://server:8000/v1/threads/t%201/runs",
    ]
    assert request_bodies(steps) == [{}, {"ask": "hi"}]
    assert all(step.begins for step in steps[:-1])
    assert steps[-1] is False
    assert body(call) == {"thread": "t 1", "run": 7, "next": "n"}


def test_a_missing_value_has_its_default() -> None:
    call = leg_of()
    assert commands_before(call, fetched({"id": "t"}), fetched({"run": {"id": 7}}))[-1] is False
    assert body(call)["next"] == "none"


@pytest.mark.parametrize("body_sent", [{}, {"id": None}, {"ids": "t"}, [], "t", b"", b"<html>"])
def test_a_value_that_is_not_found_is_an_error(body_sent: Any) -> None:
    call = leg_of()
    with pytest.raises(
        UpstreamError, match=r"found no `thread` in the response of `.*calls\.thread`"
    ) as raised:
        commands_before(call, fetched(body_sent))
    assert raised.value.kind is UpstreamFailure.EMPTY


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_error_status_of_a_call_fails_the_response(status: int) -> None:
    call = leg_of()
    with pytest.raises(UpstreamError) as raised:
        commands_before(call, fetched({"id": "t"}, status))
    assert raised.value.kind is UpstreamFailure.REFUSED
    assert commands_after(call) == []


def test_a_client_cannot_set_the_value_of_a_call() -> None:
    """A value may be the URL of the next request."""
    rules = """
        calls: {create: {path: /jobs, body: {}, when: {$.stream: true}, values: {job: $.url}}}
        poll: {url: "{{ job }}", until: {$.done: true}}
        response: $.text
        cancel: {url: "{{ job }}/cancel"}
    """
    call = leg_of(rules, job="http://evil/")
    with pytest.raises(UpstreamError, match="expected a URL"):
        commands_before(call)
    assert commands_after(call) == []


def test_a_call_is_skipped_if_its_condition_is_false() -> None:
    rules = RULES.replace("{path: /threads,", "{path: /threads, when: {$.user: {exists: true}},")
    assert request_lines(commands_before(leg_of(rules))) == ["POST http://server:8000/v1/threads//runs"]
    assert request_lines(commands_before(leg_of(rules, user="u")))[0] == "POST http://server:8000/v1/threads"


def test_a_call_is_repeated_until_its_condition_is_true() -> None:
    call = leg_of(POLLED)
    not_yet = {"status": "busy", "where": "nowhere"}
    steps = commands_before(
        call,
        fetched({"id": 5}),
        fetched(not_yet, at=100),
        None,
        fetched(not_yet, at=101),
        None,
        fetched({"status": "done", "where": "w"}, at=102),
    )
    assert request_lines(steps) == ["POST http://server/api/made"] + 3 * ["GET http://server/api/made/5"]
    assert [step.seconds for step in steps if isinstance(step, Sleep)] == [2.0, 3.0]
    assert steps[-1] is False
    assert body(call) == {"where": "w"}


def test_a_repeated_call_times_out() -> None:
    call = leg_of(POLLED)
    late = fetched({"status": "busy"}, at=120)
    with pytest.raises(UpstreamError, match=r"20 s .*calls\.there\.timeout") as raised:
        commands_before(call, fetched({"id": 5}), fetched({"status": "busy"}, at=100), None, late)
    assert (raised.value.status, raised.value.kind) == (504, UpstreamFailure.TIMEOUT)


def test_a_started_call_is_cancelled_once() -> None:
    call = leg_of()
    commands_before(call, fetched({"id": "t"}), fetched({"run": {"id": 7}}))
    cancel = commands_after(call)
    assert request_lines(cancel) == ["POST http://server:8000/v1/threads/t/runs/7/cancel"]
    assert request_body(cancel[0]) is None
    assert commands_after(call) == []


def test_an_earlier_call_is_cancelled_if_a_later_call_fails() -> None:
    exchange = new_exchange(POLLED + "    cancel: {path: '/made/{{ id }}/cancel'}")
    [call] = exchange.calls
    with pytest.raises(UpstreamError) as raised:
        commands_before(call, fetched({"id": "7"}), fetched({"error": "no"}, status=500))
    exchange.connection_lost(call, raised.value)
    assert request_lines(commands_after(call)) == ["POST http://server/api/made/7/cancel"]


def test_a_call_that_was_not_started_is_not_cancelled() -> None:
    call = leg_of()
    assert commands_after(call) == []
    with pytest.raises(UpstreamError):
        commands_before(call, connection_lost())
    assert commands_after(call) == []


@pytest.mark.parametrize(("status", "cancelled"), [(200, False), (500, False)])
def test_a_completed_or_refused_response_is_not_cancelled(status: int, *, cancelled: bool) -> None:
    exchange = new_exchange(RULES)
    [call] = exchange.calls
    commands_before(call, fetched({"id": "t"}), fetched({"run": {"id": 7}}))
    respond(exchange, {"text": "ho"}, status=status)
    assert bool(commands_after(call)) is cancelled


def test_a_broken_response_is_cancelled() -> None:
    exchange = new_exchange(RULES)
    [call] = exchange.calls
    commands_before(call, fetched({"id": "t"}), fetched({"run": {"id": 7}}))
    exchange.connection_lost(call, connection_lost())
    assert len(commands_after(call)) == 1


BOTH = """
    session: {open: {path: /open, id: $.id}, close: {path: /close, body: {s: $.session}}}
    calls: {create: {path: /jobs, body: {}, values: {job: $.url}}}
    request: {body: {ask: $.last}}
    response: $.text
    cancel: {url: "{{ job }}/cancel", method: DELETE}
"""


def test_a_call_is_cancelled_before_its_session_is_closed() -> None:
    call = leg_of(BOTH)
    commands_before(call, fetched({"id": 1}), fetched({"url": "http://server/jobs/1"}))
    assert request_lines(commands_after(call)) == [
        "DELETE http://server/jobs/1/cancel",
        "POST http://server/api/close",
    ]


@pytest.mark.parametrize("url", ["nowhere", 7, {"a": 1}, "http://[::1/x", "http:///x", "ftp://server/x"])
def test_an_invalid_cancel_url_does_not_keep_the_session_open(url: Any) -> None:
    call = leg_of(BOTH)
    commands_before(call, fetched({"id": 1}), fetched({"url": url}))
    assert request_lines(commands_after(call)) == ["POST http://server/api/close"]


def test_opening_a_session_is_not_cancelled() -> None:
    call = leg_of(BOTH)
    with pytest.raises(UpstreamError):
        commands_before(call, fetched({"id": 1}), connection_lost())
    assert request_lines(commands_after(call)) == ["POST http://server/api/close"]


NAMED = """
    upstream: {{url: https://server/v1/jobs, url_origins: [http://results, "https://[::1]:8443/"]}}
    {auth}
    headers: {{X-Team: a}}
    calls: {{create: {{url: https://server/v1/make, body: {{}}, values: {{job: $.url}}}}}}
    poll: {{url: "{{{{ job }}}}", until: {{$.done: true}}, headers: {{X-Poll: b}}}}
    response: $.text
"""
AUTHS = [
    "auth: {bearer: k}",
    "auth: {header: x-key, value: k}",
    "auth: {query: key, value: k}",
    "auth: client",
]


def poll_with_url(auth: str, url: str) -> tuple[str, bool]:
    """Return the URL of a poll whose URL is in a response, and whether the poll carries a credential."""
    [call] = new_exchange(NAMED.format(auth=auth), key="Bearer k").calls
    *_, made, poll = commands_before(call, fetched({"url": url}))
    assert isinstance(made, SendRequest)
    assert isinstance(poll, SendRequest)
    assert _has_credential(made)
    assert made.request.headers["X-Team"] == "a"
    assert poll.request.headers["X-Poll"] == "b"
    assert ("X-Team" in poll.request.headers) is _has_credential(poll)
    return poll.request.urls[0], _has_credential(poll)


def _has_credential(step: SendRequest) -> bool:
    headers = {name.lower() for name in step.request.headers}
    return bool(headers & {"authorization", "x-key"}) or "key=k" in step.request.urls[0]


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://server/any?a=b", True),
        ("https://server:443/any?a=b", True),
        ("https://SERVER/any?a=b", True),
        ("http://results/any?a=b", False),
        ("http://results:80/any?a=b", False),
        ("https://[::1]:8443/any?a=b", False),
    ],
)
def test_a_url_of_a_response_gets_credentials_and_headers_at_the_routes_own_origin_alone(
    auth: str, url: str, *, own: bool
) -> None:
    poll_url, has_credential = poll_with_url(auth, url)
    assert poll_url.startswith(url)
    assert has_credential is own


@pytest.mark.parametrize(
    "url",
    [
        "http://server/any?a=b",
        "https://server:8443/any?a=b",
        "https://results/",
        "http://results:81/",
        "https://server.evil/any?a=b",
        "https://evil/server?a=b",
        "https://server@evil/any?a=b",
        "https://server:443@evil/any?a=b",
        "https://evil?https://server/&a=b",
        "https://evil#@server/?a=b",
        "https://evil\\@server.evil/?a=b",
        "http://127.0.0.1:9/latest/meta-data",
        "http://[::ffff:127.0.0.1]:9/",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/",
    ],
)
@pytest.mark.parametrize("key", ["poll", "cancel"])
def test_no_request_is_sent_to_another_origin_that_a_response_names(key: str, url: str) -> None:
    rules = NAMED.format(auth="auth: {bearer: k}")
    if key == "cancel":
        rules = rules.replace('"{{ job }}"', "https://server/polled") + '    cancel: {url: "{{ job }}"}\n'
    [call] = new_exchange(rules).calls
    if key == "poll":
        with pytest.raises(UpstreamError, match=r"poll.url` found a URL of .*upstream.url_origins"):
            commands_before(call, fetched({"url": url}))
        return
    commands_before(call, fetched({"url": url}))
    assert commands_after(call) == []


def test_the_origins_of_urls_in_the_file_are_the_routes_own() -> None:
    rules = """
        upstream: https://server/v1
        headers: {X-Team: a}
        calls: {create: {url: https://jobs:8443/make, body: {}, values: {job: $.url}}}
        poll: {url: "{{ job }}", until: {$.done: true}}
        response: $.text
    """
    [call] = new_exchange(rules).calls
    *_, poll = commands_before(call, fetched({"url": "https://jobs:8443/1"}))
    assert poll.request.headers["X-Team"] == "a"


@pytest.mark.parametrize(
    "value", ["server", "ftp://server", "http://server/path", "http://u@server", "http://"]
)
def test_an_origin_is_a_scheme_a_host_and_a_port(value: str) -> None:
    with pytest.raises(ConfigError, match="expected an origin, such as http://127"):
        table(f"upstream: {{url: http://server, url_origins: ['{value}']}}\nresponse: $.a")


@given(st.text(max_size=30), st.sampled_from(["", "http://", "http://evil:", "http://[", "http://evil/"]))
def test_any_url_of_an_upstream_has_an_origin_or_none(text: str, front: str) -> None:
    assert origin(front + text) != origin("https://server")


def test_a_call_to_a_url_of_the_file_carries_the_credential() -> None:
    rules = RULES.replace("{path: /threads, ", "{url: 'http://other/threads', ")
    [thread, _] = commands_before(leg_of(rules), fetched({"id": "t"}))
    assert request_lines([thread]) == ["POST http://other/threads"]
    assert thread.request.headers["Authorization"] == "Bearer k"


@pytest.mark.parametrize(
    "name", ["messages", "last", "history", "system", "stop", "max_tokens", "item", "now"]
)
def test_a_value_cannot_have_a_reserved_name(name: str) -> None:
    with pytest.raises(ConfigError, match="is a reserved name"):
        table(f"calls: {{a: {{path: /a, values: {{{name}: $.b}}}}}}\nresponse: $.a")
