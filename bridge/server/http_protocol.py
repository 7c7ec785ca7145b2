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
from bridge.core.headers import lowered, size
from bridge.server.request import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.server.response import Reply

__all__ = ["Client"]

_LINE = 8190  # bytes of a request's target, or of a header
_HEAD = 2**16  # bytes of all of them
_MUCH = 2**18  # bytes of a body that may wait for someone who takes them
_QUEUE = 128  # requests that may wait behind the one that is answered
_SLOWEST = 6  # looks at a head that does not end
_LONGEST = 363  # looks at a connection in no use: an hour, since a proxy in front wants to be who closes
_LINGER = 10.0  # seconds for the rest of a body that nobody wants: closing at once would lose the reply
_DEAF = 2.0  # the same behind what is no request


class Server(Protocol):
    """What a connection belongs to. `answer` raises ConnectionError alone: it cannot be gone on with."""

    answer: Callable[[Request], Awaitable[Reply]]

    def met(self, client: Client) -> None:
        """A client has come."""

    def left(self, client: Client) -> None:
        """It is gone."""


class Client(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_coming", "_declined", "_drained", "_ending", "_large", "_looks", "_loop", "_named", "_parser",
        "_paused", "_queue", "_server", "_slow", "_target", "_task", "_transport", "_turn", "_unfinished",
        "_untaken", "on_header", "on_url", "writing_paused",
    )  # fmt: skip

    _task: asyncio.Task[None]

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._target: list[bytes] = []  # empty but within a head
        self._named: dict[bytes, bytes] = {}
        self.on_url = self._target.append
        self.on_header = self._named.setdefault  # of several by one name the first stands
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._unfinished = 0  # bytes of a head in what came after its beginning
        self._large = False
        self._declined = b""
        self._coming: Request | None = None  # whose body is not over
        self._untaken = 0  # bytes of that
        self._queue: deque[Request] = deque()
        self._turn: asyncio.Future[None] | None = None  # the next request is waited for
        self._drained: asyncio.Future[None] | None = None
        self._paused = False
        self._ending = False  # no more requests are taken
        self._looks = 0  # at it since its last reply
        self._slow = 0  # at a head that is not over
        self.writing_paused = False

    @property
    def ending(self) -> bool:
        """Whether the reply that is made now is the last one."""
        return self._ending and not self._queue

    def write(self, data: bytes) -> None:
        """Bytes for the client. Raises ConnectionResetError where it has left."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        transport.write(data)

    async def drained(self) -> None:
        """Wait until the client takes more."""
        if self.writing_paused:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)  # others may wait for it too

    def taken(self, size: int) -> None:
        """So many bytes of a body wait no longer."""
        self._untaken -= size
        self._go_on()

    def end(self) -> None:
        """Take no more requests; close the connection when those that came are answered."""
        self._ending = True
        self._wake()

    async def abort(self) -> None:
        """Close the connection now."""
        if self._transport is not None:
            self._transport.abort()
        self._task.cancel()
        await asyncio.wait([self._task])

    def look(self, between: float) -> None:
        """See whether it is of any use still, so many seconds after the look before."""
        self._looks += 1
        self._slow = self._slow + 1 if self._target else 0
        if self._slow > _SLOWEST:
            said = f"the request's head did not end in {_SLOWEST * between:g} s"
            self._refuse(RequestError(408, said, code="request_timeout"))
        elif self._turn is not None and self._looks > _LONGEST:
            self.end()

    def _refuse(self, fault: RequestError) -> None:
        """What comes is no request as it should be: say so in its turn, and read no more."""
        self._parser = None
        if self._coming is not None:
            self._coming.fail(fault)
        elif not self._ending:
            request = Request(self, "", b"/", {})
            request.keeps = False
            request.fail(fault)
            self._queue.append(request)
        self.end()

    def _short_enough(self, target: bytes) -> bool:
        named = self._named
        longest = max(map(len, [target, *named, *named.values()]))
        return longest <= _LINE and len(target) + size(named) <= _HEAD

    async def _serve(self) -> None:
        """Answer requests until there are no more."""
        queue = self._queue
        try:
            while queue or not self._ending:
                if not queue:
                    self._turn = self._loop.create_future()
                    await self._turn
                    self._turn = None
                    continue
                request = queue.popleft()
                reply = await self._server.answer(request)
                reply.send()
                if self.writing_paused:
                    await self.drained()
                if request.unfinished:
                    await _linger(request)
                if not reply.keep_alive:
                    break
                self._looks = 0
            transport = self._transport
            if self._parser is None and transport is not None and not transport.is_closing():
                transport.write_eof()
                await asyncio.sleep(_DEAF)  # or until the client has closed it
        except ConnectionError:
            pass  # the client has left, or must see that something broke
        finally:
            self._ending = True
            if self._transport is not None:
                self._transport.close()

    def _wake(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _go_on(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # of a stream, as its server made it
        self._server.met(self)
        self._task = self._loop.create_task(self._serve())

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = self._parser = None
        self._ending = True
        self._server.left(self)
        self.resume_writing()
        self._task.cancel()

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def data_received(self, data: bytes) -> None:
        while data and self._parser is not None:
            if self._target:
                self._unfinished += len(data)
            self._large = len(data) > _LINE
            try:
                self._parser.feed_data(data)
                data = b""
            except HttpParserUpgrade as upgrade:
                # To another protocol there is no way from here: it is read as if it were not asked for.
                data = self._declined + data[upgrade.args[0] :]
                self._parser = HttpRequestParser(self)
            except HttpParserError as error:
                self._refuse(_no_http(str(error)))
        if self._unfinished > _HEAD and self._parser is not None:
            self._refuse(_no_http(f"its head is over {_HEAD} bytes"))

    # What the parser calls.

    def on_headers_complete(self) -> None:
        parser = self._parser
        target, named = b"".join(self._target), self._named
        self._target.clear()
        if parser is None or self._ending:
            return
        if (self._large or self._unfinished) and not self._short_enough(target):
            self._refuse(_no_http(f"a line of its head is over {_LINE} bytes, or all are over {_HEAD}"))
            return
        self._unfinished = 0
        method = parser.get_method()
        if parser.should_upgrade() and method != b"CONNECT":
            self._declined = _without_upgrade(method, target, named)
            return
        request = self._coming = Request(self, method.decode(), target, lowered(named))
        named.clear()
        request.modern = parser.get_http_version() == "1.1"
        request.keeps = parser.should_keep_alive()
        self._untaken = 0
        self._queue.append(request)
        self._wake()

    def on_body(self, data: bytes) -> None:
        if self._coming is not None:
            self._coming.feed(data)
            self._untaken += len(data)
            if self._untaken > _MUCH and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._named.clear()  # of trailers: nobody looks at these
        request, self._coming = self._coming, None
        if request is None:
            return
        request.end()
        if self._paused:
            self._go_on()
        if len(self._queue) >= _QUEUE or request.method == "CONNECT":
            request.keeps = False
        if not request.keeps:
            self._ending = True


async def _linger(request: Request) -> None:
    """Let the client finish a body that nobody reads: it may look for its reply only then."""
    with suppress(TimeoutError, RequestError):
        async with asyncio.timeout(_LINGER):
            while await request.piece():
                pass


def _no_http(why: str) -> RequestError:
    return RequestError(400, f"the request is not HTTP as it should be: {why}", code="bad_request")


def _without_upgrade(method: bytes, target: bytes, named: dict[bytes, bytes]) -> bytes:
    """A head that does not ask for another protocol."""
    kept = [b"%b: %b\r\n" % field for field in named.items() if field[0].lower() != b"upgrade"]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, b"".join(kept))
