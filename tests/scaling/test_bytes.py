"""Work and memory are linear in bytes, frames, header fields, routes of a file and secrets."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from bridge.core.masking import mask
from bridge.framing import FRAMINGS, make_framer
from bridge.framing.length_delimited import encode_message
from bridge.openai.endpoints import CHAT
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load
from bridge.upstream.content_encoding import content_decoder
from bridge.upstream.response_parser import ResponseParser
from tests.framing.event_stream_encoder import event_stream_message
from tests.scaling.growth import Growth, Row, assert_linear, growth, settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scaling.growth import Make


def framing(name: str, body: Callable[[int], bytes], *, size: int = 2**30) -> Make:
    """Cut a body that arrives in pieces of a size into frames."""

    def make(n: int) -> Callable[[], object]:
        data = body(n)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]

        def work() -> object:
            framer = make_framer(FRAMINGS[name], "json", 2**30)
            frames = [frame for piece in pieces for frame in framer.feed(piece)]
            return [*frames, *framer.close()]

        return work

    return make


def decompressing(pieces: Callable[[int], list[bytes]]) -> Make:
    """Decode a body that is compressed."""

    def make(n: int) -> Callable[[], object]:
        data = pieces(n)
        decoder = content_decoder("gzip")
        assert decoder is not None

        def work() -> object:
            decoder = content_decoder("gzip")
            assert decoder is not None
            return settled(lambda: [decoder.feed(piece) for piece in data])

        return work

    return make


def parsing_head(lines: Callable[[int], bytes]) -> Make:
    """Parse the head of an upstream response."""

    def make(n: int) -> Callable[[], object]:
        data = b"HTTP/1.1 200 OK\r\n" + lines(n)

        def work() -> object:
            parser = ResponseParser()
            parser.start()
            return settled(lambda: parser.feed(data))

        return work

    return make


def loading(n: int) -> Callable[[], object]:
    """Load a file of routes."""
    text = "routes:\n" + "".join(
        f"  - {{models: [m{i}, 'm{i}-*'], upstream: 'http://s/{i}', response: $.t}}\n" for i in range(n)
    )
    return lambda: load(text, "routes.yaml", LoadEnvironment({}, str, {}))


def finding(n: int) -> Callable[[], object]:
    """Find the routes of models that only globs match."""
    text = "routes:\n" + "".join(f"  - {{models: 'm{i}-*', upstream: 'http://s/{i}'}}\n" for i in range(n))
    table = load(text, "routes.yaml", LoadEnvironment({}, str, {}))
    return lambda: [table.find(f"m{n - 1}-{number}", CHAT) for number in range(50)]


def masking(n: int) -> Callable[[], object]:
    text = "the-secret " * n
    return lambda: mask(text, ["the-secret", "an-other"])


FRAMES: dict[str, Callable[[int], bytes]] = {
    "sse": lambda n: b'data: {"a":1}\n\n' * n,
    "ndjson": lambda n: b'{"a":1}\n' * n,
    "nul": lambda n: b'{"a":1}\0' * n,
    "json": lambda n: b'{"a":1}' * n,
    "json-array": lambda n: b"[" + b",".join([b'{"a":1}'] * n) + b"]",
    "text": lambda n: b"word " * n,
    "websocket": lambda n: encode_message(b'{"a":1}') * n,
    "eventstream": lambda n: event_stream_message({}, b'{"a":1}') * n,
}

LONG_FRAMES: dict[str, Callable[[int], bytes]] = {
    "sse": lambda n: b'data: {"a":"' + b"x" * n + b'"}\n\n',
    "ndjson": lambda n: b'{"a":"' + b"x" * n + b'"}\n',
    "nul": lambda n: b'{"a":"' + b"x" * n + b'"}\0',
    "json": lambda n: b'{"a":"' + b"x" * n + b'"}',
    "json-array": lambda n: b'[{"a":"' + b"x" * n + b'"}]',
    "text": lambda n: b"x" * n,
    "websocket": lambda n: encode_message(b"x" * n),
    "eventstream": lambda n: event_stream_message({}, b"x" * n),
}

ROWS = {
    **{f"frames of {name} in one read": Row(framing(name, body), 4_000) for name, body in FRAMES.items()},
    **{f"frames of {name}, cut": Row(framing(name, body, size=3), 1_000) for name, body in FRAMES.items()},
    **{f"one {name} frame": Row(framing(name, body, size=7), 100_000) for name, body in LONG_FRAMES.items()},
    "levels of JSON values": Row(framing("json", lambda n: b"[" * n, size=7), 10_000),
    "members of gzip": Row(decompressing(lambda n: [gzip.compress(b"word ") * n]), 1_000),
    "bytes after the end of gzip": Row(
        decompressing(lambda n: [gzip.compress(b"word "), *[b"\0" * 64] * n]), 4_000
    ),
    "bytes in gzip": Row(decompressing(lambda n: [gzip.compress(b"x" * n)]), 1_000_000),
    "header fields": Row(
        parsing_head(lambda n: b"".join(b"x-%d: 1\r\n" % i for i in range(n)) + b"\r\n"), 500
    ),
    "bytes of a header field": Row(parsing_head(lambda n: b"x: " + b"x" * n + b"\r\n\r\n"), 8_000),
    "routes of a file": Row(loading, 64),
    "globs of a file": Row(finding, 130),
    "secrets in a text": Row(masking, 10_000),
}


@pytest.mark.parametrize("name", ROWS)
def test_work_is_linear(name: str) -> None:
    assert_linear(ROWS[name])


def test_quadratic_work_is_noticed() -> None:
    """The measures see loops, copies and lists of quadratic size."""

    def loops(n: int) -> Callable[[], object]:
        return lambda: [mask("", []) for _ in range(1 + n * n // 64)]

    def copies(n: int) -> Callable[[], object]:
        return lambda: [mask("", []), *[bytes(size) and None for size in range(0, n * 100, 100)]]

    def keeps(n: int) -> Callable[[], object]:
        return lambda: [mask("", []), *[bytes(n) for _ in range(n)]]

    bounds = Growth(steps=5.0, time=8.0, memory=5.0)
    assert growth(Row(loops, 128)).steps > bounds.steps
    assert growth(Row(copies, 3_000)).time > bounds.time
    assert growth(Row(keeps, 2_000)).memory > bounds.memory
