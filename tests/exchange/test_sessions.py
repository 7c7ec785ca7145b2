"""Sessions: a call that opens one, a value of it in the request, and a call that closes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bridge.errors import RequestError, UpstreamError
from tests.exchange.bench import ask, request

if TYPE_CHECKING:
    from bridge.exchange.legs import Leg

RULES = """
    upstream: http://server/v1/
    path: /v1/chat/answer
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


def leg_of(rules: str = RULES, **members: Any) -> Leg:
    [leg] = ask(rules, request(**members)).legs
    return leg


def body_of(made: Any) -> Any:
    return json.loads(made.body)


def test_a_route_without_one_makes_no_calls() -> None:
    leg = leg_of("response: $.a")
    assert leg.opening() is None
    assert leg.closing() is None


def test_the_call_that_opens_it_reads_the_request() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    opening = leg_of(messages=messages).opening()
    assert opening is not None
    assert (opening.method, opening.urls) == ("POST", ("http://server/v1/chat/start",))
    assert body_of(opening) == {"bot_type": "m", "settings": {"system": "Be brief."}}
    assert opening.headers["X-Open"] == "m"


def test_its_id_is_a_member_of_the_request() -> None:
    leg = leg_of()
    leg.opened(200, {}, b'{"code": 0, "session": {"a": 7}}')
    assert body_of(leg.request()) == {"session": {"a": 7}, "ask": "hi"}


def test_it_is_closed_once() -> None:
    leg = leg_of()
    assert leg.closing() is None  # nothing is open yet
    leg.opened(200, {}, b'{"session": "s/1"}')
    closing = leg.closing()
    assert closing is not None
    assert closing.urls == ("http://server/v1/chat/end/s%2F1?s=s%2F1",)
    assert body_of(closing) == {"session": "s/1"}
    assert leg.closing() is None


def test_a_call_without_a_body_is_a_get() -> None:
    rules = """
        session: {open: {url: 'http://other/start', id: {header: x-session}}, close: {url: 'http://other/end', method: POST}}
        response: $.a
    """  # noqa: E501
    leg = leg_of(rules)
    opening = leg.opening()
    assert opening is not None
    assert (opening.method, opening.body, opening.urls) == ("GET", None, ("http://other/start",))
    leg.opened(200, {"x-session": "h"}, b"")
    closing = leg.closing()
    assert closing is not None
    assert (closing.method, closing.body) == ("POST", None)


def test_a_session_of_each_call() -> None:
    exchange = ask(RULES, request(n=2))
    for number, leg in enumerate(exchange.legs):
        leg.opened(200, {}, b'{"session": %d}' % number)
    assert [body_of(leg.request())["session"] for leg in exchange.legs] == [0, 1]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"code": 9, "msg": "full"}', (503, "full")),
        (500, b'{"code": 9, "msg": "full"}', (503, "full")),
        (429, b'{"error": "slow down"}', (429, "slow down")),
        (200, b'{"error": "no"}', (502, "no")),
        (302, b"", (502, None)),
        (200, b'{"code": 0, "session": null}', (502, None)),
        (200, b"{}", (502, None)),
        (200, b"no json", (502, None)),
        (200, b"\xff\xfe", (502, None)),
    ],
)
def test_failures_of_the_opening_are_failures(
    status: int, body: bytes, expected: tuple[int, str | None]
) -> None:
    leg = leg_of()
    with pytest.raises(UpstreamError) as raised:
        leg.opened(status, {}, body)
    assert raised.value.status == expected[0]
    assert expected[1] in (None, raised.value.message)
    assert leg.closing() is None


def test_images_are_refused_before_anything_is_opened() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    with pytest.raises(RequestError):
        leg_of(messages=[image])


def test_the_session_is_closed_after_a_failure_too() -> None:
    exchange = ask(RULES)
    [leg] = exchange.legs
    leg.opened(200, {}, b'{"session": "s"}')
    exchange.start(leg, 500, {})
    exchange.close(leg)
    assert exchange.error is not None
    assert leg.closing() is not None
