"""Bodies that are read whole, however they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.errors import Kind, UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

__all__ = ["joined"]


async def joined(pieces: AsyncIterable[bytes], limit: int) -> bytes:
    """All pieces, of at most so many bytes together. Raises UpstreamError."""
    held, size = [], 0
    async for data in pieces:
        held.append(data)
        size += len(data)
        if size > limit:
            raise UpstreamError(Kind.LIMIT, f"the upstream's answer is over {limit} bytes")
    return b"".join(held)
