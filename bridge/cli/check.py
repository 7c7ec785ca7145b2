"""`format-bridge check`: every fault of a file at once, then its samples, streams also cut at every byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.cli.merge_chunks import merge_chunks
from bridge.config.problems import Problem
from bridge.core import json
from bridge.core.errors import BridgeError, ConfigError
from bridge.core.strings import count_of
from bridge.exchange.dry_run import encode_sample, fill_placeholders, simulate
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.loader import load_routes
from bridge.openai.endpoints import ENDPOINTS
from bridge.routes.spec import ABSENT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from bridge.routes.rules.route import Route
    from bridge.routes.spec import SampleSpec

__all__ = ["check", "check_sample"]


def check(called: argparse.Namespace) -> int:
    """Print what is wrong, or one line of counts. Raises ConfigError."""
    table = load_routes(called.file)
    samples = [(route, node, sample) for route in table.routes for node, sample in route.samples]
    problems = [
        Problem(node.find((member,)).location, node.find((member,)).path, route.mask(message))
        for route, node, sample in samples
        for member, message in check_sample(route, sample)
    ]
    if problems:
        raise ConfigError(problems)
    print(
        f"{called.file}: {count_of(len(table.routes), 'route')}, {count_of(len(table.models), 'model')}, "
        f"{count_of(len(samples), 'sample')}: all good"
    )
    return 0


def check_sample(route: Route, sample: SampleSpec) -> Iterator[tuple[str, str]]:
    """What does not hold of a sample: the member that says so, and how."""
    try:
        exchange = _exchange(route, sample)
        yield from _check_request(exchange, sample)
        if sample.receives is not ABSENT:
            yield from _check_answer(route, sample)
    except BridgeError as error:
        if not isinstance(sample.answers, dict):
            yield "request", f"it is refused with {error.status}: {error.message}"
            return
        yield from (("answers", fault) for fault in differences(sample.answers, error.envelope))


def _check_request(exchange: Exchange, sample: SampleSpec) -> Iterator[tuple[str, str]]:
    call = exchange.calls[0]
    fill_placeholders(call)
    route = exchange.route
    # The request that asks for the answer: where it is only polled, the call that began it.
    request = (
        call.request()
        if route.callouts.sends_request
        else call.builder.build_callout(route.callouts.calls[0])
    )
    if sample.sends is not ABSENT:
        sent = json.loads(request.body) if request.body else None
        for fault in differences(sample.sends, sent, exact=True):
            yield "sends", fault
    if sample.url is not None and sample.url != request.urls[0]:
        yield "url", f"the request goes to {request.urls[0]}"
    carried = {name.lower(): value for name, value in request.headers.items()}
    for name, value in (sample.headers or {}).items():
        if carried.get(name.lower()) != value:
            yield "headers", f"{name} is {carried.get(name.lower(), 'not sent')}, expected {value}"


def _check_answer(route: Route, sample: SampleSpec) -> Iterator[tuple[str, str]]:
    data = encode_sample(_exchange(route, sample), sample.receives)
    whole, answer = _answer(route, sample, [data])
    failed = isinstance(answer, dict) and answer.get("error")
    if failed and not (isinstance(sample.answers, dict) and "error" in sample.answers):
        member = "receives" if sample.answers is ABSENT else "answers"
        yield member, f"the answer is an error: {failed['message']}"
        return
    if sample.answers is not ABSENT:
        wanted = sample.answers
        if not isinstance(wanted, dict):
            wanted = ENDPOINTS[sample.endpoint].expand_sample(wanted)
        for fault in differences(wanted, answer):
            yield "answers", fault
    for cut in range(1, len(data)):
        if _answer(route, sample, [data[:cut], data[cut:]])[0] != whole:
            yield "receives", f"the answer is another when the bytes are cut behind byte {cut}"
            return


def _answer(route: Route, sample: SampleSpec, pieces: list[bytes]) -> tuple[object, Any]:
    """What the client gets: the bytes and error to compare, and the answer they make."""
    exchange = _exchange(route, sample)
    headers = {name.lower(): value for name, value in (sample.response_headers or {}).items()}
    out = simulate(exchange, pieces, status=sample.status, headers=headers)
    error = exchange.error
    if error is not None and not exchange.started:
        return (out, error.envelope), error.envelope
    return (out, error and error.envelope), merge_chunks(out) if exchange.is_stream else json.loads(out)


def _exchange(route: Route, sample: SampleSpec) -> Exchange:
    body = {"model": route.models[0], **sample.request}
    return Exchange(
        RequestContext(route, ENDPOINTS[sample.endpoint], body, json.dumps(body), id="sample", now=0.0)
    )


def differences(wanted: Any, found: Any, at: str = "$", *, exact: bool = False) -> Iterator[str]:
    """Where two JSON values differ. Members that are not wanted may be there, unless `exact`."""
    match wanted, found:
        case dict(), dict():
            for name in wanted:
                if name not in found:
                    yield f"{at}.{name} is missing"
                else:
                    yield from differences(wanted[name], found[name], f"{at}.{name}", exact=exact)
            if exact:
                yield from (f"{at}.{name} is there too" for name in found if name not in wanted)
        case list(), list() if len(wanted) == len(found):
            for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
                yield from differences(one, other, f"{at}[{number}]", exact=exact)
        case _:
            if isinstance(wanted, bool) is not isinstance(found, bool) or wanted != found:
                yield f"{at} is {_shown(found)}, expected {_shown(wanted)}"


def _shown(value: Any) -> str:
    text = json.dumps(value).decode()
    return text if len(text) <= 200 else text[:199] + "…"
