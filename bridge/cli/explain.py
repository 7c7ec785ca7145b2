"""`bridge explain` and `bridge routes`: what a file does, without a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge import json
from bridge.errors import BridgeError
from bridge.exchange.exchange import Exchange
from bridge.exchange.rehearsal import rehearse
from bridge.loading import load_file
from bridge.openai.endpoints import CHAT, ENDPOINTS
from bridge.openai.requests import read_request

if TYPE_CHECKING:
    import argparse

    from bridge.routes.answers import AnswerRule
    from bridge.routes.route import Route, UpstreamRequest

__all__ = ["explain", "list_routes"]

_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key", "x-goog-api-key"}


def explain(called: argparse.Namespace) -> int:
    """Print the route, its request, what it reads and drops, and the answer. Raises ConfigError."""
    table = load_file(called.file)
    endpoint = ENDPOINTS[called.endpoint]
    try:
        data = _request_data(called)
        body = read_request(endpoint, data)
        route, name = table.find(body["model"], endpoint)
        exchange = Exchange(route, endpoint, body, data, id="explained", now=0.0)
        _print_route(route, name, exchange)
        for number, leg in enumerate(exchange.legs):
            if (opening := leg.opening()) is not None:
                _print_request("opens a session", opening, route)
                leg.asking.document["session"] = "SESSION"
            _print_request(
                "sends" if len(exchange.legs) == 1 else f"sends, call {number + 1}", leg.request(), route
            )
        _print_reading(route, exchange)
        if called.receives:
            _print_answer(exchange, Path(called.receives).read_bytes())
    except BridgeError as error:
        print(f"refused with {error.status}:\n{json.pretty(error.envelope)}")
        return 1
    return 0


def list_routes(called: argparse.Namespace) -> int:
    """Print a line for each route. Raises ConfigError."""
    table = load_file(called.file)
    rows = [
        (
            route.name,
            ", ".join(route.models),
            route.masked(route.transport.url or ", ".join(route.transport.replicas)),
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
    ways = [word for word, rule in (("whole", route.whole), ("streamed", route.stream)) if rule is not None]
    return " and ".join(ways)


def _request_data(called: argparse.Namespace) -> bytes:
    if called.request is None:
        said: dict[str, Any] = (
            {"messages": [{"role": "user", "content": "Hello!"}]}
            if ENDPOINTS[called.endpoint] is CHAT
            else {"prompt": "Hello!"}
        )
        return json.dumps({"model": called.model, **said})
    data = sys.stdin.buffer.read() if called.request == "-" else Path(called.request).read_bytes()
    body = json.loads(data)
    # The flag names the model, whatever the example was written for.
    return json.dumps({**body, "model": called.model}) if isinstance(body, dict) else data


def _print_route(route: Route, name: str, exchange: Exchange) -> None:
    print(f"route    {route.name} (by `{name}`)")
    streams = exchange.legs[0].asking.stream
    if streams is not exchange.streams:
        print("         the client wants a stream, the server answers whole" if exchange.streams
              else "         the client wants a whole answer, the server streams")  # fmt: skip


def _print_request(title: str, request: UpstreamRequest, route: Route) -> None:
    print(f"{title}\n  {request.method} {route.masked(request.urls[0])}")
    for other in request.urls[1:]:
        print(f"  or at {route.masked(other)}")
    for name, value in request.headers.items():
        print(f"  {name}: {'***' if name.lower() in _SECRET_HEADERS else route.masked(value)}")
    if request.body is not None:
        text = json.pretty(json.loads(request.body))
        print("  " + route.masked(text).replace("\n", "\n  "))


def _print_reading(route: Route, exchange: Exchange) -> None:
    stream = exchange.legs[0].expected.stream
    print(f"reads    {'a stream, ' + stream.framing if stream else 'a whole answer'}")
    rule = stream.answer if stream else route.whole
    for name, where in _slots(rule) if rule else []:
        print(f"  {name.ljust(18)} {where}")
    print(f"drops    {', '.join(exchange.dropped) or 'nothing'}")


def _slots(rule: AnswerRule) -> list[tuple[str, str]]:
    found = [
        ("choices", rule.choices.text if rule.choices else ""),
        ("text", str(rule.text.slot) if rule.text else ""),
        ("reasoning", str(rule.reasoning.slot) if rule.reasoning else ""),
        ("finish_reason", str(rule.finish_reason.slot) if rule.finish_reason else ""),
        ("tool_calls", str(rule.tool_calls or "")),
        *((name, str(part.slot)) for name, part in rule.usage),
    ]
    return [(name, where) for name, where in found if where]


def _print_answer(exchange: Exchange, received: bytes) -> None:
    out = rehearse(exchange, [received])
    if exchange.error is not None and not exchange.started:
        print(f"answers  {exchange.error.status}\n{json.pretty(exchange.error.envelope)}")
    elif exchange.streams:
        print(f"answers  a stream\n{out.decode()}", end="")
    else:
        print(f"answers\n{json.pretty(json.loads(out))}")
