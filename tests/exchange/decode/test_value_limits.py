"""Upstream responses with too many JSON values, which are refused before they are parsed."""

from __future__ import annotations

import json
import struct
import tracemalloc
from base64 import b64encode
from typing import Any

import pytest

from bridge.core import json as bridge_json
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.dry_run import simulate
from tests.exchange.callout_steps import commands_before, fetched
from tests.exchange.single_exchange import new_exchange, pieces_of, request, sse

LIMITS = "limits: {values: 10}\n"
MANY: list[Any] = [[]] * 40  # with the members around the list, more than four times the limit
OPENAI = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]
}
VECTORS = "serves: embeddings\nrequest: {body: {p: $.inputs}}\nresponse: {embeddings: $.e}\n"


def failure(rules: str, response: Any, body: dict[str, Any] | None = None) -> UpstreamError:
    exchange = new_exchange(LIMITS + rules, body)
    simulate(exchange, pieces_of(response))
    assert isinstance(exchange.error, UpstreamError)
    assert (exchange.error.kind, exchange.error.status) == (UpstreamFailure.LIMIT, 502)
    assert "limits.values" in exchange.error.message
    return exchange.error


@pytest.mark.parametrize(
    ("rules", "response", "stream"),
    [
        ("response: $.t", {"t": "hi", "x": MANY}, False),
        ("response: {text: $item.t, choices: '$.c'}", {"c": [{"t": "hi"}], "x": MANY}, False),
        ("serves: [chat]", {**OPENAI, "x": MANY}, False),
        ("serves: [chat]", sse({**OPENAI, "x": MANY}), True),
        ("stream: {text: $.t}\nresponse: false", sse({"t": "hi", "x": MANY}), True),
        ("stream: {text: $.t}\nresponse: false", sse({"t": "hi", "x": MANY}), False),
        ("stream: {text: $.t}", {"t": "hi", "x": MANY}, True),
    ],
)
def test_a_response_with_more_values_is_refused(rules: str, response: Any, stream: bool) -> None:
    failure(rules, response, request(stream=stream))


def test_a_frame_that_resembles_the_frames_before_is_refused() -> None:
    frames = [b'data: {"t":%b}\n\n' % value for value in (b'"a"', b'"b"', b'"c"', json.dumps(MANY).encode())]
    error = failure("stream: {text: $.t}\nresponse: false", frames, request(stream=True))
    assert error.code == "upstream_limit"


def test_a_polled_response_with_more_values_is_refused() -> None:
    rules = """
calls: {job: {url: http://server/jobs, values: {id: $.id}}}
poll: {url: "http://server/jobs/{{ id }}", until: {$.t: {exists: true}}}
response: $.t
"""
    [call] = new_exchange(LIMITS + rules).calls
    with pytest.raises(UpstreamError) as raised:
        commands_before(call, fetched({"id": "j", "x": MANY}))
    assert raised.value.kind is UpstreamFailure.LIMIT


def test_separators_in_a_text_do_not_count() -> None:
    exchange = new_exchange(LIMITS + "response: $.t")
    assert b",[{" in simulate(exchange, pieces_of({"t": ",[{" * 1000}))


def test_values_are_counted_before_the_body_is_parsed() -> None:
    """64 MiB of such a body took 35 seconds and 2 GB."""
    exchange = new_exchange("response: $.t")
    body = b"[" + b"[]," * 5_000_000 + b"0]"
    tracemalloc.start()
    simulate(exchange, [body])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert exchange.error is not None
    assert "4000000 JSON values" in exchange.error.message
    assert peak < 2.1 * len(body)


def test_the_largest_vectors_pass_with_limits_that_are_raised() -> None:
    """The limits that docs/language.md names for vectors of numbers."""
    vectors = bridge_json.dumps({"e": [[0.5] * 3072] * 2048})
    body = {"model": "m", "input": ["hi"] * 2048, "encoding_format": "base64"}
    exchange = new_exchange(
        VECTORS + "limits: {answer: 256MiB, values: 2000000}", body, endpoint="embeddings"
    )
    out = simulate(exchange, [vectors])
    assert exchange.error is None
    assert out.count(b'"embedding":"') == 2048
    exchange = new_exchange(VECTORS, body, endpoint="embeddings")
    simulate(exchange, [vectors])
    assert exchange.error is not None
    assert "limits.values" in exchange.error.message


def test_the_largest_vectors_pass_as_base64() -> None:
    packed = b64encode(struct.pack("<3072f", *[0.5] * 3072)).decode()
    items = [{"object": "embedding", "index": index, "embedding": packed} for index in range(2048)]
    response = json.dumps({"object": "list", "model": "m", "data": items}).encode()
    body = {"model": "m", "input": ["hi"] * 2048, "encoding_format": "base64"}
    rules = "serves: embeddings\nrequest: {fields: {encoding_format: base64}}"
    exchange = new_exchange(rules, body, endpoint="embeddings")
    [call] = exchange.calls
    assert json.loads(call.request().body or b"")["encoding_format"] == "base64"
    out = simulate(exchange, [response])
    assert exchange.error is None
    assert out.count(packed.encode()) == 2048
