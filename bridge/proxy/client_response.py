"""The client's response, as far as the proxy needs to know it: `server` implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from bridge.core.errors import BridgeError

__all__ = ["ResponseWriter"]


class ResponseWriter(Protocol):
    """One response: a body at once, or a stream. Methods raise ConnectionResetError when the client has left.

    `id` is the request id. `status` is 0 until the response has one.
    """

    @property
    def id(self) -> str:
        """The request id."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def started(self) -> bool:
        """Whether some of a stream was sent."""

    def add_header(self, name: str, value: str) -> None:
        """Add a header."""

    def set_body(self, status: int, body: bytes, content_type: str = ...) -> Self:
        """Set the body."""

    def set_error(self, error: BridgeError) -> Self:
        """Set the error envelope of an error as the body."""

    def write(self, data: bytes, content_type: str) -> bool:
        """Write a piece of a stream. Return whether the client accepts more at once."""

    async def drain(self) -> None:
        """Wait until the client accepts more."""

    def write_eof(self, data: bytes = b"") -> Self:
        """Write the end of a stream, with its last piece."""
