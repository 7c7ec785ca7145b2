"""The calls around an answer, step by step, by plain calls.

    before(call, heard({"id": 7}), lost())  ─▶  [Send(…), Send(…), …]    each after what came of the last
    after(call)                             ─▶  [Send(…)]

The last of `before` is what it ends with, if it came so far: whether the answer was taken on the way.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bridge.core.errors import BridgeError, UpstreamError, UpstreamFailure
from bridge.exchange.commands import Command, DeliverResponse, FetchedResponse, ReleaseSession, SendRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.exchange.exchange import Exchange
    from bridge.exchange.upstream_call import UpstreamCall

__all__ = [
    "commands_after",
    "commands_before",
    "connection_lost",
    "deliver",
    "fetched",
    "request_bodies",
    "request_body",
    "request_lines",
    "respond",
]


def fetched(
    answer: Any = None, status: int = 200, *, at: float = 0.0, headers: Mapping[str, str] | None = None
) -> FetchedResponse:
    """The answer of a call: bytes as they are, anything else as JSON."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return FetchedResponse(status, headers or {}, body, at)


def connection_lost(kind: UpstreamFailure = UpstreamFailure.DISCONNECT) -> UpstreamError:
    """A call without an answer."""
    return UpstreamError(kind, "gone")


def commands_before(call: UpstreamCall, *came: Any) -> list[Any]:
    """The steps ahead of an answer, as far as what came of each leads. Raises what they raise."""
    assert call.callouts is not None
    steps = call.callouts.before()
    return [*_walked(steps, iter(came))]


def _walked(steps: Any, came: Iterator[Any]) -> Iterator[Command | bool]:
    try:
        yield next(steps)
        for one in came:
            yield steps.throw(one) if isinstance(one, BridgeError) else steps.send(one)
    except StopIteration as stop:
        yield stop.value


def commands_after(call: UpstreamCall) -> list[SendRequest | ReleaseSession]:
    """What follows the answer."""
    assert call.callouts is not None
    return list(call.callouts.after())


def respond(exchange: Exchange, answer: Any, *, status: int = 200) -> bytes:
    """What the client gets when the one call's request is answered so."""
    [call] = exchange.calls
    exchange.start(call, status, {})
    out = exchange.feed(call, answer if isinstance(answer, bytes) else json.dumps(answer).encode())
    return out + exchange.close(call)


def deliver(exchange: Exchange, steps: list[Any]) -> bytes:
    """What the client gets of the answers that these steps take."""
    [call] = exchange.calls
    out = b""
    for step in steps:
        if isinstance(step, DeliverResponse):
            if not call.decoder.started:
                exchange.start(call, step.heard.status, step.heard.headers)
            out += exchange.feed(call, step.heard.body)
    return out + (exchange.close(call) if steps[-1:] == [True] else b"")


def request_body(step: Any) -> Any:
    """The JSON that a step sends; None for no body."""
    return None if step.request.body is None else json.loads(step.request.body)


def request_bodies(steps: list[Any]) -> list[Any]:
    """The bodies of all that is sent."""
    return [request_body(step) for step in steps if isinstance(step, SendRequest)]


def request_lines(steps: list[Any]) -> list[str]:
    """Method and URL of all that is sent."""
    sent = [step.request for step in steps if isinstance(step, SendRequest)]
    return [f"{request.method} {request.urls[0]}" for request in sent]
