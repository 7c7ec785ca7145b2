"""One connection of a client: aiohttp's server protocol with the bridge's limits, timeouts and errors.

    bytes ─▶ aiohttp's parser ─▶ Request ─▶ handler(request) ─▶ Response ─▶ bytes

`aiohttp.web.RequestHandler` parses requests, stops reading from clients that send faster than they are
answered, closes idle connections, and cancels the handler when the client disconnects. Added here: error
bodies for invalid requests, a timeout and a limit for heads, and a shutdown that answers all that arrived.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from bridge.core.errors import RequestError
from bridge.exchange.request_context import UNKNOWN_CLIENT, Client
from bridge.server.client_address import peer_address
from bridge.server.descriptors import unsent_bytes
from bridge.server.request import Request
from bridge.server.request_parser import RequestParser
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

    from bridge.server.http_server import HTTPServer

__all__ = ["SILENT_LOGGER", "HTTPProtocol"]

_KEEPALIVE_TIMEOUT = 3630.0  # seconds; over an hour, since a proxy in front should be the side that closes
_LINGERING_TIME = 10.0  # seconds for the rest of an unread body: closing at once could lose the response
_CLOSE_DELAY = 2.0  # seconds, for the same reason, after bytes that are not HTTP
_ABORT_TIMEOUT = 1.0  # seconds for handlers that are cancelled at shutdown
_MAX_PIPELINED = 32  # requests that wait for their turn before reading stops
_MAX_PIPELINED_BYTES = 2**18  # bytes of their bodies, likewise

SILENT_LOGGER = logging.getLogger("bridge.http")  # for aiohttp: the handlers log invalid requests themselves
SILENT_LOGGER.setLevel(logging.CRITICAL + 1)


class HTTPProtocol(web.RequestHandler):
    """One connection of a client.

    client: the other end of the connection.
    from_proxy: whether the other end is a trusted proxy.
    """

    __slots__ = (
        "_draining",  # whether no requests are accepted after those that arrived
        "_flushed",  # bytes that had left for the client when this was last checked
        "_handler",
        "_head_timer",
        "_moved",  # when bytes last left for the client, in seconds of the loop's clock
        "_requests",  # requests that wait for their turn
        "_server",
        "_written",  # bytes written for the client
        "client",
        "from_proxy",
    )

    def __init__(self, server: HTTPServer) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=_KEEPALIVE_TIMEOUT,
            logger=SILENT_LOGGER,
            access_log=None,  # type: ignore[arg-type] # as documented, but not as annotated
        )
        self._parser: RequestParser = RequestParser(self, loop)  # type: ignore[assignment]
        self._server = server
        self._handler = server.handler
        self._draining = False
        self.client = UNKNOWN_CLIENT
        self.from_proxy = False
        self._written = 0
        self._flushed = -1
        self._moved = 0.0
        self._head_timer: asyncio.TimerHandle | None = None
        self._requests: deque[Request] = deque()

    @property
    def closing(self) -> bool:
        """Return whether the connection closes after the response that is written now."""
        return self._draining and not self._requests

    def write(self, data: bytes) -> bool:
        """Write bytes. Return whether the client accepts more at once.

        Raise ConnectionResetError if the client has disconnected.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has disconnected")
        self._written += len(data)
        transport.write(data)
        return not self._paused

    async def drain(self) -> None:
        """Wait until the client accepts more."""
        if self._paused:
            # All waiters share one future, which the cancellation of one upstream call must not cancel.
            await asyncio.shield(self._drain_helper())

    @property
    def is_idle(self) -> bool:
        """Return whether the connection has no request and nothing to send."""
        transport, waiter = self.transport, self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and transport is not None
            and not transport.get_write_buffer_size()
        )

    def check_sending(self, now: float, timeout: float) -> None:
        """Disconnect a client that has read nothing of what was written for `timeout` seconds."""
        transport = self.transport
        if transport is None:
            return
        waiting = transport.get_write_buffer_size()
        if waiting:
            waiting += unsent_bytes(transport)
        flushed = self._written - waiting
        if not waiting or flushed != self._flushed:
            self._flushed, self._moved = flushed, now
        elif now - self._moved >= timeout:
            log("client disconnected, it read nothing", seconds=timeout, unread=waiting)
            transport.abort()

    def close_gracefully(self) -> None:
        """Close the connection after the responses to the requests that arrived."""
        self._draining = True
        if self._waiter is not None and not self._waiter.done():
            self.force_close()

    def cancel(self) -> None:
        """Cancel the request that is being answered, and with it the task of the connection."""
        if self._task_handler is not None:
            self._task_handler.cancel()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """Wait for the last response, and close the connection."""
        # aiohttp's own method drops the requests that wait behind the current one.
        task = self._task_handler
        if task is not None:
            await asyncio.wait([task], timeout=timeout)
            task.cancel()
            await asyncio.wait([task], timeout=_ABORT_TIMEOUT)
        self.force_close()

    # The task of the connection.

    async def start(self) -> None:
        """Answer requests, one after the other."""
        # aiohttp's own loop creates a task for each request, and objects that the bridge does not need:
        # together 7 % of the cost of a short response.
        requests = self._requests
        try:
            while requests or not self._draining:
                if not requests:
                    if self._waiter is None or self._waiter.done():
                        self._waiter = self._loop.create_future()
                    await self._waiter
                request = requests.popleft()
                if self._buffer_paused and self._queue_share() <= 0.5:
                    self._resume_reading_for_buffer()
                    self.data_received(b"")
                response = await self._handler(request)
                response.flush()
                if self._paused:
                    await self.drain()
                if request.body_incomplete:
                    await self._linger(request)
                if not response.keep_alive:
                    if request.error is not None or self._parser.invalid:
                        await self._delay_close()
                    break
                self._restart_keepalive()
        except ConnectionError:
            pass  # the client has disconnected, or must see that the response is incomplete
        finally:
            if self.transport is not None:
                self.transport.close()

    async def _linger(self, request: Request) -> None:
        """Read the rest of a body: the client may read the response only after sending all of the request."""
        with suppress(TimeoutError, RequestError):
            async with asyncio.timeout(_LINGERING_TIME):
                while await request.read_chunk():
                    pass

    async def _delay_close(self) -> None:
        """Give the client time to read the response: closing with unread input would reset the connection."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()
            await asyncio.sleep(_CLOSE_DELAY)

    def _restart_keepalive(self) -> None:
        self._next_keepalive_close_time = close_time = self._loop.time() + _KEEPALIVE_TIMEOUT
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)

    # Calls of the event loop, and of aiohttp's streams.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._server.admit(self):
            refused = cast("asyncio.Transport", transport)
            self._force_close = True  # ignore what arrives
            refused.write(self._server.refusal)
            refused.close()
            return
        address = peer_address(transport.get_extra_info("peername"))
        self.client = Client(address)
        self.from_proxy = self._server.is_proxy(address)
        self._waiter = self._loop.create_future()  # the connection is idle before its task runs
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.release(self)
        self._stop_head_timer()
        super().connection_lost(exc)

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """Read on if reading is paused. aiohttp calls this method for every body."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def data_received(self, data: bytes) -> None:
        if self._force_close:
            return
        self._parser.feed(data)
        if self._parser.head_size and self._head_timer is None:
            self._start_head_timer()
        if len(self._requests) > 1:
            self._pause_for_queue()

    # Calls of the parser.

    @property
    def reading_paused(self) -> bool:
        """Return whether bytes must wait: for the reader of a body, or for a shorter queue of requests."""
        return self._reading_paused or self._buffer_paused

    def request_received(self, message: RawRequestMessage, body: StreamReader) -> None:
        """Queue a request."""
        self._append(Request(message, body, self))

    def request_rejected(self, error: RequestError) -> None:
        """Queue an error, which is answered after the requests that arrived before."""
        self._append(Request(_NO_MESSAGE, EMPTY_PAYLOAD, self, error))

    def _append(self, request: Request) -> None:
        if self._head_timer is not None:
            self._stop_head_timer()
        self._requests.append(request)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if len(self._requests) > 1:
            self._pause_for_queue()

    def _pause_for_queue(self) -> None:
        """Stop reading if too much waits for its turn."""
        if not self._buffer_paused and self._queue_share() >= 1:
            self._pause_reading_for_buffer()

    def _queue_share(self) -> float:
        """Return how much waits for its turn, as a share of what may wait."""
        size = sum(request.received for request in self._requests)
        return max(len(self._requests) / _MAX_PIPELINED, size / _MAX_PIPELINED_BYTES)

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if self._parser.head_size:
            seconds = self._server.limits.first_request
            message = f"the head of the request is incomplete after {seconds:g} s"
            self._parser.reject(RequestError(408, message, code="request_timeout"))
        else:
            self.close_gracefully()  # a new connection that sends nothing

    def _start_head_timer(self) -> None:
        self._head_timer = self._loop.call_later(self._server.limits.first_request, self._head_timed_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


# Stands for bytes that are not HTTP.
_NO_MESSAGE = RawRequestMessage(
    "", "/", HttpVersion11, CIMultiDictProxy(CIMultiDict()), (), True, None, False, False, URL("/")
)
