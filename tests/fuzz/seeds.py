"""Data from which the fuzzer begins, by target."""

from __future__ import annotations

import gzip

from bridge.framing import FRAMINGS
from tests.exchange import test_any_request
from tests.exchange.strategies import ROUTES

__all__ = ["SEEDS"]

CHAT = (
    b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]},'
    b'{"role":"assistant","content":null}],"stop":["a"],"n":2,"stream":true}'
)
STREAM = b'data: {"t":"hi","choices":[{"index":0,"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
COMPLETION = b'{"t":"hi","f":"eos","choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":1}}\n'
FRAMES = (b'data: {"a":1}\n\nevent: e\ndata: x\r\n\r\n', b'[{"a":"\\\\"}, 1]')
GZIP = gzip.compress(b"hello hello", mtime=0)

FILES = (
    """
routes:
  - {models: [m, 'a*'], upstream: 'http://s/${NAME}', response: '$.a[0].b', stream: {text: $.t}}
""",
    """
server: {listen: ':1'}
routes:
  - models: m
    preset: p
    upstream: {url: http://s, retry: {}}
""",
    """
routes:
  - models: m
    upstream: "http://s/{{ model | path }}"
    request:
      body:
        a: {$path: $.b, when: {$.c: {above: 1}}}
        d: {$each: $.messages, merge: role, $as: $item}
    response: $..x
""",
)

CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    CONTINUED + b"5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(GZIP), GZIP),
]

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
REQUESTS = [
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    CHUNKED + b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
]

# The first four bytes choose: see `targets.py`.
SEEDS: dict[str, list[bytes]] = {
    "frames": [bytes([number, 2, 5, 0]) + body for number in range(len(FRAMINGS)) for body in FRAMES],
    "responses": [
        bytes([number, number % 2, 7, 0]) + body
        for number in range(len(ROUTES))
        for body in (STREAM, COMPLETION)
    ],
    "requests": [bytes([number, 0, 0, 0]) + CHAT for number in range(len(test_any_request.ROUTES))],
    "routes": [text.encode() for text in FILES],
    "upstream connections": [b"\0\0\0\5" + data for data in RESPONSES],
    "client connections": [b"\0\0\0\5" + data for data in REQUESTS],
    "compressed": [b"\0\5\0\0" + GZIP, b"\0\5\0\0" + GZIP + GZIP, b"\1\5\0\0" + GZIP[10:-8]],
}
