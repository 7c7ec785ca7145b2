"""The response to a client, as far as the proxy needs it. `bridge.server.response` implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from bridge.core.errors import BridgeError

__all__ = ["ResponseWriter"]


class ResponseWriter(Protocol):
    """One response: a body at once, or a stream. Writing raises ConnectionResetError after a disconnect."""

    @property
    def id(self) -> str:
        """The request id."""

    @property
    def status(self) -> int:
        """The HTTP status; 0 until the response has one."""

    @property
    def started(self) -> bool:
        """Return whether the head of a stream has been written."""

    @property
    def writing_paused(self) -> bool:
        """Return whether the client is slow to read what was written."""

    def add_header(self, name: str, value: str) -> None:
        """Add a header. Raise ValueError for a value that would begin another header."""

    def remove_header(self, name: str) -> None:
        """Remove a header that was added."""

    def set_body(self, status: int, body: bytes, content_type: str = ...) -> Self:
        """Set the status and the body."""

    def set_error(self, error: BridgeError) -> Self:
        """Set the status, the headers and the body of an error."""

    def write(self, data: bytes, content_type: str) -> bool:
        """Write a piece of a stream. Return whether the client accepts more at once."""

    async def drain(self) -> None:
        """Wait until the client accepts more."""

    def cancel(self) -> None:
        """Cancel the task that answers the request."""

    def write_eof(self, data: bytes = b"") -> Self:
        """Write the end of a stream, with its last piece. Further calls have no effect."""
