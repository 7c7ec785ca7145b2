"""One connection to an upstream: requests out, responses in, one after the other (HTTP/1.1, RFC 9112).

    await connection.send(head, body, …)       the head of the response has arrived: status, headers
    await connection.read_into(sink)           sink.feed(data) for every network read, until the end
    connection.release()                       whether the connection can be reused

Bytes are handed to the sink within the event loop's own call, so that no task wakes for a chunk, only for the
end of the response. While the sink wants no more, nothing is read from the socket.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from typing import TYPE_CHECKING

import aiohttp

from bridge.core.errors import UpstreamError
from bridge.upstream.errors import ProtocolError, tls_closed, to_upstream_error
from bridge.upstream.response_parser import ResponseParser, ResponseState
from bridge.upstream.timeouts import ResponseTimeouts

if TYPE_CHECKING:
    from aiohttp.connector import Connection

    from bridge.routes.rules.transport import ConnectionsSpec, TimeoutsSpec
    from bridge.upstream.errors import NetworkError
    from bridge.upstream.origin import Origin
    from bridge.upstream.response import ByteSink

__all__ = ["HTTPConnection"]

_HIGH_WATER = 2**18  # bytes of a body that wait for a sink before reading is paused

_IDLE, _COMPLETE = ResponseState.IDLE, ResponseState.COMPLETE


class HTTPConnection(asyncio.Protocol):
    """A connection made by aiohttp's connector, which brings DNS, TLS and proxies."""

    __slots__ = (
        "_connection", "_loop", "_lost", "_poll", "_reading_paused", "_retires_at", "_sink", "_timeouts",
        "_transport", "_url", "_waiter", "idle_until", "origin", "response",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        transport: asyncio.Transport,
        origin: Origin,
        settings: ConnectionsSpec,
    ) -> None:
        # Per connection.
        self._connection = connection  # by which the connector counts its open connections
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._timeouts = ResponseTimeouts(self)
        self._lost = False  # whether the event loop has reported the end of the connection
        self._poll: select.poll | None = None  # of the socket, made when the connection is first reused
        self._reading_paused = False
        self.response = ResponseParser()
        self.response.idle_timeout = settings.idle
        self.origin = origin
        self._retires_at = self._loop.time() + settings.max_age
        self.idle_until = 0.0  # when the connection becomes too old to be reused, by the loop's clock
        # Per request.
        self._url = ""
        self._sink: ByteSink | None = None  # None while the head is awaited
        self._waiter: asyncio.Future[bool] | None = None  # the result: whether the sink wants more
        transport.set_protocol(self)

    @property
    def is_reusable(self) -> bool:
        """Return whether another request can be sent."""
        return self.response.keep_alive and not self._transport.is_closing()

    @property
    def is_fresh(self) -> bool:
        """Return whether an idle connection can be reused, and the upstream has probably not closed it."""
        if (
            not self.response.keep_alive
            or self.idle_until <= self._loop.time()
            or self._transport.is_closing()
        ):
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        # The event loop reports the end of a connection only in its next iteration; the system, at once.
        return not self._poll.poll(0)

    @property
    def pending_write_bytes(self) -> int:
        """The bytes of the request that are not sent yet."""
        # asyncio's TLS transport raises once the connection is lost.
        return 0 if self._lost else self._transport.get_write_buffer_size()

    @property
    def is_awaited(self) -> bool:
        """Return whether a task waits for the upstream, and not for a slow client."""
        return self._waiter is not None and not self._waiter.done()

    def send(
        self, head: bytes, body: bytes, url: str, timeouts: TimeoutsSpec, started: float
    ) -> asyncio.Future[bool]:
        """Send a request. Return a future that is done when the response has a head or an error.

        `timeouts.total` counts from `started`, in seconds of the loop's clock.
        """
        self._url = url
        self.response.start()
        self._resume_reading()
        self._timeouts.start(timeouts, started)
        if len(body) < _HIGH_WATER:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        return self._wait(None)

    async def read_into(self, sink: ByteSink) -> None:
        """Feed the body to a sink, until the end or until the sink wants no more for now.

        Raise UpstreamError where the body stalls or breaks off, and any exception of the sink.
        """
        response = self.response
        while True:
            if response.body and not sink.feed(response.take_body()):
                return
            if response.error is not None:
                raise response.error
            if response.state is _COMPLETE:
                return
            self._resume_reading()
            self._timeouts.expect_data()
            if not await self._wait(sink):
                return

    def release(self) -> bool:
        """Discard the response. Return whether the connection can be reused, and close it otherwise."""
        response = self.response
        reusable = (
            response.state is _COMPLETE
            and response.keep_alive
            and not response.body
            and not self._transport.is_closing()
            and not self.pending_write_bytes
        )
        response.reset()
        self._waiter = self._sink = None
        self.idle_until = min(self._loop.time() + response.idle_timeout, self._retires_at)
        if not reusable:
            self.close()
        return reusable

    def close(self) -> None:
        """Close the connection."""
        self.response.keep_alive = False
        self._timeouts.stop()
        if self.pending_write_bytes:
            self._transport.abort()  # an upstream that reads no further would keep a closing connection open
        self._connection.close()

    def fail(self, error: NetworkError | UpstreamError) -> None:
        """End a response that is not complete."""
        if isinstance(error, UpstreamError):
            self._fail(error)
        else:
            self._fail(to_upstream_error(error, self._url, self._timeouts.timeouts))

    def _fail(self, error: Exception) -> None:
        response = self.response
        response.keep_alive = False
        if response.state not in (_IDLE, _COMPLETE) and response.error is None:
            response.error = error
            self._notify_request()

    def _wait(self, sink: ByteSink | None) -> asyncio.Future[bool]:
        """Return a future of the next event: the head, the end, an error, or a sink that wants no more."""
        self._sink = sink
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _notify_request(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    # Callbacks of the event loop.

    def data_received(self, data: bytes) -> None:
        response = self.response
        if response.state is _IDLE:  # bytes that answer no request could be taken for the next response
            self.close()
            return
        self._timeouts.last_activity = self._loop.time()
        try:
            response.feed(data)
        except (ProtocolError, UpstreamError) as error:
            self.fail(error)
        except Exception as error:  # a fault of the bridge, which ends the request as one
            self._fail(error)
        waiter, sink = self._waiter, self._sink
        if waiter is None or waiter.done():
            self._bound_backlog()
        elif sink is None:
            if response.status:
                waiter.set_result(True)
        else:
            try:
                wants_more = not response.body or sink.feed(response.take_body())
            except Exception as error:
                waiter.set_exception(error)
            else:
                if not wants_more or response.state is _COMPLETE:
                    waiter.set_result(wants_more)

    def _bound_backlog(self) -> None:
        """Stop reading while much of the body waits for a sink."""
        if not self._reading_paused and sum(map(len, self.response.body)) > _HIGH_WATER:
            self._reading_paused = True
            self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._connection.close()
        response = self.response
        # An upstream that rejects a request before it has read all of it resets the connection: the error
        # response that it sent before is valid.
        if response.ends_with_connection and (error is None or response.status >= 400):
            self._end_with_connection()
        else:
            match error:
                case ssl.SSLError():
                    self.fail(tls_closed(error, self._url))
                case ConnectionResetError():
                    self.fail(error)
                case _:
                    self.fail(aiohttp.ServerDisconnectedError())

    def _end_with_connection(self) -> None:
        response = self.response
        response.keep_alive = False
        if response.state in (_IDLE, _COMPLETE):
            return
        try:
            response.end()
        except UpstreamError as error:
            self.fail(error)
        else:
            self._notify_request()
