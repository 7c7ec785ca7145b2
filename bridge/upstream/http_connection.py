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

from bridge.core.errors import Kind, UpstreamError
from bridge.core.headers import Headers, lowered, size
from bridge.upstream.content_encoding import decoder
from bridge.upstream.errors import NotHTTPError, ours
from bridge.upstream.timeouts import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.connector import Connection

    from bridge.routes.rules.settings import TimeoutsSpec
    from bridge.upstream.content_encoding import Decoder

    Take = Callable[[bytes], bool]

__all__ = ["Wire"]

_MUCH = 2**18  # bytes that may wait for someone who takes them
_LONGEST = 2**16  # bytes of an answer's headers
_BODILESS = (204, 304)


class Wire(asyncio.Protocol):
    """A connection that was made by aiohttp, whose pool, DNS, TLS and proxies stay what they are.

    `fresh`: it has not answered yet. `heard`: some of an answer has come. `over`: all of it. `error`: why no
    more of it comes. `waiting`: someone waits for more.
    """

    __slots__ = (
        "_connection", "_decoder", "_keeps", "_loop", "_lost", "_named", "_parser", "_parts", "_patience",
        "_paused", "_take", "_transport", "_unfinished", "_until_close", "_url", "_waiter", "asked", "error",
        "fresh", "headers", "heard", "on_header", "over", "status",
    )  # fmt: skip

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._patience = Patience(self)
        self._named: dict[bytes, bytes] = {}
        self.on_header = self._named.setdefault  # of several by one name the first stands
        self._parser = HttpResponseParser(self)
        # What aiohttp's parser passes over too: old servers are what this is for.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._parts: list[bytes] = []
        self._waiter: asyncio.Future[bool] | None = None
        self._take: Take | None = None
        self._decoder: Decoder | None = None
        self._paused = False
        self._until_close = False
        self._keeps = True
        self._lost = False
        self._unfinished = 0
        self._url = ""
        self.asked = False
        self.heard = False
        self.over = False
        self.fresh = True
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.error: Exception | None = None
        transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether it can be asked again."""
        return self._keeps and not self._transport.is_closing()

    @property
    def unsent(self) -> int:
        """How many bytes of the request are still here."""
        # asyncio's TLS cannot be asked once the connection is lost.
        return 0 if self._lost else self._transport.get_write_buffer_size()

    @property
    def waiting(self) -> bool:
        """Whether someone waits for what comes next."""
        return self._waiter is not None and not self._waiter.done()

    def ask(self, head: bytes, body: bytes, url: str, timeouts: TimeoutsSpec, begun: float) -> None:
        """Send a request for a URL; the time for it began at `begun`, in seconds of the loop's clock."""
        self._url = url
        self.asked = True
        self.heard = self.over = self._until_close = False
        self.status = self._unfinished = 0
        self.error = None
        if self._paused:
            self._resume()
        self._patience.begin(timeouts, begun)
        if len(body) < _MUCH:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def head(self) -> asyncio.Future[bool]:
        """What tells that status and headers have come, or `error`."""
        waiter = self._next(None)
        if self.status or self.error is not None:
            waiter.set_result(True)
        return waiter

    async def pump(self, take: Take) -> bool:
        """Hand over what arrives until `take` wants no more for now, or, True, to the end.

        Raises UpstreamError where it stalls or breaks, and what `take` does.
        """
        while True:
            if self._parts and not take(self._taken()):
                return False
            if self.error is not None:
                if isinstance(self.error, UpstreamError):
                    raise self.error
                raise ours(self.error, self._url, self._patience.timeouts) from self.error
            if self.over:
                return True
            if self._paused:
                self._resume()
            self._patience.waits()
            if not await self._next(take):
                return False

    def release(self) -> bool:
        """The answer is not wanted any more; whether the connection can be used for another one."""
        self.asked = False
        self.fresh = False
        self._waiter = self._take = None
        good = self.over and self.error is None and not self._parts and not self.unsent and self.usable
        self._parts.clear()
        if not good:
            self.close()
        return good

    def close(self) -> None:
        """Close the connection."""
        self._keeps = False
        self._patience.stop()
        if self.unsent:
            self._transport.abort()  # who does not read the rest of a request would hold it for ever
        self._connection.close()  # aiohttp's pool forgets it, and closes the transport

    def fail(self, error: Exception) -> None:
        """Nothing more of the answer is awaited."""
        if self.asked and not self.over and self.error is None:
            self.error = error
            self._keeps = False
            self._wake()

    def _next(self, take: Take | None) -> asyncio.Future[bool]:
        """What comes next; whether that was not refused by `take`."""
        self._take = take
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()

    def _taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    def data_received(self, data: bytes) -> None:
        if not self.asked:  # a word that nobody asked for: whose answer it is cannot be known
            self.close()
            return
        self.heard = True
        self._patience.heard()
        try:
            self._parser.feed_data(data)
            if not self.status:
                self._unfinished += len(data)
                if self._unfinished > 2 * _LONGEST:  # its headers decide, unless they do not end
                    raise _too_long()
        except (HttpParserError, HttpParserUpgrade, UpstreamError) as error:
            self._keeps = False
            self.fail(_failure(error))
        self._hand_over()

    def _hand_over(self) -> None:
        """Give what has come to whoever waits for it."""
        waiter, take = self._waiter, self._take
        if waiter is None or waiter.done():
            if not self._paused and self._parts and sum(map(len, self._parts)) > _MUCH:
                self._paused = True
                self._transport.pause_reading()
        elif take is None:
            if self.status:
                waiter.set_result(True)
        else:
            parts = self._parts
            try:
                more: bool = not parts or take(parts.pop() if len(parts) == 1 else self._taken())
            except Exception as error:
                waiter.set_exception(error)
            else:
                if not more or self.over or self.error is not None:
                    waiter.set_result(more)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._connection.close()
        self._keeps = False
        if not self.asked or self.over:
            return
        try:
            # Who refuses a request without reading all of it resets the connection: what he said stands.
            refused = self.status >= 400
            if not (self.status and self._until_close) or not (error is None or refused):
                raise aiohttp.ServerDisconnectedError
            self._end()
            self._wake()
        except (UpstreamError, aiohttp.ServerDisconnectedError) as broken:
            self.fail(broken)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.over:  # another answer behind the one that was asked for
            self._keeps = False

    def on_headers_complete(self) -> None:
        if size(self._named) > _LONGEST:
            raise _too_long()
        named = lowered(self._named)
        self._named.clear()
        status = self._parser.get_status_code()
        if 100 <= status < 200 or self.over:
            return
        bounded = b"content-length" in named or status in _BODILESS
        self._until_close = not (bounded or b"chunked" in named.get(b"transfer-encoding", b"").lower())
        self.headers = Headers(named)
        self._decoder = decoder(self.headers["content-encoding"]) if b"content-encoding" in named else None
        self.status = status

    def on_body(self, data: bytes) -> None:
        if self.over:
            return
        if self._decoder is not None:
            data = self._decoder.feed(data)
        if data:
            self._parts.append(data)

    def on_message_complete(self) -> None:
        self._named.clear()  # of trailers: nobody looks at these
        if self.status and not self.over:
            self._keeps = self._keeps and self._parser.should_keep_alive()
            self._end()

    def _end(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
        self.over = True


def _failure(error: Exception) -> Exception:
    """Why the parser gave up: what was raised in what it called, or what it found."""
    for raised in (error, error.__context__):
        if isinstance(raised, UpstreamError):
            return raised
    if isinstance(error, HttpParserUpgrade):
        return NotHTTPError("it changes to another protocol")
    return NotHTTPError(str(error))


def _too_long() -> UpstreamError:
    return UpstreamError(Kind.GARBLED, f"the upstream's headers are over {_LONGEST} bytes")
