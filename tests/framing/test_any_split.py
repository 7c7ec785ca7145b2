"""Every framing on arbitrary bytes: frames and errors are independent of how the network splits the bytes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.framing import FRAMINGS
from bridge.framing.buffer import FrameBuffer
from tests.framing.splits import cuts, run_framer, split_at, split_evenly

# Bytes that some framer treats specially, and bytes that resemble them.
PIECES = [
    b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b" ", b"\t", b",", b"{", b"}", b"[", b"]", b'"', b"\\", b'\\"',
    b":", b"a", b"1", b"-2.5e3", b"true", b"null", b'{"a":1}', b'{"a":"}\\"{"}', b'"x,\\\\"', b"data:",
    b"data: ", b"data: x\n\n", b"event: e\n", b"id\n", b": ping\n", b"[DONE]", b"\xef\xbb\xbf", b"\xef",
    b"\xbb", b"\xff", b"\xc3\xa9", b"\xc3", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"\xf0\x9f",
    b"\xed\xa0\x80",
]  # fmt: skip

BODIES = st.one_of(st.lists(st.sampled_from(PIECES), max_size=24).map(b"".join), st.binary(max_size=40))


@pytest.mark.parametrize("framing", FRAMINGS)
@given(BODIES, cuts, st.sampled_from([1, 3, 7, 12, 1000]))
@example(b"\r\n\r\ndata: x\r\n\r\n", [1, 3, 5], 1000)
@example(b"\xef\xbb\xbfdata: x\n\n", [1, 2], 12)
@example(b"data: 123456\n\ndata: 1234567\n\n", [3], 12)
@example(b'{"a":1}{"a":12345}', [2, 9], 7)
@example(b"[1,22,333,4444]", [3], 3)
@example(b"][1]", [1], 1000)
@example(b"\n\n\n\n\n\n\n\n\n\n\ndata: x", [2, 4, 7], 7)
def test_frames_and_errors_are_independent_of_splits(
    framing: str, body: bytes, positions: list[int], limit: int
) -> None:
    whole = run_framer(framing, [body], limit)
    assert run_framer(framing, split_at(body, positions), limit) == whole
    assert run_framer(framing, split_evenly(body, 1), limit) == whole


@pytest.mark.parametrize("framing", FRAMINGS)
@given(BODIES, st.integers(1, 20))
def test_no_frame_exceeds_the_limit(framing: str, body: bytes, limit: int) -> None:
    outcome = run_framer(framing, split_evenly(body, 2), limit)
    for frame in outcome.frames:
        if isinstance(frame.data, bytes):
            assert len(frame.data) <= limit


FRAMED = {
    "sse": (b"data: ", b"\n\n"),
    "ndjson": (b"", b"\n"),
    "nul": (b"", b"\0"),
    "json": (b"", b""),
    "json-array": (b"[", b"]"),
}


@pytest.mark.parametrize("framing", FRAMED)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("over", [-1, 0, 1, 2, 3, 4, 5, 6, 50])
def test_the_limit_is_exact_for_every_split(framing: str, size: int, over: int) -> None:
    before, after = FRAMED[framing]
    counted_prefix = before if framing == "sse" else b""
    limit = 40
    value = b'"' + b"x" * (limit + over - len(counted_prefix) - 2) + b'"'
    for body in (
        before + value + after,
        before + value if framing != "json-array" else before + value + after,
    ):
        outcome = run_framer(framing, split_evenly(body, size), limit)
        if over > 0:
            assert outcome.frames == []
            assert outcome.kind == "limit"
            assert (
                outcome.error == "the upstream sent a frame of more than 40 bytes (limits.frame of the route)"
            )
        else:
            assert [frame.data for frame in outcome.frames] == [value]
            assert outcome.error is None


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_blank_lines_do_not_count_against_the_limit(size: int) -> None:
    for blank in (b"\n", b"\r\n", b"\r", b"\n\n\n"):
        body = blank * 30 + b"data: 123456" + blank * 3 + blank * 31 + b"data: abcdef\n\n"
        outcome = run_framer("sse", split_evenly(body, size), 12)
        assert ([frame.data for frame in outcome.frames], outcome.error) == ([b"123456", b"abcdef"], None)


@pytest.mark.parametrize("framing", FRAMED)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_frames_before_an_oversized_frame_are_returned(framing: str, size: int) -> None:
    _, after = FRAMED[framing]
    opening, prefix, separator = {
        "sse": (b"", b"data: ", b"\n\n"),
        "json-array": (b"[", b"", b","),
        "json": (b"", b"", b""),
    }.get(framing, (b"", b"", after))
    body = opening + b"".join(
        prefix + value + separator for value in (b'{"a":1}', b'{"a":2}', b'"' + b"x" * 99 + b'"')
    )
    outcome = run_framer(framing, split_evenly(body, size), 20)
    assert [frame.data for frame in outcome.frames] == [b'{"a":1}', b'{"a":2}']
    assert outcome.kind == "limit"


@pytest.mark.parametrize(
    ("framing", "begin", "piece", "end"),
    [
        ("sse", b"data: ", b"x" * 100, b"\n\n"),
        ("sse", b"data: x\n", b"data: " + b"x" * 93 + b"\n", b"\n"),
        ("sse", b"", b": ping\n", b"\n"),
        ("sse", b"data: x\r", b"data: y\r\n", b"\r\n"),
        ("sse", b"\xef\xbb\xbf ", b" \r\n", b"data: x\n\n"),
        ("sse", b'{"a": "', b"x\n\n" * 10, b'"}'),
        ("ndjson", b'{"a": "', b"x" * 100, b'"}\n'),
        ("nul", b'{"a": "', b"x" * 100, b'"}\0'),
        ("json", b'{"a": "', b'\\"{' * 10, b'"}'),
        ("json", b"[", b"[1,2],", b"[]]"),
        ("json", b"1", b"2" * 50, b" "),
        ("json-array", b'[{"a": "', b"x" * 100, b'"}]'),
    ],
)
def test_the_pieces_of_a_frame_are_joined_once(
    framing: str, begin: bytes, piece: bytes, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = 0
    original = FrameBuffer.take

    def take(buffer: FrameBuffer, data: bytes = b"") -> bytes:
        nonlocal copied
        copied += buffer.size
        return original(buffer, data)

    monkeypatch.setattr(FrameBuffer, "take", take)
    body = [begin, *[piece] * 1000, end]
    outcome = run_framer(framing, body)
    assert outcome.error is None
    assert copied <= sum(map(len, body))


def test_take_empties_the_buffer() -> None:
    buffer = FrameBuffer(10)
    buffer.append(b"ab")
    buffer.append(b"")
    buffer.append(b"c")
    assert (buffer.size, buffer.endswith(b"c"), buffer.take(b"d")) == (3, True, b"abcd")
    assert (buffer.size, buffer.endswith(b"c"), buffer.take(b"d")) == (0, False, b"d")
