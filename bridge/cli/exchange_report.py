"""The reports of `explain` and `try` on an exchange: requests with masked secrets, rules, and responses."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from bridge.core import json
from bridge.core.errors import UpstreamError
from bridge.exchange.dry_run import fill_placeholders
from bridge.expressions.extractors import Extractor
from bridge.expressions.scope import Scope
from bridge.routes.rules.body_rules import TemplateBody

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.exchange.exchange import Exchange
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.request_template import Callout, UpstreamRequest
    from bridge.routes.rules.response_rules import ResponseSlots, StreamRule
    from bridge.routes.rules.route import Route

__all__ = [
    "print_answer",
    "print_calls",
    "print_curl",
    "print_reading",
    "print_request",
    "print_route",
    "slots_of",
]

# Headers that carry a key even if the file declares them under `headers`, not under `auth`.
_KEY_HEADERS = {"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key", "x-goog-api-key"}
_SCHEME = re.compile(r"(Bearer|Basic|Token) ", re.IGNORECASE)
_WIDTH = 18  # characters of a name in a list


def print_route(route: Route, name: str, exchange: Exchange) -> None:
    """Print which route serves a request, by the name or pattern `name`."""
    print(f"route    {route.name} (by `{name}`)")
    upstream_streams = exchange.calls[0].plan.stream_rule is not None
    if upstream_streams is not exchange.is_stream:
        print("         the client requests a stream, the upstream does not stream" if exchange.is_stream
              else "         the client does not request a stream, the upstream streams")  # fmt: skip


def print_calls(call: UpstreamCall, number: str) -> None:
    """Print the requests of one upstream call, callouts included, in the order in which they are sent."""
    for title, request in _requests(call, number):
        if isinstance(request, str):
            print(f"{title}\n  {request}")
        else:
            print_request(title, request, call.builder.route)


def print_curl(call: UpstreamCall) -> None:
    """Print the requests of one upstream call as commands of curl."""
    route = call.builder.route
    for _, request in _requests(call, ""):
        if isinstance(request, str):
            print(f"# {request}")
            continue
        parts = ["curl", "-N", "-X", request.method, shlex.quote(route.mask_values(request.urls[0]))]
        parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in _headers(request, route)]
        if request.body is not None:
            parts.append(f"-d {shlex.quote(route.mask_values(request.body.decode()))}")
        print(" ".join(parts[:5]) + "".join(f" \\\n  {part}" for part in parts[5:]))


def _requests(call: UpstreamCall, number: str) -> Iterator[tuple[str, UpstreamRequest | str]]:
    """Yield every request with a title; a text for a request whose URL a response names."""
    fill_placeholders(call)
    callouts = call.builder.route.callouts
    session = callouts.session
    yield from _callout("opens a session", session.open if session else None, call)
    for each in callouts.calls:
        yield from _callout(f"calls ({each.name})", each, call)
    if callouts.sends_request:
        yield f"sends{number}", call.request()
    yield from _callout("polls until the response is complete", callouts.poll, call)
    yield from _callout("cancels, if the response is no longer required", callouts.cancel, call)
    yield from _callout("closes the session", session.close if session else None, call)


def _callout(
    title: str, callout: Callout | None, call: UpstreamCall
) -> Iterator[tuple[str, UpstreamRequest | str]]:
    if callout is None or (callout.when and not callout.when.holds(Scope(call.builder.document))):
        return
    try:
        yield title, call.builder.build_callout(callout)
    except UpstreamError:
        yield title, f"{callout.template.method} the URL that a response names"


def print_request(title: str, request: UpstreamRequest, route: Route) -> None:
    """Print one request, secrets masked."""
    method = request.method if request.websocket_limit is None else "a message to"
    print(f"{title}\n  {method} {route.mask_values(request.urls[0])}")
    for replica in request.urls[1:]:
        print(f"  or at {route.mask_values(replica)}")
    for name, value in _headers(request, route):
        print(f"  {name}: {value}")
    for credential in request.auth.masked if request.auth else ():
        print(f"  {credential}  (made when the request is sent)")
    if request.body is not None:
        text = json.pretty(json.loads(request.body))
        print("  " + route.mask_values(text).replace("\n", "\n  "))


def _headers(request: UpstreamRequest, route: Route) -> Iterator[tuple[str, str]]:
    """Yield the headers with masked keys; the scheme of a key is no secret."""
    credentials = {name.lower() for name in route.request.non_streaming.credential_headers}
    for name, value in request.headers.items():
        if name.lower() in _KEY_HEADERS | credentials:
            scheme = _SCHEME.match(value)
            yield name, f"{scheme[0] if scheme else ''}***"
        else:
            yield name, route.mask_values(value)


def print_reading(route: Route, exchange: Exchange) -> None:
    """Print how the response is read, where it is cut, and what of the request reaches nothing."""
    stream = exchange.calls[0].plan.stream_rule
    print(f"reads    {'a stream, ' + stream.framing.name if stream else 'a non-streaming response'}")
    for name, slot in slots_of(exchange):
        written = slot.written if isinstance(slot, Extractor) else str(slot)
        if written:
            print(f"  {name.ljust(_WIDTH)} {route.mask(written)}")
    for name, rule in [*(_stream_rules(stream) if stream else ()), *_error_rules(route)]:
        print(f"  {name.ljust(_WIDTH)} {route.mask(rule)}")
    if cuts := exchange.calls[0].builder.stop_strings:
        print(f"cuts     at {', '.join(json.dumps(text).decode() for text in cuts)}")
    if unread := _unread(route, exchange):
        print(f"not read {', '.join(unread)}")
    print(f"drops    {', '.join(exchange.dropped) or 'nothing'}")


def slots_of(exchange: Exchange) -> list[tuple[str, object]]:
    """Return the slots that read the response of an exchange, by name."""
    stream = exchange.calls[0].plan.stream_rule
    slots: ResponseSlots | None = stream.slots if stream else exchange.route.response.non_streaming
    return list(slots.named(exchange.endpoint.slots)) if slots else []


def _stream_rules(stream: StreamRule) -> Iterator[tuple[str, str]]:
    conditions = (("only", stream.only), ("skip", stream.skip), ("done", stream.done or stream.done_literal))
    yield from ((name, str(rule)) for name, rule in conditions if rule is not None)
    if stream.replace is not None:
        yield "replace", stream.replace.written
    if stream.cumulative:
        yield "mode", "cumulative"


def _error_rules(route: Route) -> Iterator[tuple[str, str]]:
    for rule in route.response.errors.rules:
        parts = [f"when {rule.when}" if rule.when else "a status outside 2xx"]
        slots = (("message", rule.message), ("type", rule.type), ("code", rule.code), ("status", rule.status))
        parts += [f"{name} {slot.written}" for name, slot in slots if slot is not None and slot.written]
        yield "error", ", ".join(parts)


def _unread(route: Route, exchange: Exchange) -> list[str]:
    """Return the parts of a conversation that no rule reads."""
    plan = exchange.calls[0].plan
    body, reads = plan.body_rule, plan.reads
    if not exchange.endpoint.has_messages or not isinstance(body, TemplateBody):
        return []
    prompt = route.request.prompt.parts if "prompt" in reads else frozenset()
    session = route.callouts.session
    if reads & {None, "messages", "raw"} or (session and session.is_kept):
        return []
    parts = {
        "the system text": "system" in reads or "system" in prompt,
        "earlier turns": bool(reads & {"turns", "history"}) or "turns" in prompt,
        "the last user message": bool(reads & {"turns", "last"}) or "last" in prompt,
    }
    return [part for part, is_read in parts.items() if not is_read]


def print_answer(exchange: Exchange, out: bytes) -> None:
    """Print the client's response."""
    if exchange.error is not None and not exchange.started:
        print(f"answers  {exchange.error.status}\n{json.pretty(exchange.error.envelope)}")
    elif exchange.is_stream:
        print(f"answers  a stream\n{out.decode()}", end="")
    else:
        print(f"answers\n{json.pretty(json.loads(out))}")
