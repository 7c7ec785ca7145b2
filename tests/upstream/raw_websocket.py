"""A websocket server on a raw socket, which can violate the protocol: handshakes, frames and routes.

websocket_responder(text_message("hello"), close_frame(1000))      one connection: handshake, request, frames
websocket_frame(b"…", reserved=1)                                  any frame, valid by RFC 6455 or not
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.raw_upstream import Handler, head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
    "text_message",
    "websocket_app",
    "websocket_frame",
    "websocket_responder",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

# `done`: a message marks the end. `open`: the upstream closes at the end. `raw`: messages are the text.
WEBSOCKET_ROUTES = """
x-common: &common
  upstream: &upstream
    url: ${UPSTREAM}/chat
    timeouts: {connect: 60s, send: 300ms, first_byte: 300ms, idle: 300ms}
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
    """Return a frame; `length` replaces its correct length."""
    size = len(data) if length is None else length
    masked = 0x80 if mask else 0
    if size < 126:
        content = struct.pack("!B", masked | size)
    elif size < 2**16:
        content = struct.pack("!BH", masked | 126, size)
    else:
        content = struct.pack("!BQ", masked | 127, size)
    if mask:
        data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return bytes([fin << 7 | reserved << 4 | opcode]) + content + mask + data


def text_message(content: str) -> bytes:
    """Return a message with a piece of text."""
    return websocket_frame(json.dumps({"text": content}).encode())


def close_frame(code: int | None = None, reason: str = "") -> bytes:
    """Return a close frame."""
    return websocket_frame(b"" if code is None else struct.pack("!H", code) + reason.encode(), CLOSE)


def handshake_response(request: Request) -> bytes:
    """Return the response that accepts a handshake."""
    key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = b64encode(sha1(key.encode()).digest()).decode()
    return head(101, upgrade="websocket", connection="Upgrade", sec_websocket_accept=accept)


async def accept_handshake(peer: Connection) -> Request | None:
    """Accept a handshake and return its request, None if the client has disconnected."""
    request = await peer.request()
    if request is not None:
        await peer.send(handshake_response(request))
    return request


async def read_frame(peer: Connection) -> tuple[int, bytes]:
    """Return opcode and payload of the next frame, after asserting that the frame is final and masked."""
    first_bytes = await peer.read(2)
    if not first_bytes:
        raise ConnectionResetError
    first, second = first_bytes
    assert first & 0xF0 == 0x80
    assert second & 0x80
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(await peer.read(2 if size == 126 else 8), "big")
    mask, data = await peer.read(4), await peer.read(size)
    return first & 0xF, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def websocket_responder(*pieces: bytes, waits: bool = False) -> Handler:
    """Return a handler that reads one request, sends these bytes, and then closes or waits."""

    async def behave(peer: Connection) -> None:
        if await accept_handshake(peer) is None:
            return
        await read_frame(peer)
        for piece in pieces:
            await peer.send(piece)
        if waits:
            await peer.wait_closed()

    return behave


def websocket_app(
    respond: Callable[[web.WebSocketResponse, Any], Awaitable[None]],
    *routes: web.RouteDef,
    allowed: Callable[[web.Request], bool] = lambda request: True,
) -> tuple[web.Application, list[web.Request]]:
    """Return an application of websockets for `serve_app`, and the list of its handshakes."""
    handshakes: list[web.Request] = []

    async def handle(request: web.Request) -> web.WebSocketResponse:
        handshakes.append(request)
        if not allowed(request):
            raise web.HTTPUnauthorized
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        await respond(websocket, await websocket.receive_json())
        return websocket

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", handle), *routes])
    return app, handshakes
