"""An exchange on the bench: one route's rules as YAML, one request, and the server's answer, by plain calls.

    completed("response: $.answer", {"answer": "hi"}).said.text  ─▶  "hi"

`rules` are a route's keys without its model `m` and its upstream, which is http://server/api unless they
say another. A server's answer is JSON, or text or bytes as they are; `sse` and `lines` make streams.
"""

from __future__ import annotations

import json
from functools import cache
from textwrap import dedent, indent
from typing import TYPE_CHECKING, Any

from bridge.core import json as bridge_json
from bridge.exchange.dry_run import simulate
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import parse_request
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load
from tests.strict_client import read_completion, read_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.errors import BridgeError
    from bridge.routes.rules.route import Route
    from bridge.routes.table import RouteTable
    from tests.strict_client import Completion, CompletionStream

__all__ = [
    "ID",
    "NOW",
    "bytewise",
    "ndjson",
    "new_exchange",
    "pieces_of",
    "request",
    "request_bodies",
    "request_body",
    "route",
    "run_completion",
    "run_failure",
    "run_ndjson_stream",
    "run_stream",
    "sse",
    "table",
]  # fmt: skip

Body = dict[str, Any]

ID = "bench"
NOW = 1_763_600_000.0

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
PROMPT = {"model": "m", "prompt": "hi"}


@cache
def table(rules: str) -> RouteTable:
    """The table of one route."""
    rules = dedent(rules)
    upstream = "" if "upstream:" in rules else "upstream: http://server/api\n"
    text = "routes:\n  - models: [m]\n" + indent(upstream + rules, "    ")
    return load(text, "routes.yaml", LoadEnvironment({}, _no_file, {}))


def route(rules: str) -> Route:
    """The route of these rules."""
    return table(rules).routes[0]


def request(endpoint: str = "chat", **members: Any) -> Body:
    """A client's body: one user's `hi`, unless the members say otherwise."""
    return {**(HI if endpoint == "chat" else PROMPT), **members}


def new_exchange(
    rules: str,
    body: Body | None = None,
    *,
    endpoint: str = "chat",
    key: str | None = None,
    data: bytes | None = None,
) -> Exchange:
    """A fresh exchange. `key`: the client's Authorization; `data`: the body as bytes."""
    data = data or bridge_json.dumps(request(endpoint) if body is None else body)
    called = ENDPOINTS[endpoint]
    read = parse_request(called, data)
    return Exchange(RequestContext(route(rules), called, read, data, id=ID, now=NOW, authorization=key))


def request_bodies(exchange: Exchange) -> list[Any]:
    """The bodies of the requests, one a call."""
    return [json.loads(call.request().body or b"null") for call in exchange.calls]


def request_body(rules: str, body: Body | None = None, *, endpoint: str = "chat") -> Any:
    """The body of the one request."""
    [one] = request_bodies(new_exchange(rules, body, endpoint=endpoint))
    return one


def run_completion(
    rules: str, answer: Any, body: Body | None = None, *, endpoint: str = "chat", **options: Any
) -> Completion:
    """The client's whole answer, well ended."""
    exchange = new_exchange(rules, body, endpoint=endpoint)
    out = simulate(exchange, pieces_of(answer), **options)
    assert exchange.error is None, exchange.error
    assert not exchange.is_stream
    return read_completion(out)


def run_stream(
    rules: str, answer: Any, body: Body | None = None, *, endpoint: str = "chat", **options: Any
) -> CompletionStream:
    """The client's stream, to its end, be it an error."""
    exchange = new_exchange(rules, {**request(endpoint), **(body or {}), "stream": True}, endpoint=endpoint)
    out = simulate(exchange, pieces_of(answer), **options)
    assert exchange.error is None or exchange.started, exchange.error
    assert exchange.is_stream
    told = (body or {}).get("stream_options") or {}
    return read_stream(out, include_usage=bool(told.get("include_usage")))


def run_failure(
    rules: str, answer: Any, body: Body | None = None, *, key: str | None = None, **options: Any
) -> BridgeError:
    """The failure of an exchange before any output."""
    exchange = new_exchange(rules, body, key=key)
    assert simulate(exchange, pieces_of(answer), **options) == b""
    assert exchange.error is not None
    assert not exchange.started
    assert set(exchange.error.envelope["error"]) == {"message", "type", "param", "code"}
    return exchange.error


def pieces_of(answer: Any) -> list[bytes]:
    """An answer as the bytes that come: JSON in one piece, a stream in the pieces it was given in."""
    match answer:
        case bytes():
            return [answer]
        case str():
            return [answer.encode()]
        case [bytes(), *_]:
            return list(answer)
        case _:
            return [json.dumps(answer).encode()]


def sse(*events: Any) -> list[bytes]:
    """Events: text as it is, anything else as the JSON data of an event."""
    return [
        event.encode() if isinstance(event, str) else b"data: " + json.dumps(event).encode() + b"\n\n"
        for event in events
    ]


def ndjson(*values: Any) -> list[bytes]:
    """Newline-delimited JSON."""
    return [json.dumps(value).encode() + b"\n" for value in values]


def bytewise(pieces: Iterable[bytes]) -> list[bytes]:
    """The same bytes, each alone."""
    data = b"".join(pieces)
    return [data[at : at + 1] for at in range(len(data))]


def run_ndjson_stream(slots: str, *frames: Any, **members: Any) -> CompletionStream:
    """What a stream of newline-delimited JSON becomes; the same when it is cut, and when it is gathered."""
    rules = f"request: {{body: {{p: $.prompt}}}}\nresponse: false\nstream: {{framing: ndjson, {slots}}}"
    asked = {**members, "stream_options": {"include_usage": True}}
    whole = run_stream(rules, ndjson(*frames), asked)
    assert run_stream(rules, bytewise(ndjson(*frames)), asked) == whole
    gathered = run_completion(rules, ndjson(*frames), {**request(), **members})
    # A stream cannot take back what it said.
    assert whole.choice.finish_reason == "content_filter" or gathered.choice.text == whole.choice.text
    return whole


def _no_file(name: str) -> str:
    raise FileNotFoundError(name)
