"""The run of a sample, without any network: its request, and its response, also cut at every byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bridge.cli.json_diff import differences
from bridge.cli.merge_chunks import merge_chunks
from bridge.core import json
from bridge.core.errors import BridgeError
from bridge.exchange.dry_run import encode_sample, fill_placeholders, simulate
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import parse_request
from bridge.routes.spec import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.route import Route
    from bridge.routes.spec import SampleSpec

__all__ = ["check_sample"]


def check_sample(route: Route, sample: SampleSpec) -> Iterator[tuple[str, str]]:
    """Yield the keys of a sample that do not hold, each with a message."""
    yield from _check_keys(route, sample)
    try:
        exchange = _exchange(route, sample)
        yield from _check_request(exchange, sample)
        if sample.receives is not ABSENT:
            yield from _check_response(route, sample)
        elif sample.answers is not ABSENT:
            yield "answers", "without `receives`, no response is checked: expected the upstream's response"
    except BridgeError as error:
        if not (isinstance(sample.answers, dict) and "error" in sample.answers):
            yield "request", f"the request is refused with {error.status}: {error.message}"
            return
        yield from (("answers", difference) for difference in differences(sample.answers, error.envelope))


def _check_keys(route: Route, sample: SampleSpec) -> Iterator[tuple[str, str]]:
    """Yield what makes a sample pointless, whatever its request becomes."""
    if sample.endpoint not in route.serves:
        yield "endpoint", f"the route does not serve `{sample.endpoint}`: expected it in `serves`"
    expectations = (sample.sends, sample.receives, sample.answers)
    if all(each is ABSENT for each in expectations) and sample.url is None and not sample.headers:
        yield "request", "the sample checks nothing: expected `sends`, `url`, `headers` or `receives`"


def _check_request(exchange: Exchange, sample: SampleSpec) -> Iterator[tuple[str, str]]:
    request = _first_request(exchange)
    if sample.sends is not ABSENT:
        sent = json.loads(request.body) if request.body else None
        for difference in differences(sample.sends, sent, exact=True):
            yield "sends", difference
    if sample.url is not None and sample.url != _like(sample.url, request.urls[0]):
        yield "url", f"the request is sent to {_like(sample.url, request.urls[0])}"
    headers = {name.lower(): value for name, value in request.headers.items()}
    for name, value in (sample.headers or {}).items():
        if headers.get(name.lower()) != value:
            yield "headers", f"{name} is {headers.get(name.lower(), 'not sent')}, expected {value}"


def _like(written: str, url: str) -> str:
    """Return a URL, or its path and query if the sample's URL is a path."""
    if not written.startswith("/"):
        return url
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


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
    """Return the exchange of the request, which is checked as that of a client. Raises RequestError."""
    data = json.dumps({"model": route.models[0], **sample.request})
    endpoint = ENDPOINTS[sample.endpoint]
    body = parse_request(endpoint, data, max_values=route.limits.values)
    return Exchange(RequestContext(route, endpoint, body, data, id="sample", now=0.0))
