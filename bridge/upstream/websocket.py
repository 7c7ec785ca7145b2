"""Model servers that answer over a websocket: the request is one message, the answer is many.

    socket = await sockets.open(request, url, transport, begun)   connected, asked, begun to answer
    socket.status, socket.headers                                 200, or why there is no websocket
    await socket.pump(take)                                       take(data): messages, as framed here
    await socket.close()

The first message is what the head is with HTTP: until it has come nothing was said, and all can be tried
again. Every wait has a limit, and what goes wrong is an UpstreamError.
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
    from collections.abc import AsyncGenerator, Mapping

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.settings import TransportSpec
    from bridge.upstream.response import ByteSink
    from bridge.upstream.tls import SSLContextCache
    from bridge.upstream.websocket_connect import WebSocket

__all__ = ["WebSocketClient", "WebSocketResponse"]

_CLOSING = 0.5  # seconds for the server's part in closing
_NORMAL_CLOSE_CODES = (0, 1000)  # closed without a word why; as agreed


class WebSocketClient:
    """Opens websockets and asks over them."""

    def __init__(self, contexts: SSLContextCache) -> None:
        self._handshakes = WebSocketConnector(contexts)

    async def close(self) -> None:
        """Close every connection."""
        await self._handshakes.close()

    async def open(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, begun: float
    ) -> WebSocketResponse:
        """Connect, send the request as a message, and give what comes back. Raises UpstreamError."""
        waiting = Deadline(transport.timeouts, url, begun)
        websocket = await self._handshakes.connect(request, url, transport, waiting)
        if isinstance(websocket, HandshakeRejected):
            return WebSocketResponse(waiting, refusal=websocket)
        try:
            return await _send_and_await_first(websocket, request.body or b"", waiting)
        except BaseException:
            await _close(websocket)
            raise


class WebSocketResponse(UpstreamResponse):
    """The answer that a websocket brings, or, where there is none, what the server said instead."""

    __slots__ = ("_complete", "_first", "_messages", "_refusal", "_waiting", "_websocket")

    def __init__(
        self,
        waiting: Deadline,
        websocket: WebSocket | None = None,
        first: Any = None,
        *,
        refusal: HandshakeRejected | None = None,
    ) -> None:
        self._waiting = waiting
        self._websocket = websocket
        self._first = first
        self._refusal = refusal
        self.status = refusal.status if refusal else 200
        headers = refusal.headers if refusal else {}
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in headers.items()}
        self._messages = self._messages_iter()
        self._complete = False

    @property
    def complete(self) -> bool:
        return self._complete

    async def read_into(self, sink: ByteSink) -> None:
        async for data in self._messages:
            if not sink.feed(data):
                return
        self._complete = True

    async def _messages_iter(self) -> AsyncGenerator[bytes, None]:
        if self._websocket is None:
            if self._refusal and self._refusal.body:
                yield self._refusal.body
            return
        idle = self._waiting.timeouts.idle
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
            received = await self._waiting.wait_for(
                idle, _received(self._websocket), f"nothing arrived for {idle:g} s"
            )

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109
        """Nothing is left behind the answer's last message that were worth waiting for."""

    async def close(self) -> None:
        """Close the websocket."""
        await self._messages.aclose()
        if self._websocket is not None:
            await _close(self._websocket)


async def _send_and_await_first(websocket: WebSocket, body: bytes, waiting: Deadline) -> WebSocketResponse:
    """Send the request and await the first message. Raises UpstreamError."""
    patience = waiting.timeouts.first_byte
    await waiting.wait_for(patience, _send(websocket, body), f"the request was not taken in {patience:g} s")
    first = await waiting.wait_for(patience, _first(websocket), f"no message came in {patience:g} s")
    if first.type not in (WSMsgType.TEXT, WSMsgType.BINARY) and first.data not in _NORMAL_CLOSE_CODES:
        raise _close_error(first)
    return WebSocketResponse(waiting, websocket, first)


async def _send(websocket: WebSocket, body: bytes) -> None:
    with suppress(ConnectionError):  # why it has closed is in what it sent before
        await websocket.send_frame(body, WSMsgType.TEXT)


async def _first(websocket: WebSocket) -> Any:
    """The first thing that is said. Pings are no answer."""
    while (received := await _received(websocket)).type in (WSMsgType.PING, WSMsgType.PONG):
        pass
    return received


async def _received(websocket: WebSocket) -> Any:
    """What arrives next. Pings are answered."""
    received = await websocket.receive()
    if received.type is WSMsgType.PING:
        with suppress(ConnectionError):  # what it sent before it closed is still to be read
            await websocket.pong(received.data)
    return received


async def _close(websocket: WebSocket) -> None:
    """Tell the server, and wait a moment for its word. It may go on sending for ever."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSING):
            await websocket.close()


def _close_error(received: Any) -> UpstreamError:
    """Why there are no further messages, though the server did not say that it is done."""
    error = received.data
    match received.type:
        case WSMsgType.CLOSE:
            reason = f": {received.extra}" if received.extra else ""
            return UpstreamError(
                UpstreamFailure.DISCONNECT,
                "the upstream closed the websocket before its answer was complete, "
                f"with {received.data}{reason}",
            )
        case WSMsgType.ERROR if isinstance(error, aiohttp.WebSocketError):
            if error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                return UpstreamError(
                    UpstreamFailure.LIMIT,
                    "the upstream sent a message that is too large (limits.frame of the route)",
                )
            return UpstreamError(
                UpstreamFailure.MALFORMED, f"the upstream does not speak the websocket protocol: {error}"
            )
        case _:
            return UpstreamError(
                UpstreamFailure.DISCONNECT,
                "the upstream's connection was closed before its answer was complete",
            )
