"""Callouts of an upstream call, command by command, by plain calls.

    commands_before(call, fetched({"id": 7}), connection_lost())  ─▶  [SendRequest(…), …]
    commands_after(call)                                           ─▶  [SendRequest(…)]

The results are sent to the callouts in order, each after a command. The last item of `commands_before` is the
return value, if the callouts have ended: whether the response was already delivered.
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
    response: Any = None, status: int = 200, *, at: float = 0.0, headers: Mapping[str, str] | None = None
) -> FetchedResponse:
    """Return the response of a callout: bytes unchanged, any other value as JSON."""
    body = response if isinstance(response, bytes) else json.dumps(response).encode()
    return FetchedResponse(status, headers or {}, body, at)


def connection_lost(kind: UpstreamFailure = UpstreamFailure.DISCONNECT) -> UpstreamError:
    """Return the error of a callout without a response."""
    return UpstreamError(kind, "gone")


def commands_before(call: UpstreamCall, *results: Any) -> list[Any]:
    """Return the commands before a response, as far as these results lead; raise the callouts' error."""
    assert call.callouts is not None
    steps = call.callouts.before()
    return [*_commands(steps, iter(results))]


def _commands(steps: Any, results: Iterator[Any]) -> Iterator[Command | bool]:
    try:
        yield next(steps)
        for result in results:
            yield steps.throw(result) if isinstance(result, BridgeError) else steps.send(result)
    except StopIteration as stop:
        yield stop.value


def commands_after(call: UpstreamCall) -> list[SendRequest | ReleaseSession]:
    """Return the commands after a response."""
    assert call.callouts is not None
    return list(call.callouts.after())


def respond(exchange: Exchange, response: Any, *, status: int = 200) -> bytes:
    """Return the output if the only upstream call gets this response."""
    [call] = exchange.calls
    exchange.start(call, status, {})
    out = exchange.feed(call, response if isinstance(response, bytes) else json.dumps(response).encode())
    return out + exchange.close(call)


def deliver(exchange: Exchange, steps: list[Any]) -> bytes:
    """Return the output for the responses that these commands deliver."""
    [call] = exchange.calls
    out = b""
    for step in steps:
        if isinstance(step, DeliverResponse):
            if not call.decoder.started:
                exchange.start(call, step.response.status, step.response.headers)
            out += exchange.feed(call, step.response.body)
    return out + (exchange.close(call) if steps[-1:] == [True] else b"")


def request_body(step: Any) -> Any:
    """Return the JSON body of a command, None without a body."""
    return None if step.request.body is None else json.loads(step.request.body)


def request_bodies(steps: list[Any]) -> list[Any]:
    """Return the bodies of all requests."""
    return [request_body(step) for step in steps if isinstance(step, SendRequest)]


def request_lines(steps: list[Any]) -> list[str]:
    """Return method and URL of all requests."""
    sent = [step.request for step in steps if isinstance(step, SendRequest)]
    return [f"{request.method} {request.urls[0]}" for request in sent]
