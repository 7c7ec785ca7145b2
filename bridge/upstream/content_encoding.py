"""Bodies that come compressed, though `identity` was asked for: gzip and deflate, as they arrive."""

from __future__ import annotations

import zlib
from typing import Final

from bridge.core.errors import UpstreamError, UpstreamFailure

__all__ = ["ContentDecoder", "content_decoder"]

_MAX_INFLATED = 2**24  # bytes that one piece of the network's may grow to
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_ZLIB = 8  # the low half of the first byte of zlib's own head; some servers send deflate without one


class ContentDecoder:
    """Takes a body in pieces. Raises UpstreamError where it is not what its head says."""

    __slots__ = ("_deflate", "_inflating")

    def __init__(self, *, deflate: bool) -> None:
        self._deflate = deflate
        self._inflating: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bytes:
        """What a piece says."""
        if self._inflating is None:
            bare = self._deflate and data[0] & 0x0F != _ZLIB
            self._inflating = zlib.decompressobj(-zlib.MAX_WBITS if bare else _GZIP_OR_ZLIB)
        try:
            said = self._inflating.decompress(data, _MAX_INFLATED)
        except zlib.error as error:
            raise UpstreamError(
                UpstreamFailure.MALFORMED, f"the upstream's body is badly compressed: {error}"
            ) from None
        if self._inflating.unconsumed_tail:
            raise UpstreamError(
                UpstreamFailure.LIMIT, f"the upstream's body grows to over {_MAX_INFLATED} bytes at once"
            )
        return said

    def close(self) -> None:
        """The body is over."""
        if self._inflating is not None and not self._inflating.eof:
            raise UpstreamError(UpstreamFailure.DISCONNECT, "the upstream's compressed body ended too early")


def content_decoder(encoding: str) -> ContentDecoder | None:
    """What decodes a body of this Content-Encoding; None: nothing has to be done. Raises UpstreamError."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return ContentDecoder(deflate=False)
        case "deflate":
            return ContentDecoder(deflate=True)
        case other:
            raise UpstreamError(
                UpstreamFailure.MALFORMED,
                f"the upstream encodes its answer as {other[:40]}, identity was asked for",
            )
