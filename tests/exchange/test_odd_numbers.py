"""Numbers that are nearly valid JSON, or that no type of a server holds, in requests and in responses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core import json as bridge_json
from bridge.core.errors import BridgeError
from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import new_exchange, request, request_bodies, sse

NUMBERS = [
    *["1" * 400, "-" + "1" * 400, "1" * 4_300, "9" * 4_300, "9" * 4_301, "1" * 100_000],
    *[
        "1e400",
        "-1e400",
        "1e-400",
        "1.7e308",
        "NaN",
        "Infinity",
        "-Infinity",
        "-1",
        "-0",
        "-0.0",
        "0.1",
        "1E5",
    ],
    *["9223372036854775808", "-9223372036854775809", "18446744073709551616", "1.0e", "01"],
    *['"' + "9" * 5_000 + '"', '"1e400"', '"NaN"', '"-1"', '"\\ud800"', "[[[" + "1" * 400 + "]]]"],
]

RULES = """
emulate: {usage: estimate}
request:
  body:
    all: $.raw
    numbers: {a: $.max_tokens, b: $.temperature, c: $.seed, n: $.n}
    scaled: {$path: $.seed, scale: 1000, offset: 1, min: -5}
    fractions: {$path: $.temperature, scale: 0.5, offset: 0.5, max: 1000}
    whole: {$path: $.seed, as: int}
    fraction: {$path: $.seed, as: float}
    text: {$path: $.seed, as: string}
    written: {$path: $.seed, as: json}
    read: {$path: $.seed, as: object}
    range: {$path: $.seed, above: 0, below: 10}
    mapped: {$path: $.seed, map: {1: one}}
    first: {$path: $.logit_bias, take: first}
    template: "{{ seed }} {{ seed | int }} {{ temperature | round }} {{ seed + 1 }}"
response: $.t
"""
USAGE = "usage: {prompt_tokens: $.n, completion_tokens: {path: $.n, sum: true}}"
RESPONSES = {
    "usage": f"response: {{text: $.t, {USAGE}, id: $.n}}\nstream: {{text: $.t, {USAGE}}}",
    "error": "response: $.t\nstream: {text: $.t}\n"
    "error: {when: {$.t: hi}, status: {path: $.n, as: int}, retry_after: $.n, message: $.n, code: $.n}",
    "comparison": "response: $.t\nstream: {text: $.t}\nerror: {when: {$.n: {above: 5}}, message: $.n}",
    "conversion": "response: {text: {path: $.n, as: string}}\n"
    "stream: {text: {path: $.n, scale: 1000, as: json}}",
    "choices": "response: {choices: '$.c', text: $item.t}\nstream: {choices: '$.c', text: $item.t}",
    "openai": "name: openai",
}
DOCUMENT = """
{"id": "c", "created": NUMBER, "t": "hi", "n": NUMBER, "c": [{"t": "hi", "index": NUMBER}], "choices": [{
  "index": INDEX,
  "message": {"content": "hi", "tool_calls": [
    {"index": NUMBER, "function": {"name": "f", "arguments": NUMBER}}
  ]},
  "delta": {"content": "hi", "tool_calls": [{"index": NUMBER, "id": "c", "function": {"name": "f"}}]},
  "logprobs": {"content": [{"token": "a", "logprob": NUMBER}]},
  "finish_reason": "stop"
}], "usage": {"prompt_tokens": NUMBER, "completion_tokens": NUMBER, "total_tokens": NUMBER}}
"""
MAX_TOKENS = 2**53


def sent(rules: str, data: bytes) -> list[Any] | BridgeError:
    """Return the bodies of the upstream requests, or the error with which a request is refused."""
    try:
        return request_bodies(new_exchange(rules, data=data))
    except BridgeError as error:
        return error


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
@pytest.mark.parametrize("member", ["seed", "max_tokens", "temperature", "n", "logit_bias", "x"])
@pytest.mark.parametrize("rules", [RULES, "name: openai"], ids=["rules", "openai"])
def test_a_number_in_a_request_is_sent_or_refused(rules: str, member: str, number: str) -> None:
    data = json.dumps(request())[:-1].encode() + f',"{member}":{number}}}'.encode()
    result = sent(rules, data)
    if isinstance(result, BridgeError):
        assert result.status == 400 or result.code == "template_error"
    else:
        assert all(isinstance(body, dict) for body in result)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
@pytest.mark.parametrize("index", ["0", "NUMBER"])
@pytest.mark.parametrize("stream", [False, True], ids=["completion", "stream"])
@pytest.mark.parametrize("rules", RESPONSES)
def test_a_number_in_a_response_gives_a_response_or_an_error(
    rules: str, index: str, number: str, *, stream: bool
) -> None:
    data = DOCUMENT.replace("\n", "").replace("INDEX", index).replace("NUMBER", number)
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    exchange = new_exchange(RESPONSES[rules], request(**options))
    out = simulate(exchange, sse(f"data: {data}\n\n", "data: [DONE]\n\n") if stream else [data.encode()])
    if exchange.error is not None:
        assert 400 <= exchange.error.status <= 599
        parsed(bridge_json.dumps(exchange.error.envelope))
        return
    for event in out.split(b"\n\n") if stream else [out]:
        if event and event != b"data: [DONE]":
            usage = parsed(event.removeprefix(b"data: ")).get("usage") or {}
            for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
                count = usage.get(name, 0)
                assert type(count) is int
                assert 0 <= count <= 2 * MAX_TOKENS


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize(
    "vectors", ["[NUMBER,0.5]", "[[NUMBER],[0.5]]", '[{"index":NUMBER,"embedding":[1]}]']
)
def test_a_number_of_a_vector_gives_vectors_or_an_error(vectors: str, encoding: str, number: str) -> None:
    rules = "serves: embeddings\nrequest: {body: {p: $.inputs}}\nresponse: {embeddings: $.e}"
    body = request("embeddings", input="hi", encoding_format=encoding)
    exchange = new_exchange(rules, body, endpoint="embeddings")
    out = simulate(exchange, [b'{"e":' + vectors.replace("NUMBER", number).encode() + b"}"])
    if exchange.error is None:
        bridge_json.loads_strictly(out)
    else:
        assert exchange.error.status in (400, 502)


def parsed(data: bytes) -> Any:
    """Return the value of JSON text, which may contain integers of any length, but no NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"the output contains {name}")

    return json.loads(data, parse_constant=refuse)
