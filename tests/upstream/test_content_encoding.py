"""Compressed upstream bodies: decompressed for every split, and bounded in size."""

from __future__ import annotations

import gzip
import zlib

import pytest

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.upstream.content_encoding import content_decoder

TEXT = ("Deep teal, mostly, and grey where it is shallow. é\n" * 40).encode()


def bare(data: bytes) -> bytes:
    """Return raw deflate without the zlib header, as some servers send `deflate`."""
    decoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return decoder.compress(data) + decoder.flush()


ENCODINGS = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": ("x-gzip", gzip.compress(TEXT)),
    "in capitals": (" GZIP ", gzip.compress(TEXT)),
    "gzip of two members": ("gzip", gzip.compress(TEXT[:900]) + gzip.compress(TEXT[900:])),
    "zlib": ("deflate", zlib.compress(TEXT)),
    "bare deflate": ("deflate", bare(TEXT)),
}


@pytest.mark.parametrize(("encoding", "body"), ENCODINGS.values(), ids=ENCODINGS)
def test_a_body_is_decompressed_for_every_split(encoding: str, body: bytes) -> None:
    for at in range(1, len(body)):
        decoder = content_decoder(encoding)
        assert decoder is not None
        assert decoder.feed(body[:at]) + decoder.feed(body[at:]) == TEXT
        decoder.close()


@pytest.mark.parametrize("encoding", ["identity", "", " Identity "])
def test_identity_needs_no_decoder(encoding: str) -> None:
    assert content_decoder(encoding) is None


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip"])
def test_an_unsupported_encoding_is_an_error(encoding: str) -> None:
    with pytest.raises(UpstreamError, match=f"expected identity, not {encoding}") as raised:
        content_decoder(encoding)
    assert raised.value.kind is UpstreamFailure.MALFORMED


@pytest.mark.parametrize(("encoding", "body"), ENCODINGS.values(), ids=ENCODINGS)
def test_a_truncated_body_is_an_error(encoding: str, body: bytes) -> None:
    decoder = content_decoder(encoding)
    assert decoder is not None
    decoder.feed(body[:-1])
    with pytest.raises(UpstreamError) as raised:
        decoder.close()
    assert raised.value.kind is UpstreamFailure.DISCONNECT


def test_an_empty_body_is_valid() -> None:
    decoder = content_decoder("gzip")
    assert decoder is not None
    decoder.close()


def test_a_body_that_is_not_compressed_is_an_error() -> None:
    decoder = content_decoder("gzip")
    assert decoder is not None
    with pytest.raises(UpstreamError, match="badly compressed") as raised:
        decoder.feed(b'{"text": "hi"}')
    assert raised.value.kind is UpstreamFailure.MALFORMED


def test_the_decompressed_size_is_bounded() -> None:
    decoder = content_decoder("gzip")
    assert decoder is not None
    with pytest.raises(UpstreamError, match="decompresses to over") as raised:
        decoder.feed(gzip.compress(bytes(2**25)))
    assert raised.value.kind is UpstreamFailure.LIMIT


def test_bytes_after_the_end_are_an_error() -> None:
    for encoding, body in (("gzip", gzip.compress(TEXT)), ("deflate", zlib.compress(TEXT))):
        decoder = content_decoder(encoding)
        assert decoder is not None
        with pytest.raises(UpstreamError, match="badly compressed") as raised:
            decoder.feed(body + b"more")
        assert raised.value.kind is UpstreamFailure.MALFORMED


def test_padding_after_gzip_and_many_members_are_valid() -> None:
    decoder = content_decoder("gzip")
    assert decoder is not None
    assert decoder.feed(gzip.compress(b"word ") * 20_000 + bytes(64)) == b"word " * 20_000
    decoder.close()
