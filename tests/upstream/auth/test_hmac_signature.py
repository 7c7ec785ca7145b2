"""HMAC signatures of requests, compared with a hash that is computed here."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from bridge.core.errors import UpstreamError
from tests.raw_upstream import http_response, responder, run_upstream
from tests.upstream.auth.signed_requests import NOW, run_sender

DATE = "Thu, 20 Nov 2025 00:53:20 GMT"

SPARK = """
routes:
  - models: generalv3.5
    upstream: {url: "${UPSTREAM}/v3.5/chat", method: GET}
    auth:
      hmac:
        key: ${KEY}
        secret: ${SECRET}
        text: |-
          host: {{ host }}
          date: {{ date }}
          {{ method }} {{ path }} HTTP/1.1
        query:
          authorization: >-
            {% filter base64 %}api_key="{{ key }}", algorithm="hmac-sha256",
            headers="host date request-line", signature="{{ signature }}"{% endfilter %}
          date: "{{ date }}"
          host: "{{ host }}"
"""


WEBSOCKET = """
    stream: {framing: websocket, text: "$.payload.choices.text[0].content"}
    response: false
"""


@pytest.mark.parametrize("stream_rule", ["", WEBSOCKET], ids=["http", "websocket"])
async def test_spark_is_signed_in_the_query(stream_rule: str) -> None:
    text = SPARK.replace("method: GET", "method: POST") + stream_rule if stream_rule else SPARK
    async with run_upstream(responder(http_response({}, 403))) as server:
        url = server.url.replace("http", "ws") if stream_rule else server.url
        async with run_sender(text, {"UPSTREAM": url, "KEY": "the-key", "SECRET": "the-secret"}) as sending:
            with suppress(UpstreamError):
                await sending.send()
    [request] = server.requests
    assert request.method == "GET"
    url_parts, query = (
        urlsplit(request.path),
        dict(parse_qsl(urlsplit(request.path).query, strict_parsing=True)),
    )
    assert url_parts.path == "/v3.5/chat"
    assert query.keys() == {"authorization", "date", "host"}
    assert query["host"] == request.headers["host"]
    assert query["date"] == DATE
    text = f"host: {request.headers['host']}\ndate: {DATE}\nGET /v3.5/chat HTTP/1.1"
    signature = b64encode(hmac.new(b"the-secret", text.encode(), hashlib.sha256).digest()).decode()
    assert b64decode(query["authorization"]).decode() == (
        'api_key="the-key", algorithm="hmac-sha256", headers="host date request-line", '
        f'signature="{signature}"'
    )


def route(**options: Any) -> str:
    auth = {"secret": "the-secret", "text": "{{ now }}{{ body }}", **options}
    return json.dumps(
        {
            "routes": [
                {
                    "models": "m",
                    "upstream": "${UPSTREAM}/a%20b/{{ model }}?x=%2F",
                    "headers": {"X-Signature": "the route's own", "Host": "models.example"},
                    "auth": {"hmac": auth},
                }
            ]
        }
    )


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("body", [b'{"a": "\xc3\xbc"}', b"\xff\xfe not text\n", b"", None, b"x" * 2**21])
async def test_the_body_is_signed(algorithm: str, encoding: str, body: bytes | None) -> None:
    options = {"algorithm": algorithm, "encoding": encoding, "headers": {"x-signature": "v1={{ signature }}"}}
    async with (
        run_upstream(responder(http_response({}))) as server,
        run_sender(route(**options), {"UPSTREAM": server.url}) as sending,
    ):
        await sending.send(body=body)
    [request] = server.requests
    digest = hmac.new(b"the-secret", str(int(NOW)).encode() + request.data, algorithm).digest()
    expected = digest.hex() if encoding == "hex" else b64encode(digest).decode()
    assert request.data == (body or b"")
    assert request.headers["x-signature"] == f"v1={expected}"  # the header of the route is replaced


async def test_signed_parts_are_those_that_are_sent() -> None:
    options = {
        "text": "{{ method }}|{{ host }}|{{ path }}|{{ query }}|{{ date }}|{{ now }}|{{ key }}",
        "key": "k&1",
        "headers": {"X-Mac": "{{ signature }}"},
        "query": {"k": "{{ key }}", "s": "{{ signature }}"},
    }
    async with (
        run_upstream(responder(http_response({}))) as server,
        run_sender(route(**options), {"UPSTREAM": server.url}) as sending,
    ):
        await sending.send(model="q:1/2")
    [request] = server.requests
    path, _, query = request.path.partition("?")
    assert (path, query.partition("&")[0]) == ("/a%20b/q%3A1%2F2", "x=%2F")
    text = f"POST|models.example|{path}|x=%2F|{DATE}|{int(NOW)}|k&1"
    assert request.headers["host"] == "models.example"
    expected = b64encode(hmac.new(b"the-secret", text.encode(), hashlib.sha256).digest()).decode()
    assert request.headers["x-mac"] == expected
    assert parse_qsl(query) == [("x", "/"), ("k", "k&1"), ("s", expected)]
