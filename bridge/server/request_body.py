"""The body of a client's request, read with a limit and a timeout."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import hdrs

from bridge.core.errors import RequestError
from bridge.server.request import content_length

if TYPE_CHECKING:
    from bridge.server.request import Request

__all__ = ["check_content_encoding", "read_body", "too_large"]

_READ_TIMEOUT = 60.0  # seconds between two pieces of a body
_MIN_RATE = 500  # bytes in a second, after `_READ_TIMEOUT`, as Apache's `RequestReadTimeout` requires


def check_content_encoding(encoding: str) -> None:
    """Raise RequestError (415) for a compressed body."""
    if encoding.lower() != "identity":
        raise RequestError(
            415,
            f"Content-Encoding is {encoding}: expected a body that is not compressed",
            code="unsupported_encoding",
        )


async def read_body(request: Request, limit: int) -> bytes:
    """Return a body of up to `limit` bytes. Raise RequestError (400, 408, 413)."""
    if content_length(request) > limit:
        raise too_large(limit)
    if request.is_http11 and request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        request.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    pieces, size = [], 0
    clock = asyncio.get_running_loop().time
    started = clock()
    try:
        # `asyncio.wait_for` of Python 3.11 loses a cancellation when the last piece has just arrived.
        while data := await _read_chunk(request):
            pieces.append(data)
            size += len(data)
            if size > limit:
                raise too_large(limit)
            if clock() - started > _READ_TIMEOUT + size / _MIN_RATE:
                raise RequestError(
                    408, f"the body arrives at under {_MIN_RATE} bytes in a second", code="request_timeout"
                )
    except TimeoutError:
        raise RequestError(
            408, f"the body stopped arriving for {_READ_TIMEOUT:g} s", code="request_timeout"
        ) from None
    return b"".join(pieces)


async def _read_chunk(request: Request) -> bytes:
    async with asyncio.timeout(_READ_TIMEOUT):
        return await request.read_chunk()


def too_large(limit: int) -> RequestError:
    """Return the error of a body over `limit` bytes."""
    return RequestError(413, f"the body is over {limit} bytes (limits.body)", code="request_too_large")
