"""Checks that any bytes must pass, by `make fuzz` and by the tests: of the parts that read strangers' bytes.

The first bytes of the data choose among formats and options, so that the fuzzer chooses these too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp.http import HttpVersion10

from bridge.core import json
from bridge.core.errors import BridgeError, ConfigError, RequestError, UpstreamError
from bridge.framing import FRAMINGS
from bridge.openai.endpoints import CHAT, ENDPOINTS
from bridge.openai.request_validation import parse_request
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load
from bridge.server.request_parser import RequestParser
from bridge.upstream.content_encoding import content_decoder
from bridge.upstream.errors import ProtocolError
from bridge.upstream.response_parser import ResponseParser
from tests.exchange import test_any_request
from tests.exchange.single_exchange import new_exchange
from tests.exchange.strategies import ROUTES, checked_outcome
from tests.framing.splits import run_framer, split_at, split_evenly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

__all__ = ["TARGETS"]

HEAD = 4  # bytes that choose


def check_frames(data: bytes) -> None:
    """Check that frames and errors do not depend on how a body is split."""
    framing, limit, cut, _ = _choices(data)
    body = data[HEAD:]
    name = [*FRAMINGS][framing % len(FRAMINGS)]
    size = (3, 40, 2**20)[limit % 3]
    whole = run_framer(name, [body], size)
    assert run_framer(name, split_at(body, [cut, 2 * cut]), size) == whole
    assert run_framer(name, split_evenly(body, 1), size) == whole


def check_response(data: bytes) -> None:
    """Check that any upstream response gives a valid response or an error, for every split."""
    rules, options, cut, status = _choices(data)
    body = data[HEAD:]
    request: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    request |= {"stream": True, "stream_options": {"include_usage": True}} if options & 1 else {}
    request |= {"stop": "END"} if options & 2 else {}
    request |= {"n": 2} if options & 4 else {}
    sent = [*ROUTES.values()][rules % len(ROUTES)], "chat", request
    complete, code = not options & 8, (200, 200, 200, 204, 302, 400, 429, 500)[status % 8]
    whole = checked_outcome(*sent, [body], code, complete)
    for pieces in (split_at(body, [cut, 2 * cut]), split_evenly(body, 1)):
        assert checked_outcome(*sent, pieces, code, complete) == whole


def check_request(data: bytes) -> None:
    """Check that any body of a client gives upstream requests with JSON, or an error of the client."""
    rules, endpoint, *_ = _choices(data)
    body, spec = data[HEAD:], [*ENDPOINTS.values()][endpoint % len(ENDPOINTS)]
    routes = [*test_any_request.ROUTES.values()] if spec is CHAT else [f"serves: {spec.name}"]
    try:
        parsed = parse_request(spec, body, max_values=1_000)
    except RequestError:
        return
    assert parse_request(spec, body, in_steps=True) == parsed
    try:
        exchange = new_exchange(routes[rules % len(routes)], endpoint=spec.name, data=body)
        for call in exchange.calls:
            json.loads(call.request().body or b"null")  # unchanged bodies may contain invalid UTF-8
    except BridgeError as error:
        if error.status >= 500 and error.code != "template_error":
            raise


def check_routes(data: bytes) -> None:
    """Check that any file is loaded, or has problems with places."""
    text = data.decode("utf-8", "replace")
    environment = LoadEnvironment({"NAME": "value"}, _no_file, {"p": "request: {body: {p: $.prompt}}"})
    try:
        table = load(text, "routes.yaml", environment)
    except ConfigError:
        return
    for route in table.routes:
        assert route.plans


def check_upstream_connection(data: bytes) -> None:
    """Check that the response on a connection does not depend on how the bytes are split."""
    *_, cut = _choices(data)
    body = data[HEAD:]
    whole = _parsed_response([body])
    assert _parsed_response(split_at(body, [cut, 2 * cut])) == whole
    assert _parsed_response(split_evenly(body, 1)) == whole


def check_client_connection(data: bytes) -> None:
    """Check that the requests on a connection do not depend on how the bytes are split."""
    *_, cut = _choices(data)
    body = data[HEAD:]
    whole = _parsed_requests([body])
    assert _parsed_requests(split_at(body, [cut, 2 * cut])) == whole
    assert _parsed_requests(split_evenly(body, 1)) == whole


def check_compressed(data: bytes) -> None:
    """Check that decoded bytes do not depend on how the compressed ones are split."""
    encoding, cut, *_ = _choices(data)
    body, name = data[HEAD:], ("gzip", "deflate")[encoding % 2]
    whole = _decoded(name, [body])
    assert _decoded(name, split_at(body, [cut, 2 * cut])) == whole
    assert _decoded(name, split_evenly(body, 1)) == whole


def _choices(data: bytes) -> tuple[int, int, int, int]:
    first, second, third, fourth = data[:HEAD].ljust(HEAD, b"\0")
    return first, second, third, fourth


def _no_file(name: str) -> str:
    raise FileNotFoundError(name)


def _parsed_response(pieces: Sequence[bytes]) -> Any:
    """Return the status, the headers and the body of a response, or that it is invalid."""
    parser, body = ResponseParser(), []
    parser.start()
    try:
        for piece in filter(None, pieces):
            parser.feed(piece)
            body.append(parser.take_body())
    except (ProtocolError, UpstreamError):
        return "invalid"
    return parser.status, dict(parser.headers), b"".join(body), parser.state


class _Connection:
    """The calls that a parser makes of a connection."""

    def __init__(self) -> None:
        self.requests: list[tuple[RawRequestMessage, StreamReader]] = []
        self.rejected = False
        self.reading_paused = self._reading_paused = False
        self.connected = True

    def request_received(self, message: RawRequestMessage, body: StreamReader) -> None:
        self.requests.append((message, body))

    def request_rejected(self, error: RequestError) -> None:
        self.rejected = True

    def pause_reading(self) -> None:
        self.reading_paused = self._reading_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        self.reading_paused = self._reading_paused = False


def _parsed_requests(pieces: Sequence[bytes]) -> Any:
    """Return the requests that arrived, with their bodies, and whether one was invalid."""
    connection: Any = _Connection()
    parser = RequestParser(connection, _LOOP)
    for piece in pieces:
        parser.feed(piece)
    requests: list[tuple[Any, ...]] = []
    for message, body in connection.requests:
        if message.version < HttpVersion10:  # refused: what follows means nothing
            return requests, True
        if body.exception() is None:
            requests.append((message.method, message.path, message.raw_headers, _body(body), body.is_eof()))
        if message.should_close:
            return requests, False
    return requests, parser.invalid


def _body(body: StreamReader) -> bytes:
    return b"".join(getattr(body, "_buffer", ()))


def _decoded(name: str, pieces: Sequence[bytes]) -> bytes | str:
    decoder = content_decoder(name)
    assert decoder is not None
    try:
        out = b"".join(map(decoder.feed, pieces))
        decoder.close()
    except UpstreamError as error:
        return str(error.kind)
    return out


_LOOP = asyncio.new_event_loop()

TARGETS = {
    "frames": check_frames,
    "responses": check_response,
    "requests": check_request,
    "routes": check_routes,
    "upstream connections": check_upstream_connection,
    "client connections": check_client_connection,
    "compressed": check_compressed,
}
