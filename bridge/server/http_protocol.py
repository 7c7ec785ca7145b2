"""One connection of a client: its requests, one after the other, and their replies (HTTP/1.1, RFC 9112).

    bytes ─▶ httptools ─▶ Request ─▶ server.answer(request) ─▶ Reply ─▶ bytes

A request is answered from its head on, while its body may still arrive; those behind it wait their turn.
What is no HTTP is answered too, in its turn, and nothing behind it is read. When the client leaves, whatever
is done for it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from bridge.core.errors import RequestError
from bridge.core.headers import header_bytes, lower_names
from bridge.server.request import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.server.response import Response

__all__ = ["HTTPProtocol"]

_MAX_LINE_SIZE = 8190  # bytes of a request's target, or of a header
_MAX_HEAD_SIZE = 2**16  # bytes of all of them
_HIGH_WATER = 2**18  # bytes of a body that may wait for someone who takes them
_MAX_PIPELINED = 128  # requests that may wait behind the one that is answered
_HEAD_TIMEOUT_CHECKS = 6  # looks at a head that does not end
_KEEPALIVE_CHECKS = (
    363  # looks at a connection in no use: an hour, since a proxy in front wants to be who closes
)
_LINGERING_TIME = (
    10.0  # seconds for the rest of a body that nobody wants: closing at once would lose the reply
)
_CLOSE_DELAY = 2.0  # the same behind what is no request


class ConnectionOwner(Protocol):
    """What a connection belongs to. `answer` raises ConnectionError alone: it cannot be gone on with."""

    on_request: Callable[[Request], Awaitable[Response]]

    def connection_opened(self, client: HTTPProtocol) -> None:
        """A client has come."""

    def connection_closed(self, client: HTTPProtocol) -> None:
        """It is gone."""


class HTTPProtocol(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_buffered_body",
        "_check_line_length",
        "_drain_waiter",
        "_ending",
        "_head_bytes",
        "_head_checks",
        "_idle_checks",
        "_loop",
        "_next_request",
        "_parser",
        "_paused",
        "_queue",
        "_raw_headers",
        "_receiving",
        "_replayed_head",
        "_server",
        "_task",
        "_transport",
        "_url_parts",
        "on_header",
        "on_url",
        "writing_paused",
    )  # fmt: skip

    _task: asyncio.Task[None]

    def __init__(self, server: ConnectionOwner) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._url_parts: list[bytes] = []  # empty but within a head
        self._raw_headers: dict[bytes, bytes] = {}
        self.on_url = self._url_parts.append
        self.on_header = self._raw_headers.setdefault  # of several by one name the first stands
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._head_bytes = 0  # bytes of a head in what came after its beginning
        self._check_line_length = False
        self._replayed_head = b""
        self._receiving: Request | None = None  # whose body is not over
        self._buffered_body = 0  # bytes of that
        self._queue: deque[Request] = deque()
        self._next_request: asyncio.Future[None] | None = None  # the next request is waited for
        self._drain_waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._ending = False  # no more requests are taken
        self._idle_checks = 0  # at it since its last reply
        self._head_checks = 0  # at a head that is not over
        self.writing_paused = False

    @property
    def closing(self) -> bool:
        """Whether the reply that is made now is the last one."""
        return self._ending and not self._queue

    def write(self, data: bytes) -> None:
        """Bytes for the client. Raises ConnectionResetError where it has left."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        transport.write(data)

    async def drain(self) -> None:
        """Wait until the client takes more."""
        if self.writing_paused:
            if self._drain_waiter is None:
                self._drain_waiter = self._loop.create_future()
            await asyncio.shield(self._drain_waiter)  # others may wait for it too

    def body_consumed(self, size: int) -> None:
        """So many bytes of a body wait no longer."""
        self._buffered_body -= size
        self._resume_reading()

    def close_gracefully(self) -> None:
        """Take no more requests; close the connection when those that came are answered."""
        self._ending = True
        self._notify_request()

    async def abort(self) -> None:
        """Close the connection now."""
        if self._transport is not None:
            self._transport.abort()
        self._task.cancel()
        await asyncio.wait([self._task])

    def check_timeouts(self, between: float) -> None:
        """See whether it is of any use still, so many seconds after the look before."""
        self._idle_checks += 1
        self._head_checks = self._head_checks + 1 if self._url_parts else 0
        if self._head_checks > _HEAD_TIMEOUT_CHECKS:
            said = f"the request's head did not end in {_HEAD_TIMEOUT_CHECKS * between:g} s"
            self._reject(RequestError(408, said, code="request_timeout"))
        elif self._next_request is not None and self._idle_checks > _KEEPALIVE_CHECKS:
            self.close_gracefully()

    def _reject(self, fault: RequestError) -> None:
        """What comes is no request as it should be: say so in its turn, and read no more."""
        self._parser = None
        if self._receiving is not None:
            self._receiving.set_exception(fault)
        elif not self._ending:
            request = Request(self, "", b"/", {})
            request.keep_alive = False
            request.set_exception(fault)
            self._queue.append(request)
        self.close_gracefully()

    def _head_within_limits(self, target: bytes) -> bool:
        named = self._raw_headers
        longest = max(map(len, [target, *named, *named.values()]))
        return longest <= _MAX_LINE_SIZE and len(target) + header_bytes(named) <= _MAX_HEAD_SIZE

    async def _serve(self) -> None:
        """Answer requests until there are no more."""
        queue = self._queue
        try:
            while queue or not self._ending:
                if not queue:
                    self._next_request = self._loop.create_future()
                    await self._next_request
                    self._next_request = None
                    continue
                request = queue.popleft()
                reply = await self._server.on_request(request)
                reply.flush()
                if self.writing_paused:
                    await self.drain()
                if request.body_incomplete:
                    await _linger(request)
                if not reply.keep_alive:
                    break
                self._idle_checks = 0
            transport = self._transport
            if self._parser is None and transport is not None and not transport.is_closing():
                transport.write_eof()
                await asyncio.sleep(_CLOSE_DELAY)  # or until the client has closed it
        except ConnectionError:
            pass  # the client has left, or must see that something broke
        finally:
            self._ending = True
            if self._transport is not None:
                self._transport.close()

    def _notify_request(self) -> None:
        if self._next_request is not None and not self._next_request.done():
            self._next_request.set_result(None)

    def _resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # of a stream, as its server made it
        self._server.connection_opened(self)
        self._task = self._loop.create_task(self._serve())

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = self._parser = None
        self._ending = True
        self._server.connection_closed(self)
        self.resume_writing()
        self._task.cancel()

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self._drain_waiter is not None:
            self._drain_waiter.set_result(None)
            self._drain_waiter = None

    def data_received(self, data: bytes) -> None:
        while data and self._parser is not None:
            if self._url_parts:
                self._head_bytes += len(data)
            self._check_line_length = len(data) > _MAX_LINE_SIZE
            try:
                self._parser.feed_data(data)
                data = b""
            except HttpParserUpgrade as upgrade:
                # To another protocol there is no way from here: it is read as if it were not asked for.
                data = self._replayed_head + data[upgrade.args[0] :]
                self._parser = HttpRequestParser(self)
            except HttpParserError as error:
                self._reject(_invalid_http(str(error)))
        if self._head_bytes > _MAX_HEAD_SIZE and self._parser is not None:
            self._reject(_invalid_http(f"its head is over {_MAX_HEAD_SIZE} bytes"))

    # What the parser calls.

    def on_headers_complete(self) -> None:
        parser = self._parser
        target, named = b"".join(self._url_parts), self._raw_headers
        self._url_parts.clear()
        if parser is None or self._ending:
            return
        if (self._check_line_length or self._head_bytes) and not self._head_within_limits(target):
            self._reject(
                _invalid_http(
                    f"a line of its head is over {_MAX_LINE_SIZE} bytes, or all are over {_MAX_HEAD_SIZE}"
                )
            )
            return
        self._head_bytes = 0
        method = parser.get_method()
        if parser.should_upgrade() and method != b"CONNECT":
            self._replayed_head = _strip_upgrade(method, target, named)
            return
        request = self._receiving = Request(self, method.decode(), target, lower_names(named))
        named.clear()
        request.is_http11 = parser.get_http_version() == "1.1"
        request.keep_alive = parser.should_keep_alive()
        self._buffered_body = 0
        self._queue.append(request)
        self._notify_request()

    def on_body(self, data: bytes) -> None:
        if self._receiving is not None:
            self._receiving.feed_data(data)
            self._buffered_body += len(data)
            if self._buffered_body > _HIGH_WATER and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._raw_headers.clear()  # of trailers: nobody looks at these
        request, self._receiving = self._receiving, None
        if request is None:
            return
        request.feed_eof()
        if self._paused:
            self._resume_reading()
        if len(self._queue) >= _MAX_PIPELINED or request.method == "CONNECT":
            request.keep_alive = False
        if not request.keep_alive:
            self._ending = True


async def _linger(request: Request) -> None:
    """Let the client finish a body that nobody reads: it may look for its reply only then."""
    with suppress(TimeoutError, RequestError):
        async with asyncio.timeout(_LINGERING_TIME):
            while await request.read_chunk():
                pass


def _invalid_http(why: str) -> RequestError:
    return RequestError(400, f"the request is not HTTP as it should be: {why}", code="bad_request")


def _strip_upgrade(method: bytes, target: bytes, named: dict[bytes, bytes]) -> bytes:
    """A head that does not ask for another protocol."""
    kept = [b"%b: %b\r\n" % field for field in named.items() if field[0].lower() != b"upgrade"]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, b"".join(kept))
