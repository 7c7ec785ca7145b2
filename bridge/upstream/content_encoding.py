"""Decompression of the bodies of upstreams that compress although the bridge accepts `identity` only."""

from __future__ import annotations

import zlib
from typing import Final

from bridge.core.errors import UpstreamError, UpstreamFailure

__all__ = ["ContentDecoder", "content_decoder"]

_MAX_DECOMPRESSED = 2**24  # bytes that one network read may decompress to: a bound on memory
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_ZLIB_METHOD = 8  # the low half of the first byte of a zlib header (RFC 1950)


class ContentDecoder:
    """An incremental decompressor of gzip or deflate. Methods raise UpstreamError for invalid data."""

    __slots__ = ("_decompressor", "_deflate")

    def __init__(self, *, deflate: bool) -> None:
        self._deflate = deflate
        self._decompressor: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bytes:
        """Return what a part of the body decompresses to."""
        if self._decompressor is None:
            # Some servers send deflate without the zlib header that RFC 9110 requires.
            bare = self._deflate and data[0] & 0x0F != _ZLIB_METHOD
            self._decompressor = zlib.decompressobj(-zlib.MAX_WBITS if bare else _GZIP_OR_ZLIB)
        try:
            decompressed = self._decompressor.decompress(data, _MAX_DECOMPRESSED)
        except zlib.error as error:
            raise UpstreamError(
                UpstreamFailure.MALFORMED, f"the upstream's body is badly compressed: {error}"
            ) from None
        if self._decompressor.unconsumed_tail:
            raise UpstreamError(
                UpstreamFailure.LIMIT,
                f"the upstream's body decompresses to over {_MAX_DECOMPRESSED} bytes at once",
            )
        return decompressed

    def close(self) -> None:
        """Check that the body is complete."""
        if self._decompressor is not None and not self._decompressor.eof:
            raise UpstreamError(UpstreamFailure.DISCONNECT, "the upstream's compressed body ended too early")


def content_decoder(encoding: str) -> ContentDecoder | None:
    """Return the decoder for a Content-Encoding; None for `identity`. Raise UpstreamError for any other."""
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
                f"the upstream's Content-Encoding is unsupported: expected identity, not {other[:40]}",
            )
