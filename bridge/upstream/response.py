"""Bodies that are read whole, however they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bridge.core.errors import UpstreamError, UpstreamFailure

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ByteSource", "read_all"]


class ByteSource(Protocol):
    """What a body comes from."""

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        """Hand over what arrives until `take` wants no more for now, or, True, to the end."""


async def read_all(source: ByteSource, limit: int) -> bytes:
    """All pieces, of at most so many bytes together. Raises UpstreamError."""
    held: list[bytes] = []
    size = 0

    def take(data: bytes) -> bool:
        nonlocal size
        held.append(data)
        size += len(data)
        return size <= limit

    if not await source.pump(take):
        raise UpstreamError(UpstreamFailure.LIMIT, f"the upstream's answer is over {limit} bytes")
    return b"".join(held)
