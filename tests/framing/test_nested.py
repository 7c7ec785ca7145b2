"""Framings nested in the messages of a websocket or an event stream."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import json
from bridge.core.errors import UpstreamError
from bridge.framing import FRAMINGS, INNER_FRAMINGS, make_framer
from bridge.framing.length_delimited import encode_message
from tests.framing.event_stream_encoder import bedrock_event, event_stream_message
from tests.framing.splits import LIMIT, Outcome, cuts, split_at, split_evenly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.core.frames import Frame

OUTER: dict[str, Callable[[bytes], bytes]] = {
    "websocket": encode_message,
    "eventstream": lambda payload: bedrock_event("chunk", payload),
}


def run(outer: str, inner: str, pieces: Iterable[bytes], limit: int = LIMIT) -> Outcome:
    """Feed a body in pieces to a nested framer, and return its frames."""
    framer = make_framer(FRAMINGS[outer], inner, limit)
    frames: list[Frame] = []
    try:
        for piece in pieces:
            frames.extend(framer.feed(piece))
        frames.extend(framer.close())
    except UpstreamError as error:
        return Outcome(frames, error.message, error.kind)
    return Outcome(frames, None, None)


def nested_outcome(outer: str, inner: str, payloads: Iterable[bytes], limit: int = LIMIT) -> Outcome:
    """Return the outcome of messages with these payloads, the same for every split into two pieces."""
    body = b"".join(map(OUTER[outer], payloads))
    outcome = run(outer, inner, [body], limit)
    assert run(outer, inner, split_evenly(body, 1), limit) == outcome
    for at in range(len(body)):
        assert run(outer, inner, [body[:at], body[at:]], limit) == outcome
    return outcome


def wrapped(payload: bytes) -> bytes:
    """Return a payload as Bedrock's InvokeModelWithResponseStream wraps one, with padding."""
    return json.dumps({"bytes": b64encode(payload).decode(), "p": "abcdefghijklmnopqrstuvwxyzABCDEF"})


PAYLOADS = [b'{"delta":"\xc3\xa9"}', b"{}", b"x", b"xy", b"xyz", bytes(range(256)), b'{"bytes":"eA=="}']


@pytest.mark.parametrize("outer", OUTER)
def test_base64_payloads_are_decoded(outer: str) -> None:
    outcome = nested_outcome(outer, "base64", map(wrapped, PAYLOADS))
    assert outcome.error is None
    assert [frame.data for frame in outcome.frames] == PAYLOADS
    if outer == "eventstream":
        assert all(frame.fields["event"] == "chunk" for frame in outcome.frames)


def test_an_empty_base64_payload_is_an_empty_frame() -> None:
    assert [frame.data for frame in nested_outcome("websocket", "base64", [b'{"bytes":""}']).frames] == [None]


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize(
    "payload",
    [
        b"{}", b"[]", b"null", b"7", b'"eA=="', b"text", b'{"bytes":', b'{"bytes":null}', b'{"bytes":7}',
        b'{"bytes":["eA=="]}', b'{"bytes":"eA="}', b'{"bytes":"e"}', b'{"bytes":"eA==eA=="}',
        b'{"bytes":"e-_="}', b'{"bytes":"eA== "}', '{"bytes":"☃☃☃☃"}'.encode(), b'{"Bytes":"eA=="}', b" ",
        b"\xff\xfe", b"[" * 100_000,
    ],
)  # fmt: skip
def test_invalid_base64_is_an_error(outer: str, payload: bytes) -> None:
    outcome = run(outer, "base64", [OUTER[outer](wrapped(b"good")), OUTER[outer](payload)])
    assert [frame.data for frame in outcome.frames] == [b"good"]
    assert outcome.kind == "garbled"
    assert 'expected {"bytes": "…"}' in (outcome.error or "")


def test_an_exception_message_is_plain_json_under_every_inner_framing() -> None:
    failure = event_stream_message(
        {":message-type": "exception", ":exception-type": "x"}, b'{"message":"no"}'
    )
    for inner in INNER_FRAMINGS:
        [frame] = run("eventstream", inner, split_evenly(failure, 3)).frames
        assert frame.data == b'{"message":"no"}'
        assert (frame.fields["event"], frame.fields[":exception-type"]) == ("error", "x")


@pytest.mark.parametrize("outer", OUTER)
def test_events_may_span_messages(outer: str) -> None:
    payloads = [b": ping\n\nda", b"ta: one\n", b"\nevent: e\r\ndata: tw", b"o\r\n\r\ndata: \xc3", b"\xa9\n"]
    outcome = nested_outcome(outer, "sse", payloads)
    assert outcome.error is None
    assert [(frame.data, frame.fields.get("event")) for frame in outcome.frames] == [
        (b"one", None),
        (b"two", "e"),
        ("é".encode(), None),
    ]


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize(
    ("inner", "payloads"),
    [
        ("ndjson", [b'{"a":', b'1}\n{"a":2}\n\n{"a', b'":3}']),
        ("nul", [b'{"a":1}\0{"a":2', b'}\0{"a":3}']),
        ("json-array", [b'[{"a":1},{"a"', b':2},{"a":3}]']),
    ],
)
def test_json_frames_may_span_messages(outer: str, inner: str, payloads: list[bytes]) -> None:
    outcome = nested_outcome(outer, inner, payloads)
    assert outcome.error is None
    assert [json.loads(frame.data or b"") for frame in outcome.frames] == [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.parametrize("outer", OUTER)
def test_text_may_span_messages(outer: str) -> None:
    outcome = nested_outcome(outer, "text", [b"a", b" ", b"\n", b"\xe2\x98", b"\x83"])
    assert outcome.error is None
    assert "".join(str(frame.data) for frame in outcome.frames) == "a \n☃"


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("inner", ["sse", "ndjson", "nul"])
def test_the_limit_applies_to_a_frame_of_several_messages(outer: str, inner: str) -> None:
    """No message exceeds the limit; the frame that they form does."""
    payloads = [b"data: "] * (inner == "sse") + [b"x" * 20] * 10
    outcome = nested_outcome(outer, inner, payloads, limit=100)
    assert (outcome.frames, outcome.kind) == ([], "limit")


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("inner", INNER_FRAMINGS)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([b"\n", b"data: ", b"{", b"}", b"[", b"]", b",", b'"', b"\0", b"\xc3", b"\xa9"]),
            st.binary(max_size=8),
            st.binary(max_size=8).map(wrapped),
        ),
        max_size=12,
    ),
    cuts,
    st.sampled_from([7, 60, 1000]),
)
def test_nested_frames_are_independent_of_splits(
    inner: str, outer: str, payloads: list[bytes], positions: list[int], limit: int
) -> None:
    body = b"".join(map(OUTER[outer], payloads))
    outcome = run(outer, inner, [body], limit)
    assert run(outer, inner, split_at(body, positions), limit) == outcome
    assert run(outer, inner, split_evenly(body, 1), limit) == outcome
