"""`format-bridge explain` and `format-bridge routes`: the effect of a file, without an upstream."""

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

# Headers that carry a key even if the file declares them under `headers`, not under `auth`.
_KEY_HEADERS = {"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key", "x-goog-api-key"}


def explain(arguments: argparse.Namespace) -> int:
    """Print what a request becomes, and return the exit code. Raises ConfigError."""
    table = load_routes(arguments.file)
    endpoint = ENDPOINTS[arguments.endpoint]
    try:
        data = _request_data(arguments)
        body = parse_request(endpoint, data)
        route, name = table.find(body["model"], endpoint)
        exchange = Exchange(RequestContext(route, endpoint, body, data, id="explained", now=0.0))
        _print_route(route, name, exchange)
        for number, call in enumerate(exchange.calls):
            fill_placeholders(call)
            _print_calls(call, "" if len(exchange.calls) == 1 else f", call {number + 1}")
        _print_reading(route, exchange)
        if arguments.receives:
            _print_response(exchange, Path(arguments.receives).read_bytes())
    except BridgeError as error:
        print(f"refused with {error.status}:\n{json.pretty(error.envelope)}")
        return 1
    return 0


def list_routes(arguments: argparse.Namespace) -> int:
    """Print one line for each route, and return the exit code. Raises ConfigError."""
    table = load_routes(arguments.file)
    rows = [
        (
            route.name,
            ", ".join(route.models),
            route.mask(route.transport.url or ", ".join(each.url for each in route.transport.replicas)),
            ", ".join(sorted(route.serves)),
            _response_kinds(route),
        )
        for route in table.routes
    ]
    rows.insert(0, ("NAME", "MODELS", "UPSTREAM", "SERVES", "RESPONSES"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _response_kinds(route: Route) -> str:
    response = route.response
    kinds = (("non-streaming", response.non_streaming), ("streaming", response.streaming))
    return ", ".join(kind for kind, rule in kinds if rule is not None)


def _request_data(arguments: argparse.Namespace) -> bytes:
    """Return the client's body: a file, standard input, or an example of the endpoint."""
    if arguments.request is None:
        return json.dumps({"model": arguments.model, **ENDPOINTS[arguments.endpoint].example})
    data = sys.stdin.buffer.read() if arguments.request == "-" else Path(arguments.request).read_bytes()
    name = "standard input" if arguments.request == "-" else arguments.request
    try:
        body = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    # --model replaces the model of the file.
    return json.dumps({**body, "model": arguments.model}) if isinstance(body, dict) else data


def _print_route(route: Route, name: str, exchange: Exchange) -> None:
    print(f"route    {route.name} (by `{name}`)")
    upstream_streams = exchange.calls[0].plan.stream_rule is not None
    if upstream_streams is not exchange.is_stream:
        print("         the client requests a stream, the upstream does not stream" if exchange.is_stream
              else "         the client does not request a stream, the upstream streams")  # fmt: skip


def _print_calls(call: UpstreamCall, number: str) -> None:
    """Print the requests of one upstream call, callouts included, in the order in which they are sent."""
    route = call.builder.route
    session = route.callouts.session
    before = [("opens a session", session.open if session else None)]
    before += [(f"calls ({callout.name})", callout) for callout in route.callouts.calls]
    _print_callouts(call, before)
    if route.callouts.sends_request:
        _print_request(f"sends{number}", call.request(), route)
    after = [
        ("polls until the response is complete", route.callouts.poll),
        ("cancels, if the response is no longer required", route.callouts.cancel),
        ("closes the session", session.close if session else None),
    ]
    _print_callouts(call, after)


def _print_callouts(call: UpstreamCall, titled: list[tuple[str, Callout | None]]) -> None:
    for title, callout in titled:
        if callout is None or (callout.when and not callout.when.holds(Scope(call.builder.document))):
            continue
        try:
            _print_request(title, call.builder.build_callout(callout), call.builder.route)
        except UpstreamError:
            print(f"{title}\n  {callout.template.method} the URL that a response names")


def _print_request(title: str, request: UpstreamRequest, route: Route) -> None:
    method = request.method if request.websocket_limit is None else "a message to"
    print(f"{title}\n  {method} {route.mask(request.urls[0])}")
    for replica in request.urls[1:]:
        print(f"  or at {route.mask(replica)}")
    credentials = {name.lower() for name in route.request.non_streaming.credential_headers}
    for name, value in request.headers.items():
        is_key = name.lower() in _KEY_HEADERS | credentials
        print(f"  {name}: {'***' if is_key else route.mask(value)}")
    for credential in request.auth.masked if request.auth else ():
        print(f"  {credential}  (made when the request is sent)")
    if request.body is not None:
        text = json.pretty(json.loads(request.body))
        print("  " + route.mask(text).replace("\n", "\n  "))


def _print_reading(route: Route, exchange: Exchange) -> None:
    """Print the paths of the slots, and the parameters that are dropped."""
    stream = exchange.calls[0].plan.stream_rule
    print(f"reads    {'a stream, ' + stream.framing.name if stream else 'a non-streaming response'}")
    slots = stream.slots if stream else route.response.non_streaming
    for name, paths in slots.sources(exchange.endpoint.slots) if slots else []:
        if paths:
            print(f"  {name.ljust(18)} {paths}")
    print(f"drops    {', '.join(exchange.dropped) or 'nothing'}")


def _print_response(exchange: Exchange, received: bytes) -> None:
    """Print the client's response to a response of the upstream."""
    out = simulate(exchange, [encode_sample(exchange, received)])
    if exchange.error is not None and not exchange.started:
        print(f"answers  {exchange.error.status}\n{json.pretty(exchange.error.envelope)}")
    elif exchange.is_stream:
        print(f"answers  a stream\n{out.decode()}", end="")
    else:
        print(f"answers\n{json.pretty(json.loads(out))}")
