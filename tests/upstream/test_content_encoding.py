"""Bodies that come compressed though nobody asked for it: the same however cut, and never a flood."""

from __future__ import annotations

import gzip
import zlib

import pytest

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.upstream.content_encoding import content_decoder

SAID = ("Deep teal, mostly, and grey where it is shallow. é\n" * 40).encode()


def bare(data: bytes) -> bytes:
    """Deflate without zlib's head, as some servers take the word."""
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


WAYS = {
    "gzip": ("gzip", gzip.compress(SAID)),
    "x-gzip": ("x-gzip", gzip.compress(SAID)),
    "in capitals": (" GZIP ", gzip.compress(SAID)),
    "zlib": ("deflate", zlib.compress(SAID)),
    "bare deflate": ("deflate", bare(SAID)),
}


@pytest.mark.parametrize(("encoding", "body"), WAYS.values(), ids=WAYS)
def test_a_body_comes_out_however_it_is_cut(encoding: str, body: bytes) -> None:
    for at in range(1, len(body)):
        made = content_decoder(encoding)
        assert made is not None
        assert made.feed(body[:at]) + made.feed(body[at:]) == SAID
        made.close()


@pytest.mark.parametrize("encoding", ["identity", "", " Identity "])
def test_what_is_not_encoded_is_left_alone(encoding: str) -> None:
    assert content_decoder(encoding) is None


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip"])
def test_what_cannot_be_read_is_named(encoding: str) -> None:
    with pytest.raises(UpstreamError, match=f"as {encoding}, identity was asked for") as raised:
        content_decoder(encoding)
    assert raised.value.kind is UpstreamFailure.MALFORMED


@pytest.mark.parametrize(("encoding", "body"), WAYS.values(), ids=WAYS)
def test_a_body_that_ends_too_early_is_no_answer(encoding: str, body: bytes) -> None:
    made = content_decoder(encoding)
    assert made is not None
    made.feed(body[:-1])
    with pytest.raises(UpstreamError) as raised:
        made.close()
    assert raised.value.kind is UpstreamFailure.DISCONNECT


def test_a_body_of_nothing_ends_well() -> None:
    made = content_decoder("gzip")
    assert made is not None
    made.close()


def test_what_is_not_compressed_is_garbled() -> None:
    made = content_decoder("gzip")
    assert made is not None
    with pytest.raises(UpstreamError, match="badly compressed") as raised:
        made.feed(b'{"text": "hi"}')
    assert raised.value.kind is UpstreamFailure.MALFORMED


def test_a_little_cannot_grow_to_a_flood() -> None:
    made = content_decoder("gzip")
    assert made is not None
    with pytest.raises(UpstreamError, match="grows to over") as raised:
        made.feed(gzip.compress(bytes(2**25)))
    assert raised.value.kind is UpstreamFailure.LIMIT
