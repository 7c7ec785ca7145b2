"""A websocket server by hand, so that it can speak badly: the handshake, the frames, the routes to it.

says(text("hello"), closing(1000))      one connection: shakes hands, hears the request, says these
framed(b"…", reserved=1)                any frame, as RFC 6455 has it or not
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from contextlib import asynccontextmanager
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.raw_upstream import head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.raw_upstream import Connection, Request

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "WEBSOCKET_ROUTES",
    "accept_handshake",
    "close_frame",
    "handshake_response",
    "read_frame",
    "run_websocket_server",
    "text_message",
    "websocket_frame",
    "websocket_responder",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

# `done`: a last message is promised. `open`: the server closes when it is done. `raw`: messages are the text.
WEBSOCKET_ROUTES = """
x-common: &common
  upstream: &upstream
    url: ${UPSTREAM}/chat
    timeouts: {connect: 60s, first_byte: 300ms, idle: 300ms}
  limits: {frame: 64KiB, answer: 256KiB}
  response: false
  request: {body: {say: $.last, stop: $.stop}}
  error: {when: {$.code: {not: 0}}, message: $.msg, status: {path: $.code, map: {-4: 404}, default: 502}}

server: {drain: 100ms}
routes:
  - {<<: *common, models: done, stream: {framing: websocket, text: $.text, done: {$.end: true}}}
  - {<<: *common, models: open, stream: {framing: websocket, text: $.text}}
  - {<<: *common, models: raw, stream: {framing: websocket, data: text, text: $}}
  - {<<: *common, models: lines, stream: {framing: websocket, inner: ndjson, text: $.text}}
  - name: total
    models: total
    upstream: {<<: *upstream, timeouts: {total: 300ms, idle: 60s, first_byte: 60s, connect: 60s}}
    response: false
    stream: {framing: websocket, text: $.text}
"""


def websocket_frame(
    data: bytes = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes = b"",
    length: int | None = None,
) -> bytes:
    """One frame. `length`: what it says of its length, if that is not the truth."""
    size = len(data) if length is None else length
    masked = 0x80 if mask else 0
    if size < 126:
        said = struct.pack("!B", masked | size)
    elif size < 2**16:
        said = struct.pack("!BH", masked | 126, size)
    else:
        said = struct.pack("!BQ", masked | 127, size)
    if mask:
        data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return bytes([fin << 7 | reserved << 4 | opcode]) + said + mask + data


def text_message(said: str) -> bytes:
    """A message with a piece of the answer."""
    return websocket_frame(json.dumps({"text": said}).encode())


def close_frame(code: int | None = None, reason: str = "") -> bytes:
    """The server's word that it closes."""
    return websocket_frame(b"" if code is None else struct.pack("!H", code) + reason.encode(), CLOSE)


def handshake_response(request: Request) -> bytes:
    """The server's part of the handshake."""
    key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = b64encode(sha1(key.encode()).digest()).decode()
    return head(101, upgrade="websocket", connection="Upgrade", sec_websocket_accept=accept)


async def accept_handshake(peer: Connection) -> Request | None:
    """Shake hands; None where the client has gone."""
    request = await peer.request()
    if request is not None:
        await peer.send(handshake_response(request))
    return request


async def read_frame(peer: Connection) -> tuple[int, bytes]:
    """The client's next frame: its opcode and payload. It must be whole, and masked as clients must."""
    begin = await peer.read(2)
    if not begin:
        raise ConnectionResetError
    first, second = begin
    assert first & 0xF0 == 0x80
    assert second & 0x80
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(await peer.read(2 if size == 126 else 8), "big")
    mask, data = await peer.read(4), await peer.read(size)
    return first & 0xF, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def websocket_responder(*pieces: bytes, stays: bool = False) -> Callable[[Connection], Awaitable[None]]:
    """Hears one request and says these bytes, then closes, or does not."""

    async def behave(peer: Connection) -> None:
        if await accept_handshake(peer) is None:
            return
        await read_frame(peer)
        for piece in pieces:
            await peer.send(piece)
        if stays:
            await peer.wait_closed()

    return behave


@asynccontextmanager
async def run_websocket_server(
    answer: Callable[[web.WebSocketResponse, Any], Awaitable[None]],
    *others: web.RouteDef,
    allowed: Callable[[web.Request], bool] = lambda request: True,
) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A real websocket server whose answers to a request are these; its URL, and the handshakes it saw."""
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.WebSocketResponse:
        seen.append(request)
        if not allowed(request):
            raise web.HTTPUnauthorized
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        await answer(websocket, await websocket.receive_json())
        return websocket

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", handle), *others])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0]), seen
    finally:
        await runner.cleanup()
