"""The run of a sample, without any network: its request, and its response, also cut at every byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.cli.json_diff import differences
from bridge.cli.merge_chunks import merge_chunks
from bridge.core import json
from bridge.core.errors import BridgeError
from bridge.exchange.dry_run import encode_sample, fill_placeholders, simulate
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import ENDPOINTS
from bridge.routes.spec import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.route import Route
    from bridge.routes.spec import SampleSpec

__all__ = ["check_sample"]


def check_sample(route: Route, sample: SampleSpec) -> Iterator[tuple[str, str]]:
    """Yield the keys of a sample that do not hold, each with a message."""
    try:
        exchange = _exchange(route, sample)
        yield from _check_request(exchange, sample)
        if sample.receives is not ABSENT:
            yield from _check_response(route, sample)
    except BridgeError as error:
        if not isinstance(sample.answers, dict):
            yield "request", f"the request is refused with {error.status}: {error.message}"
            return
        yield from (("answers", difference) for difference in differences(sample.answers, error.envelope))


def _check_request(exchange: Exchange, sample: SampleSpec) -> Iterator[tuple[str, str]]:
    request = _first_request(exchange)
    if sample.sends is not ABSENT:
        sent = json.loads(request.body) if request.body else None
        for difference in differences(sample.sends, sent, exact=True):
            yield "sends", difference
    if sample.url is not None and sample.url != request.urls[0]:
        yield "url", f"the request is sent to {request.urls[0]}"
    headers = {name.lower(): value for name, value in request.headers.items()}
    for name, value in (sample.headers or {}).items():
        if headers.get(name.lower()) != value:
            yield "headers", f"{name} is {headers.get(name.lower(), 'not sent')}, expected {value}"


def _first_request(exchange: Exchange) -> UpstreamRequest:
    """Return the request for the response; if the response is only polled, that of the job."""
    call, callouts = exchange.calls[0], exchange.route.callouts
    fill_placeholders(call)
    return call.request() if callouts.sends_request else call.builder.build_callout(callouts.calls[0])


def _check_response(route: Route, sample: SampleSpec) -> Iterator[tuple[str, str]]:
    data = encode_sample(_exchange(route, sample), sample.receives)
    outcome, response = _respond(route, sample, [data])
    error = response.get("error") if isinstance(response, dict) else None
    if error and not (isinstance(sample.answers, dict) and "error" in sample.answers):
        key = "receives" if sample.answers is ABSENT else "answers"
        yield key, f"the response is an error: {error['message']}"
        return
    if sample.answers is not ABSENT:
        expected = sample.answers
        if not isinstance(expected, dict):
            expected = ENDPOINTS[sample.endpoint].expand_sample(expected)
        for difference in differences(expected, response):
            yield "answers", difference
    for cut in range(1, len(data)):
        if _respond(route, sample, [data[:cut], data[cut:]])[0] != outcome:
            yield "receives", f"the response differs if the bytes are cut after byte {cut}"
            return


def _respond(route: Route, sample: SampleSpec, parts: list[bytes]) -> tuple[object, Any]:
    """Return the client's bytes and error, to be compared, and the client's response as JSON.

    If chunks follow the reads, the response is compared in place of the bytes.
    """
    exchange = _exchange(route, sample)
    headers = {name.lower(): value for name, value in (sample.response_headers or {}).items()}
    out = simulate(exchange, parts, status=sample.status, headers=headers)
    error = exchange.error
    if error is not None and not exchange.started:
        return (out, error.envelope), error.envelope
    response = merge_chunks(out) if exchange.is_stream else json.loads(out)
    rule = route.response.streaming
    follows_reads = exchange.is_stream and rule is not None and rule.framing.follows_reads
    return (response if follows_reads else out, error and error.envelope), response


def _exchange(route: Route, sample: SampleSpec) -> Exchange:
    body = {"model": route.models[0], **sample.request}
    return Exchange(
        RequestContext(route, ENDPOINTS[sample.endpoint], body, json.dumps(body), id="sample", now=0.0)
    )
