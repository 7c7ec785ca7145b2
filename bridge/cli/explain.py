"""`format-bridge explain` and `format-bridge routes`: what a file does, without a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.core import json
from bridge.core.errors import BridgeError, UpstreamError
from bridge.exchange.dry_run import encode_sample, fill_placeholders, simulate
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.expressions.scope import Scope
from bridge.loader import load_routes
from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import parse_request

if TYPE_CHECKING:
    import argparse

    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.request_template import Callout, UpstreamRequest
    from bridge.routes.rules.route import Route

__all__ = ["explain", "list_routes"]

_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key", "x-goog-api-key"}


def explain(called: argparse.Namespace) -> int:
    """Print the route, its request, what it reads and drops, and the answer. Raises ConfigError."""
    table = load_routes(called.file)
    endpoint = ENDPOINTS[called.endpoint]
    try:
        data = _request_data(called)
        body = parse_request(endpoint, data)
        route, name = table.find(body["model"], endpoint)
        exchange = Exchange(RequestContext(route, endpoint, body, data, id="explained", now=0.0))
        _print_route(route, name, exchange)
        for number, call in enumerate(exchange.calls):
            fill_placeholders(call)
            first = "" if len(exchange.calls) == 1 else f", call {number + 1}"
            _print_calls(call, first)
        _print_reading(route, exchange)
        if called.receives:
            _print_answer(exchange, Path(called.receives).read_bytes())
    except BridgeError as error:
        print(f"refused with {error.status}:\n{json.pretty(error.envelope)}")
        return 1
    return 0


def list_routes(called: argparse.Namespace) -> int:
    """Print a line for each route. Raises ConfigError."""
    table = load_routes(called.file)
    rows = [
        (
            route.name,
            ", ".join(route.models),
            route.mask(route.transport.url or ", ".join(route.transport.replicas)),
            ", ".join(sorted(route.serves)),
            _ways(route),
        )
        for route in table.routes
    ]
    rows.insert(0, ("NAME", "MODELS", "UPSTREAM", "SERVES", "ANSWERS"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _ways(route: Route) -> str:
    ways = [
        word
        for word, rule in (("whole", route.response.non_streaming), ("streamed", route.response.streaming))
        if rule is not None
    ]
    return " and ".join(ways)


def _request_data(called: argparse.Namespace) -> bytes:
    if called.request is None:
        return json.dumps({"model": called.model, **ENDPOINTS[called.endpoint].example})
    data = sys.stdin.buffer.read() if called.request == "-" else Path(called.request).read_bytes()
    body = json.loads(data)
    # The flag names the model, whatever the example was written for.
    return json.dumps({**body, "model": called.model}) if isinstance(body, dict) else data


def _print_route(route: Route, name: str, exchange: Exchange) -> None:
    print(f"route    {route.name} (by `{name}`)")
    streams = exchange.calls[0].plan.stream_rule is not None
    if streams is not exchange.is_stream:
        print("         the client wants a stream, the server answers whole" if exchange.is_stream
              else "         the client wants a whole answer, the server streams")  # fmt: skip


def _print_calls(call: UpstreamCall, number: str) -> None:
    """The requests around one answer and its own, in the order in which they are sent."""
    route = call.builder.route
    session = route.callouts.session
    titles = [("opens a session", session.open if session else None)]
    titles += [(f"calls, as {callout.name} says", callout) for callout in route.callouts.calls]
    _print_each(call, titles)
    if route.callouts.sends_request:
        _print_request(f"sends{number}", call.request(), route)
    rest = [
        ("asks for the answer until it is there", route.callouts.poll),
        ("cancels, if nobody waits", route.callouts.cancel),
    ]
    _print_each(call, [*rest, ("closes the session", session.close if session else None)])


def _print_each(call: UpstreamCall, titles: list[tuple[str, Callout | None]]) -> None:
    for title, callout in titles:
        if callout is None or (callout.when and not callout.when.holds(Scope(call.builder.document))):
            continue
        try:
            _print_request(title, call.builder.build_callout(callout), call.builder.route)
        except UpstreamError:
            print(f"{title}\n  {callout.template.method} the URL that an answer names")


def _print_request(title: str, request: UpstreamRequest, route: Route) -> None:
    method = request.method if request.websocket_limit is None else "a message to"
    print(f"{title}\n  {method} {route.mask(request.urls[0])}")
    for other in request.urls[1:]:
        print(f"  or at {route.mask(other)}")
    for name, value in request.headers.items():
        print(f"  {name}: {'***' if name.lower() in _SECRET_HEADERS else route.mask(value)}")
    for shown in request.auth.masked if request.auth else ():
        print(f"  {shown}  (made when it is sent)")
    if request.body is not None:
        text = json.pretty(json.loads(request.body))
        print("  " + route.mask(text).replace("\n", "\n  "))


def _print_reading(route: Route, exchange: Exchange) -> None:
    stream = exchange.calls[0].plan.stream_rule
    print(f"reads    {'a stream, ' + stream.framing.name if stream else 'a whole answer'}")
    rule = stream.slots if stream else route.response.non_streaming
    for name, where in rule.sources(exchange.endpoint.slots) if rule else []:
        if where:
            print(f"  {name.ljust(18)} {where}")
    print(f"drops    {', '.join(exchange.dropped) or 'nothing'}")


def _print_answer(exchange: Exchange, received: bytes) -> None:
    out = simulate(exchange, [encode_sample(exchange, received)])
    if exchange.error is not None and not exchange.started:
        print(f"answers  {exchange.error.status}\n{json.pretty(exchange.error.envelope)}")
    elif exchange.is_stream:
        print(f"answers  a stream\n{out.decode()}", end="")
    else:
        print(f"answers\n{json.pretty(json.loads(out))}")
