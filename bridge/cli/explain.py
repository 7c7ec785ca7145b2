"""`format-bridge explain` and `format-bridge routes`: the effect of a file, without an upstream."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli.exchange_report import print_answer, print_calls, print_curl, print_reading, print_route
from bridge.core import json
from bridge.core.errors import BridgeError
from bridge.exchange.dry_run import encode_sample, simulate
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.loader import load_routes
from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import parse_request

if TYPE_CHECKING:
    import argparse

    from bridge.routes.rules.route import Route

__all__ = ["explain", "list_routes"]

_OK = 200


def explain(arguments: argparse.Namespace) -> int:
    """Print what a request becomes, and return the exit code. Raises ConfigError."""
    table = load_routes(arguments.file)
    endpoint = ENDPOINTS[arguments.endpoint]
    try:
        data = _request_data(arguments)
        body = parse_request(endpoint, data)
        route, name = table.find(body["model"], endpoint)
        exchange = Exchange(RequestContext(route, endpoint, body, data, id="explained", now=0.0))
        if arguments.curl:
            for call in exchange.calls:
                print_curl(call)
            return 0
        print_route(route, name, exchange)
        for number, call in enumerate(exchange.calls):
            print_calls(call, "" if len(exchange.calls) == 1 else f", call {number + 1}")
        print_reading(route, exchange)
        _print_response(exchange, arguments)
    except BridgeError as error:
        print(f"refused with {error.status}:\n{json.pretty(error.envelope)}")
        return 1
    return 0


def _print_response(exchange: Exchange, arguments: argparse.Namespace) -> None:
    """Print the client's response to a response of the upstream, if its body or its status is given."""
    if not arguments.receives and arguments.status == _OK:
        return
    received = Path(arguments.receives).read_bytes() if arguments.receives else b""
    out = simulate(exchange, [encode_sample(exchange, received)], status=arguments.status)
    print_answer(exchange, out)


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
    members = {"model": arguments.model} | ({"stream": True} if arguments.stream else {})
    if arguments.request is None:
        return json.dumps({**members, **ENDPOINTS[arguments.endpoint].example})
    data = sys.stdin.buffer.read() if arguments.request == "-" else Path(arguments.request).read_bytes()
    name = "standard input" if arguments.request == "-" else arguments.request
    try:
        body = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    # --model replaces the model of the file.
    return json.dumps({**body, **members}) if isinstance(body, dict) else data
