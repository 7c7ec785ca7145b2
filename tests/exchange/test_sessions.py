"""Sessions: the call that opens a session, its id in the request, and the call that closes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.errors import RequestError, UpstreamError, UpstreamFailure
from bridge.exchange.commands import SendRequest
from tests.exchange.callout_steps import (
    commands_after,
    commands_before,
    connection_lost,
    fetched,
    request_body,
    request_lines,
    respond,
)
from tests.exchange.single_exchange import new_exchange, request

if TYPE_CHECKING:
    from bridge.exchange.upstream_call import UpstreamCall

RULES = """
    upstream: http://server/v1/
    path: /v1/chat/answer
    headers: {X-Team: a}
    auth: {bearer: k}
    session:
      open:
        path: /chat/start
        body: {bot_type: $.model, settings: {system: $.system}}
        headers: {X-Open: "{{ model }}"}
        id: $.session
      close: {path: "/chat/end/{{ session }}", body: {session: $.session}, query: {s: "{{ session }}"}}
    request: {body: {session: $.session, ask: $.last}}
    response: $.answer
    error: {when: {$.code: {not: 0}}, message: $.msg, status: 503}
"""


def leg_of(rules: str = RULES, **members: Any) -> UpstreamCall:
    [call] = new_exchange(rules, request(**members)).calls
    return call


def body(call: UpstreamCall) -> Any:
    return json.loads(call.request().body or b"null")


def test_a_route_without_session_makes_no_calls() -> None:
    assert leg_of("response: $.a").callouts is None


def test_the_opening_call_reads_the_request() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    [opening] = commands_before(leg_of(messages=messages))
    assert request_lines([opening]) == ["POST http://server/v1/chat/start"]
    assert request_body(opening) == {"bot_type": "m", "settings": {"system": "Be brief."}}
    assert opening.begins


def test_session_calls_carry_credentials_and_headers_of_the_route() -> None:
    call = leg_of()
    [opening, _] = commands_before(call, fetched({"session": "s"}))
    [closing] = commands_after(call)
    assert isinstance(closing, SendRequest)
    for sent in (opening.request, call.request(), closing.request):
        assert (sent.headers["Authorization"], sent.headers["X-Team"]) == ("Bearer k", "a")
    assert opening.request.headers["X-Open"] == "m"


def test_the_session_id_is_a_member_of_the_request() -> None:
    call = leg_of()
    [_, answered] = commands_before(call, fetched({"code": 0, "session": {"a": 7}}))
    assert answered is False
    assert body(call) == {"session": {"a": 7}, "ask": "hi"}


def test_a_session_is_closed_once() -> None:
    call = leg_of()
    assert commands_after(call) == []  # nothing is open yet
    commands_before(call, fetched({"session": "s/1"}))
    closing = commands_after(call)
    assert request_lines(closing) == ["POST http://server/v1/chat/end/s%2F1?s=s%2F1"]
    assert request_body(closing[0]) == {"session": "s/1"}
    assert commands_after(call) == []


def test_a_call_without_a_body_is_a_get() -> None:
    rules = """
        session:
          open: {url: 'http://other/start', id: {header: x-session}}
          close: {url: 'http://other/end', method: DELETE}
        response: $.a
    """
    call = leg_of(rules)
    [opening, _] = commands_before(call, fetched({}, headers={"x-session": "h"}))
    assert (opening.request.method, opening.request.body) == ("GET", None)
    assert opening.request.urls == ("http://other/start",)
    [closing] = commands_after(call)
    assert (request_lines([closing]), request_body(closing)) == (["DELETE http://other/end"], None)


def test_each_call_has_its_own_session() -> None:
    exchange = new_exchange(RULES, request(n=2))
    for number, call in enumerate(exchange.calls):
        commands_before(call, fetched({"session": number}))
    assert [body(call)["session"] for call in exchange.calls] == [0, 1]
    assert [request_body(commands_after(call)[0])["session"] for call in exchange.calls] == [0, 1]


@pytest.mark.parametrize(
    ("status", "body_sent", "expected"),
    [
        (200, {"code": 9, "msg": "full"}, (503, UpstreamFailure.REFUSED, "full")),
        (500, {"code": 9, "msg": "full"}, (503, UpstreamFailure.REFUSED, "full")),
        (429, {"error": "slow down"}, (429, UpstreamFailure.REFUSED, "slow down")),
        (200, {"error": "no"}, (502, UpstreamFailure.REFUSED, "no")),
        (302, b"", (502, UpstreamFailure.REFUSED, None)),
        (200, {"code": 0, "session": None}, (502, UpstreamFailure.EMPTY, None)),
        (200, {}, (502, UpstreamFailure.EMPTY, None)),
        (200, b"no json", (502, UpstreamFailure.EMPTY, None)),
        (200, b"\xff\xfe", (502, UpstreamFailure.EMPTY, None)),
        (200, b"", (502, UpstreamFailure.EMPTY, None)),
        (200, b'{"session":' + b"[" * 5000 + b"]" * 5000 + b"}", (502, UpstreamFailure.EMPTY, None)),
    ],
)
def test_a_failed_opening_call_is_an_error(
    status: int, body_sent: Any, expected: tuple[int, UpstreamFailure, str | None]
) -> None:
    call = leg_of()
    with pytest.raises(UpstreamError) as raised:
        commands_before(call, fetched(body_sent, status))
    assert (raised.value.status, raised.value.kind) == expected[:2]
    assert expected[2] in (None, raised.value.message)
    assert commands_after(call) == []


def test_a_failed_connection_of_the_opening_call_is_an_error() -> None:
    call = leg_of()
    with pytest.raises(UpstreamError):
        commands_before(call, connection_lost(UpstreamFailure.CONNECT))
    assert commands_after(call) == []


def test_images_are_refused_before_a_session_is_opened() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    with pytest.raises(RequestError):
        leg_of(messages=[image])


@pytest.mark.parametrize("status", [200, 500])
def test_a_session_is_closed_after_any_response(status: int) -> None:
    exchange = new_exchange(RULES)
    [call] = exchange.calls
    commands_before(call, fetched({"session": "s"}))
    respond(exchange, {"code": 0, "answer": "ho"}, status=status)
    assert (exchange.error is None) is (status == 200)
    assert request_lines(commands_after(call)) == ["POST http://server/v1/chat/end/s?s=s"]


def test_a_client_cannot_set_the_session() -> None:
    call = leg_of(session="stolen")
    [opening] = commands_before(call)
    assert body(call) == {"ask": "hi"}
    assert commands_after(call) == []
    assert request_body(opening) == {"bot_type": "m", "settings": {}}


def test_a_session_is_not_opened_if_its_condition_is_false() -> None:
    rules = RULES.replace("path: /chat/start", "path: /chat/start\n        when: {$.user: {exists: false}}")
    call = leg_of(rules, user="u")
    assert commands_before(call) == [False]
    assert commands_after(call) == []


def test_parameters_in_session_calls_are_not_dropped() -> None:
    rules = """
        session:
          open: {path: /start, body: {heat: $.temperature}, id: $.s}
          close: {path: "/end/{{ user }}"}
        request: {body: {ask: $.last}}
        response: $.a
    """
    assert new_exchange(rules, request(temperature=0.5, user="u", top_p=0.9)).dropped == ("top_p",)
