"""A client's request, no more than its parts: what the parser of HTTP has found, read when it is asked for.

    request.method, request.path, request.header(b"origin")
    request.body()                  if it has come whole, as most do
    await request.piece()           else piece by piece, b"" behind the last

The connection that it came on feeds it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from bridge.core.errors import RequestError

__all__ = ["ClientConnection", "Request"]


class ClientConnection(Protocol):
    """The connection that a request came on."""

    @property
    def closing(self) -> bool:
        """Whether the reply that is made now is the last one."""

    @property
    def writing_paused(self) -> bool:
        """Whether the client is to be waited for."""

    def write(self, data: bytes) -> None:
        """Bytes for the client. Raises ConnectionResetError where it has left."""

    async def drain(self) -> None:
        """Wait until it takes more."""

    def body_consumed(self, size: int) -> None:
        """So many bytes of a body wait no longer."""


class Request:
    """One request. `headers` have their names in lower case; of several by one name the first stands.

    `target` is what its first line asks for. `modern`: the client speaks HTTP/1.1. `keeps`: it wants its
    connection kept. `fault`: what came is no request as it should be. `over`: all of its body has come.
    """

    __slots__ = (
        "_pieces",
        "_waiter",
        "complete",
        "connection",
        "error",
        "headers",
        "is_http11",
        "keep_alive",
        "method",
        "target",
    )  # fmt: skip

    def __init__(
        self, connection: ClientConnection, method: str, target: bytes, headers: dict[bytes, bytes]
    ) -> None:
        self.connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.is_http11 = self.keep_alive = True
        self.complete = False
        self.error: RequestError | None = None
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None

    @property
    def path(self) -> str:
        """The path of its target, unquoted (RFC 9112, 3.2)."""
        target = self.target.decode("utf-8", "replace")
        if not target.startswith(("/", "*")):
            try:
                target = urlsplit(target).path
            except ValueError:  # a host that is none
                return "/"
        path = target.partition("?")[0].partition("#")[0]
        return unquote(path) if "%" in path else path

    def header(self, name: bytes) -> str | None:
        """A header's value, by its name in lower case; None where it is not there."""
        value = self.headers.get(name)
        return None if value is None else value.strip().decode("utf-8", "surrogateescape")

    @property
    def body_incomplete(self) -> bool:
        """Whether some of its body is still to come."""
        return not self.complete and self.error is None

    def feed_data(self, data: bytes) -> None:
        """Some of its body has come."""
        self._pieces.append(data)
        self._wake()

    def feed_eof(self) -> None:
        """All of its body has."""
        self.complete = True
        self._wake()

    def set_exception(self, fault: RequestError) -> None:
        """No more of it comes, for this reason."""
        if not self.complete:
            self.error = fault
            self._wake()

    def buffered_body(self) -> bytes | None:
        """Its body, if all of it has come."""
        if not self.complete:
            return None
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    async def read_chunk(self) -> bytes:
        """What has come of its body since the last time, b"" at the end. Raises `fault`."""
        while not self._pieces and self.body_incomplete:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if not self._pieces and self.error is not None:
            raise self.error
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.connection.body_consumed(len(data))
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
