"""One connection to a server: requests out, answers in, one after the other (HTTP/1.1, RFC 9112).

    wire.ask(…) ─▶ await wire.head() ─▶ status, headers ─▶ await wire.pump(take) ─▶ take(data), …

What arrives is handed over at once, within the event loop's own call: a stream wakes no task for its pieces,
only for its end. `take` says whether it wants more; while it does not, nothing is read.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.headers import Headers, header_bytes, lower_names
from bridge.upstream.content_encoding import content_decoder
from bridge.upstream.errors import ProtocolError, to_upstream_error
from bridge.upstream.timeouts import ResponseTimeouts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.connector import Connection

    from bridge.routes.rules.settings import TimeoutsSpec
    from bridge.upstream.content_encoding import ContentDecoder
    from bridge.upstream.response import ByteSink

__all__ = ["HTTPConnection"]

_HIGH_WATER = 2**18  # bytes that may wait for someone who takes them
_MAX_HEAD_SIZE = 2**16  # bytes of an answer's headers
_BODILESS = (204, 304)


class HTTPConnection(asyncio.Protocol):
    """A connection that was made by aiohttp, whose pool, DNS, TLS and proxies stay what they are.

    `fresh`: it has not answered yet. `heard`: some of an answer has come. `over`: all of it. `error`: why no
    more of it comes. `waiting`: someone waits for more.
    """

    __slots__ = (
        "_body_until_close",
        "_buffer",
        "_connection",
        "_decoder",
        "_keeps",
        "_loop",
        "_lost",
        "_named",
        "_parser",
        "_patience",
        "_paused",
        "_sink",
        "_transport",
        "_unfinished",
        "_url",
        "_waiter",
        "active",
        "error",
        "headers",
        "never_used",
        "on_header",
        "response_complete",
        "response_started",
        "status",
    )  # fmt: skip

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._patience = ResponseTimeouts(self)
        self._named: dict[bytes, bytes] = {}
        self.on_header = self._named.setdefault  # of several by one name the first stands
        self._parser = HttpResponseParser(self)
        # What aiohttp's parser passes over too: old servers are what this is for.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._buffer: list[bytes] = []
        self._waiter: asyncio.Future[bool] | None = None
        self._sink: ByteSink | None = None
        self._decoder: ContentDecoder | None = None
        self._paused = False
        self._body_until_close = False
        self._keeps = True
        self._lost = False
        self._unfinished = 0
        self._url = ""
        self.active = False
        self.response_started = False
        self.response_complete = False
        self.never_used = True
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.error: Exception | None = None
        transport.set_protocol(self)

    @property
    def is_reusable(self) -> bool:
        """Whether it can be asked again."""
        return self._keeps and not self._transport.is_closing()

    @property
    def pending_write_bytes(self) -> int:
        """How many bytes of the request are still here."""
        # asyncio's TLS cannot be asked once the connection is lost.
        return 0 if self._lost else self._transport.get_write_buffer_size()

    @property
    def has_reader(self) -> bool:
        """Whether someone waits for what comes next."""
        return self._waiter is not None and not self._waiter.done()

    def send(self, head: bytes, body: bytes, url: str, timeouts: TimeoutsSpec, begun: float) -> None:
        """Send a request for a URL; the time for it began at `begun`, in seconds of the loop's clock."""
        self._url = url
        self.active = True
        self.response_started = self.response_complete = self._body_until_close = False
        self.status = self._unfinished = 0
        self.error = None
        if self._paused:
            self._resume()
        self._patience.start(timeouts, begun)
        if len(body) < _HIGH_WATER:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def wait_headers(self) -> asyncio.Future[bool]:
        """What tells that status and headers have come, or `error`."""
        waiter = self._new_waiter(None)
        if self.status or self.error is not None:
            waiter.set_result(True)
        return waiter

    async def read_into(self, sink: ByteSink) -> None:
        """Feed the body to a sink, until the end or until the sink wants no more for now.

        Raise UpstreamError where the body stalls or breaks off, and any exception of the sink.
        """
        while True:
            if self._buffer and not sink.feed(self._take_buffer()):
                return
            if self.error is not None:
                if isinstance(self.error, UpstreamError):
                    raise self.error
                raise to_upstream_error(self.error, self._url, self._patience.timeouts) from self.error
            if self.response_complete:
                return
            if self._paused:
                self._resume()
            self._patience.expect_data()
            if not await self._new_waiter(sink):
                return

    def release(self) -> bool:
        """The answer is not wanted any more; whether the connection can be used for another one."""
        self.active = False
        self.never_used = False
        self._waiter = self._sink = None
        good = (
            self.response_complete
            and self.error is None
            and not self._buffer
            and not self.pending_write_bytes
            and self.is_reusable
        )
        self._buffer.clear()
        if not good:
            self.close()
        return good

    def close(self) -> None:
        """Close the connection."""
        self._keeps = False
        self._patience.stop()
        if self.pending_write_bytes:
            self._transport.abort()  # who does not read the rest of a request would hold it for ever
        self._connection.close()  # aiohttp's pool forgets it, and closes the transport

    def set_exception(self, error: Exception) -> None:
        """Nothing more of the answer is awaited."""
        if self.active and not self.response_complete and self.error is None:
            self.error = error
            self._keeps = False
            self._wake()

    def _new_waiter(self, sink: ByteSink | None) -> asyncio.Future[bool]:
        """What comes next; whether that was not refused by `take`."""
        self._sink = sink
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()

    def _take_buffer(self) -> bytes:
        data = b"".join(self._buffer)
        self._buffer.clear()
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    def data_received(self, data: bytes) -> None:
        if not self.active:  # a word that nobody asked for: whose answer it is cannot be known
            self.close()
            return
        self.response_started = True
        self._patience.register_activity()
        try:
            self._parser.feed_data(data)
            if not self.status:
                self._unfinished += len(data)
                if self._unfinished > 2 * _MAX_HEAD_SIZE:  # its headers decide, unless they do not end
                    raise _too_long()
        except (HttpParserError, HttpParserUpgrade, UpstreamError) as error:
            self._keeps = False
            self.set_exception(_failure(error))
        self._deliver()

    def _deliver(self) -> None:
        """Give what has come to whoever waits for it."""
        waiter, sink = self._waiter, self._sink
        if waiter is None or waiter.done():
            if not self._paused and self._buffer and sum(map(len, self._buffer)) > _HIGH_WATER:
                self._paused = True
                self._transport.pause_reading()
        elif sink is None:
            if self.status:
                waiter.set_result(True)
        else:
            parts = self._buffer
            try:
                more: bool = not parts or sink.feed(parts.pop() if len(parts) == 1 else self._take_buffer())
            except Exception as error:
                waiter.set_exception(error)
            else:
                if not more or self.response_complete or self.error is not None:
                    waiter.set_result(more)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._connection.close()
        self._keeps = False
        if not self.active or self.response_complete:
            return
        try:
            # Who refuses a request without reading all of it resets the connection: what he said stands.
            refused = self.status >= 400
            if not (self.status and self._body_until_close) or not (error is None or refused):
                raise aiohttp.ServerDisconnectedError
            self._end()
            self._wake()
        except (UpstreamError, aiohttp.ServerDisconnectedError) as broken:
            self.set_exception(broken)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.response_complete:  # another answer behind the one that was asked for
            self._keeps = False

    def on_headers_complete(self) -> None:
        if header_bytes(self._named) > _MAX_HEAD_SIZE:
            raise _too_long()
        named = lower_names(self._named)
        self._named.clear()
        status = self._parser.get_status_code()
        if 100 <= status < 200 or self.response_complete:
            return
        bounded = b"content-length" in named or status in _BODILESS
        self._body_until_close = not (bounded or b"chunked" in named.get(b"transfer-encoding", b"").lower())
        self.headers = Headers(named)
        self._decoder = (
            content_decoder(self.headers["content-encoding"]) if b"content-encoding" in named else None
        )
        self.status = status

    def on_body(self, data: bytes) -> None:
        if self.response_complete:
            return
        if self._decoder is not None:
            data = self._decoder.feed(data)
        if data:
            self._buffer.append(data)

    def on_message_complete(self) -> None:
        self._named.clear()  # of trailers: nobody looks at these
        if self.status and not self.response_complete:
            self._keeps = self._keeps and self._parser.should_keep_alive()
            self._end()

    def _end(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
        self.response_complete = True


def _failure(error: Exception) -> Exception:
    """Why the parser gave up: what was raised in what it called, or what it found."""
    for raised in (error, error.__context__):
        if isinstance(raised, UpstreamError):
            return raised
    if isinstance(error, HttpParserUpgrade):
        return ProtocolError("it changes to another protocol")
    return ProtocolError(str(error))


def _too_long() -> UpstreamError:
    return UpstreamError(UpstreamFailure.MALFORMED, f"the upstream's headers are over {_MAX_HEAD_SIZE} bytes")
