"""Decompression of the bodies of upstreams that compress although the bridge accepts `identity` only."""

from __future__ import annotations

import zlib
from typing import Final

from bridge.core.errors import UpstreamError, UpstreamFailure

__all__ = ["ContentDecoder", "content_decoder"]

_MAX_DECOMPRESSED = 2**24  # bytes that one network read may decompress to: a bound on memory
_WINDOW = 4096  # bytes that are decompressed by one call
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
        parts: list[bytes] = []
        room = _MAX_DECOMPRESSED
        # zlib copies all bytes after the end of a member: windows keep the work on many small members linear.
        for at in range(0, len(data), _WINDOW):
            rest = data[at : at + _WINDOW]
            while rest := self._begin(rest):
                assert self._decompressor is not None
                try:
                    parts.append(self._decompressor.decompress(rest, room + 1))
                except zlib.error as error:
                    raise _malformed(str(error)) from None
                room -= len(parts[-1])
                if room < 0:
                    raise UpstreamError(
                        UpstreamFailure.LIMIT,
                        f"the upstream's body decompresses to over {_MAX_DECOMPRESSED} bytes at once",
                    )
                rest = self._decompressor.unused_data
        return b"".join(parts)

    def _begin(self, data: bytes) -> bytes:
        """Return the bytes to decompress. Begin a member of gzip if none is unfinished (RFC 1952, 2.2)."""
        if self._decompressor is not None:
            if not self._decompressor.eof:
                return data
            if self._deflate and data:
                raise _malformed("bytes follow its end")
            data = data.lstrip(b"\0")  # padding, which gzip's own tools ignore
        if data:
            # Some servers send deflate without the zlib header that RFC 9110 requires.
            bare = self._deflate and data[0] & 0x0F != _ZLIB_METHOD
            self._decompressor = zlib.decompressobj(-zlib.MAX_WBITS if bare else _GZIP_OR_ZLIB)
        return data

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


def _malformed(reason: str) -> UpstreamError:
    return UpstreamError(UpstreamFailure.MALFORMED, f"the upstream's body is badly compressed: {reason}")
