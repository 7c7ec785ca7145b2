"""An exchange by plain calls: a route's rules as YAML, one request, and the upstream response.

    completed("response: $.answer", {"answer": "hi"}).said.text  ─▶  "hi"

`rules` are a route's keys without its model `m`. The upstream is http://server/api unless the rules name
another. A response is a JSON value, text or bytes; `sse` and `ndjson` make streams.
"""

from __future__ import annotations

import json
import re
from functools import cache
from textwrap import dedent, indent
from typing import TYPE_CHECKING, Any

from bridge.cli.merge_chunks import merge_chunks
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
    "comparable",
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

CONVERSATION = r"\$\.(messages|prompt|last|turns|history|system|raw)\b"
ID = "exchange"
NOW = 1_763_600_000.0

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
PROMPT = {"model": "m", "prompt": "hi"}


@cache
def table(rules: str) -> RouteTable:
    """Return a table with one route."""
    rules = dedent(rules)
    # Many rules here read one parameter. A URL that reads the conversation makes such rules valid.
    own = re.search(r"body:|keep: ", rules) and not re.search(f"session:|{CONVERSATION}", rules)
    read = "{{ (messages or input) and '' }}" if own else ""
    upstream = "" if "upstream:" in rules else f'upstream: "http://server/api{read}"\n'
    text = "routes:\n  - models: [m]\n" + indent(upstream + rules, "    ")
    return load(text, "routes.yaml", LoadEnvironment({}, _no_file, {}))


def route(rules: str) -> Route:
    """Return the route of these rules."""
    return table(rules).routes[0]


def request(endpoint: str = "chat", **members: Any) -> Body:
    """Return a client's body: the user message `hi`, updated with the members."""
    return {**(HI if endpoint == "chat" else PROMPT), **members}


def new_exchange(
    rules: str,
    body: Body | None = None,
    *,
    endpoint: str = "chat",
    key: str | None = None,
    data: bytes | None = None,
) -> Exchange:
    """Return a new exchange; `key` is the client's Authorization, `data` the encoded body."""
    data = data or bridge_json.dumps(request(endpoint) if body is None else body)
    spec = ENDPOINTS[endpoint]
    read = parse_request(spec, data)
    return Exchange(RequestContext(route(rules), spec, read, data, id=ID, now=NOW, authorization=key))


def request_bodies(exchange: Exchange) -> list[Any]:
    """Return the body of each upstream call."""
    return [json.loads(call.request().body or b"null") for call in exchange.calls]


def request_body(rules: str, body: Body | None = None, *, endpoint: str = "chat") -> Any:
    """Return the body of the only upstream call."""
    [body_sent] = request_bodies(new_exchange(rules, body, endpoint=endpoint))
    return body_sent


def run_completion(
    rules: str, response: Any, body: Body | None = None, *, endpoint: str = "chat", **options: Any
) -> Completion:
    """Return the completion for an upstream response, after asserting success."""
    exchange = new_exchange(rules, body, endpoint=endpoint)
    out = simulate(exchange, pieces_of(response), **options)
    assert exchange.error is None, exchange.error
    assert not exchange.is_stream
    return read_completion(out)


def run_stream(
    rules: str, response: Any, body: Body | None = None, *, endpoint: str = "chat", **options: Any
) -> CompletionStream:
    """Return the stream for an upstream response, which may end with an error."""
    exchange = new_exchange(rules, {**request(endpoint), **(body or {}), "stream": True}, endpoint=endpoint)
    out = simulate(exchange, pieces_of(response), **options)
    assert exchange.error is None or exchange.started, exchange.error
    assert exchange.is_stream
    options_sent = (body or {}).get("stream_options") or {}
    return read_stream(out, include_usage=bool(options_sent.get("include_usage")))


def run_failure(
    rules: str, response: Any, body: Body | None = None, *, key: str | None = None, **options: Any
) -> BridgeError:
    """Return the error for an upstream response, after asserting that there is no output."""
    exchange = new_exchange(rules, body, key=key)
    assert simulate(exchange, pieces_of(response), **options) == b""
    assert exchange.error is not None
    assert not exchange.started
    assert set(exchange.error.envelope["error"]) >= {"message", "type", "param", "code"}
    return exchange.error


def pieces_of(response: Any) -> list[bytes]:
    """Return a response in pieces: JSON in one piece, a stream in the given pieces."""
    match response:
        case bytes():
            return [response]
        case str():
            return [response.encode()]
        case [bytes(), *_]:
            return list(response)
        case _:
            return [json.dumps(response).encode()]


def sse(*events: Any) -> list[bytes]:
    """Return server-sent events: a text unchanged, any other value as the JSON data of an event."""
    return [
        event.encode() if isinstance(event, str) else b"data: " + json.dumps(event).encode() + b"\n\n"
        for event in events
    ]


def ndjson(*values: Any) -> list[bytes]:
    """Return lines of newline-delimited JSON."""
    return [json.dumps(value).encode() + b"\n" for value in values]


def comparable(exchange: Exchange, out: bytes) -> Any:
    """Return what must not depend on the cuts: the bytes, or the merged chunks if these follow the reads."""
    rule = exchange.route.response.streaming
    if exchange.is_stream and out and rule is not None and rule.framing.follows_reads:
        return merge_chunks(out)
    return out


def bytewise(pieces: Iterable[bytes]) -> list[bytes]:
    """Return the bytes of these pieces, one in each piece."""
    data = b"".join(pieces)
    return [data[at : at + 1] for at in range(len(data))]


def run_ndjson_stream(slots: str, *frames: Any, **members: Any) -> CompletionStream:
    """Return the stream for frames of newline-delimited JSON.

    Assert that the text is the same for bytes that arrive one by one, and for a non-streaming client.
    """
    rules = (
        f"request: {{body: {{p: $.prompt, n: $.n}}}}\nresponse: false\nstream: {{framing: ndjson, {slots}}}"
    )
    body = {**members, "stream_options": {"include_usage": True}}
    stream = run_stream(rules, ndjson(*frames), body)
    assert run_stream(rules, bytewise(ndjson(*frames)), body) == stream
    completion = run_completion(rules, ndjson(*frames), {**request(), **members})
    # A stream cannot replace text that was sent.
    assert stream.choice.finish_reason == "content_filter" or completion.choice.text == stream.choice.text
    return stream


def _no_file(name: str) -> str:
    raise FileNotFoundError(name)
