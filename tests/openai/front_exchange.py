"""Exchanges of the APIs that are translated to chats: Responses and Messages.

chat_body("responses", {"input": "hi"})               the body that goes upstream
completed("responses", RULES, body, upstream)         the response
events("messages", RULES, body, pieces)               the events of a stream
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import parse_request
from tests.exchange.single_exchange import ID, NOW, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.errors import BridgeError

__all__ = ["chat_body", "completed", "events", "exchange", "failed"]

Body = dict[str, Any]


def exchange(endpoint: str, rules: str, body: Body) -> Exchange:
    """Return an exchange for a request, whose model is `m`."""
    spec = ENDPOINTS[endpoint]
    data = json.dumps({"model": "m", **body}).encode()
    route, _ = table(rules).find("m", spec)
    return Exchange(RequestContext(route, spec, parse_request(spec, data), data, id=ID, now=NOW))


def chat_body(endpoint: str, body: Body) -> Body:
    """Return the body that an upstream of OpenAI's format receives."""
    (call,) = exchange(endpoint, "", body).calls
    sent = call.request().body
    assert isinstance(sent, bytes)
    received: Body = json.loads(sent)
    return received


def completed(endpoint: str, rules: str, body: Body, upstream: Any) -> Body:
    """Return the response for an upstream response."""
    made = exchange(endpoint, rules, body)
    (call,) = made.calls
    made.start(call, 200, {})
    data = upstream if isinstance(upstream, bytes) else json.dumps(upstream).encode()
    out = made.feed(call, data) + made.close(call)
    assert made.error is None, made.error
    response: Body = json.loads(out)
    return response


def events(endpoint: str, rules: str, body: Body, pieces: Iterable[bytes]) -> list[Body]:
    """Return the events of a stream, each with its name checked."""
    made = exchange(endpoint, rules, {**body, "stream": True})
    (call,) = made.calls
    made.start(call, 200, {"content-type": "text/event-stream"})
    out = b"".join([made.feed(call, piece) for piece in pieces]) + made.close(call)
    return read_events(out)


def failed(endpoint: str, rules: str, body: Body, pieces: Iterable[bytes], error: BridgeError) -> list[Body]:
    """Return the events of a stream that the bridge ends with an error."""
    made = exchange(endpoint, rules, {**body, "stream": True})
    (call,) = made.calls
    made.start(call, 200, {"content-type": "text/event-stream"})
    return read_events(b"".join([made.feed(call, piece) for piece in pieces]) + made.abort(error))


def read_events(data: bytes) -> list[Body]:
    """Return the data of events, after a check that each event is named by its type."""
    received = []
    for event in data.decode().split("\n\n")[:-1]:
        name, _, text = event.partition("\n")
        members = json.loads(text.removeprefix("data: "))
        assert name == f"event: {members['type']}"
        received.append(members)
    return received
