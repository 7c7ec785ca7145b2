"""The response of an upstream, over HTTP or a WebSocket.

response = await client.send(request, transport)         raises UpstreamError
response.status, response.headers
await response.read_into(sink)                           sink.feed(data) for every network read
await response.close()
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from bridge.core.errors import UpstreamError, UpstreamFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ByteSink", "UpstreamResponse"]


class ByteSink(Protocol):
    """A receiver of bytes."""

    def feed(self, data: bytes) -> bool:
        """Accept bytes. Return whether more are wanted at once."""


class UpstreamResponse(ABC):
    """A response whose head has arrived. The receiver closes the response, in whatever state."""

    __slots__ = ("headers", "status")

    status: int
    headers: Mapping[str, str]  # keyed in lower case

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Return whether the sinks have received the whole body."""

    @abstractmethod
    async def read_into(self, sink: ByteSink) -> None:
        """Feed the body to a sink, until the end or until the sink wants no more for now.

        Raise UpstreamError where the body stalls or breaks off, and any exception of the sink.
        """

    @abstractmethod
    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - expiry is no error here
        """Discard the rest of the body for up to `timeout` seconds, so that the connection can be reused."""

    def note_failure(self) -> None:  # noqa: B027 - most responses have nobody to report to
        """Report that the response is a failure of its server, for another reason than `read_into` raises."""

    @abstractmethod
    async def close(self) -> None:
        """Release the connection: for reuse if nothing of the exchange is left on it."""

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raise UpstreamError, also for a body of more than `limit` bytes."""
        body = _BoundedBody(limit)
        await self.read_into(body)
        if body.size > limit:
            raise UpstreamError(
                UpstreamFailure.LIMIT, f"the upstream's response is too large: expected up to {limit} bytes"
            )
        return b"".join(body.parts)


class _BoundedBody:
    """A sink that wants no more once it holds over `limit` bytes."""

    __slots__ = ("limit", "parts", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parts: list[bytes] = []
        self.size = 0  # bytes

    def feed(self, data: bytes) -> bool:
        self.parts.append(data)
        self.size += len(data)
        return self.size <= self.limit
