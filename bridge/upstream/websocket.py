"""Upstreams on WebSockets: the request is one message, the response is many.

    response = await client.open(request, url, transport, started)     the first message has arrived
    await response.read_into(sink)                                     sink.feed(message) for every message
    await response.close()

The first message takes the place of the head of an HTTP response: before it arrives, the request can be
retried. Messages are handed on with their length before them, for the framing `websocket`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import WSMsgType

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.framing.length_delimited import encode_message
from bridge.upstream.response import UpstreamResponse
from bridge.upstream.timeouts import Deadline
from bridge.upstream.websocket_connect import HandshakeRejected, WebSocketConnector

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.transport import TransportSpec
    from bridge.upstream.resolver import Resolver
    from bridge.upstream.response import ByteSink
    from bridge.upstream.tls import SSLContextCache
    from bridge.upstream.websocket_connect import WebSocket

__all__ = ["WebSocketClient", "WebSocketResponse"]

_CLOSE_TIMEOUT = 0.5  # seconds for the upstream's part of the closing handshake
_NORMAL_CLOSE_CODES = (0, 1000)  # 0: the close frame had no code (RFC 6455, 7.1.5: 1005)


class WebSocketClient:
    """Opens WebSockets and sends requests on them. A WebSocket carries one request."""

    def __init__(self, contexts: SSLContextCache, resolver: Resolver) -> None:
        self._connector = WebSocketConnector(contexts, resolver)

    async def close(self) -> None:
        """Close every connection."""
        await self._connector.close()

    async def open(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, started: float
    ) -> UpstreamResponse:
        """Connect, and send the body of the request as a message. Raise UpstreamError.

        Return the response, or the HTTP response of an upstream that rejected the handshake.
        """
        deadline = Deadline(transport.timeouts, url, started)
        websocket = await self._connector.connect(request, url, transport, deadline)
        if isinstance(websocket, HandshakeRejected):
            return websocket
        try:
            first = await _send_and_receive(websocket, request.body or b"", deadline)
        except BaseException:
            await _close(websocket)
            raise
        return WebSocketResponse(websocket, first, deadline)


class WebSocketResponse(UpstreamResponse):
    """The messages of an upstream."""

    __slots__ = ("_complete", "_deadline", "_first", "_messages", "_websocket")

    def __init__(self, websocket: WebSocket, first: Any, deadline: Deadline) -> None:
        self._websocket = websocket
        self._first = first
        self._deadline = deadline
        self._messages = self._receive_all()
        self._complete = False
        self.status = 200
        self.headers = {}

    @property
    def complete(self) -> bool:
        return self._complete

    async def read_into(self, sink: ByteSink) -> None:
        async for data in self._messages:
            if not sink.feed(data):
                return
        self._complete = True

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109
        """Do nothing: a WebSocket is not reused."""

    async def close(self) -> None:
        await self._messages.aclose()
        await _close(self._websocket)

    async def _receive_all(self) -> AsyncGenerator[bytes, None]:
        idle = self._deadline.timeouts.idle
        received = self._first
        while True:
            match received.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    yield encode_message(received.data)
                case WSMsgType.PING | WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE if received.data in _NORMAL_CLOSE_CODES:
                    return
                case _:
                    raise _close_error(received)
            received = await self._deadline.wait_for(
                idle, _receive(self._websocket), f"nothing arrived for {idle:g} s"
            )


async def _send_and_receive(websocket: WebSocket, body: bytes, deadline: Deadline) -> Any:
    """Send a request and return the first message, or the normal close of an empty response."""
    limit = deadline.timeouts.first_byte
    send = deadline.timeouts.send
    await deadline.wait_for(send, _send(websocket, body), f"the request was not accepted within {send:g} s")
    first = await deadline.wait_for(
        limit, _receive_first(websocket), f"no message arrived within {limit:g} s"
    )
    if first.type not in (WSMsgType.TEXT, WSMsgType.BINARY) and first.data not in _NORMAL_CLOSE_CODES:
        raise _close_error(first)
    return first


async def _send(websocket: WebSocket, body: bytes) -> None:
    with suppress(ConnectionError):  # the reason for a close is among the messages received before
        await websocket.send_frame(body, WSMsgType.TEXT)


async def _receive_first(websocket: WebSocket) -> Any:
    """Return the next message or close. A ping or pong does not begin the response."""
    while (received := await _receive(websocket)).type in (WSMsgType.PING, WSMsgType.PONG):
        pass
    return received


async def _receive(websocket: WebSocket) -> Any:
    """Return the next frame or close, and answer a ping."""
    received = await websocket.receive()
    if received.type is WSMsgType.PING:
        with suppress(ConnectionError):  # messages sent before the close are still to be read
            await websocket.pong(received.data)
    return received


async def _close(websocket: WebSocket) -> None:
    """Close a WebSocket, with a bound on the wait: an upstream may go on sending instead of closing."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await websocket.close()


def _close_error(received: Any) -> UpstreamError:
    """Return the error for a close that does not mark a complete response."""
    error = received.data
    match received.type:
        case WSMsgType.CLOSE:
            reason = f": {received.extra}" if received.extra else ""
            return UpstreamError(
                UpstreamFailure.DISCONNECT,
                "the upstream closed the WebSocket before its response was complete, "
                f"with {received.data}{reason}",
            )
        case WSMsgType.ERROR if isinstance(error, aiohttp.WebSocketError):
            if error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                return UpstreamError(
                    UpstreamFailure.LIMIT,
                    "the upstream sent a message that is too large (limits.frame of the route)",
                )
            return UpstreamError(
                UpstreamFailure.MALFORMED, f"the upstream sent an invalid WebSocket frame: {error}"
            )
        case _:
            return UpstreamError(
                UpstreamFailure.DISCONNECT,
                "the upstream closed the connection before its response was complete",
            )
