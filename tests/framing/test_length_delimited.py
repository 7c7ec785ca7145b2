"""Messages with a length prefix: AWS event streams and websocket messages."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core import json
from bridge.framing import MESSAGE_FRAMINGS
from bridge.framing.length_delimited import encode_message
from tests.framing.event_stream_encoder import (
    Byte,
    Header,
    Integer,
    Long,
    Short,
    bedrock_event,
    event_stream_message,
    header,
    raw_message,
)
from tests.framing.splits import cuts, frames, run_framer, split_at, split_evenly

# A response of Bedrock's ConverseStream, and its error for a throttled request.
CONVERSE = [
    (
        "AAAAfwAAAFKbxZivCzpldmVudC10eXBlBwAMbWVzc2FnZVN0YXJ0DTpjb250ZW50LXR5cGUHABBhcHBsaWNhdGlvbi9qc29uDTptZXNz"
        "YWdlLXR5cGUHAAVldmVudHsicm9sZSI6ImFzc2lzdGFudCIsInAiOiJhYiJ9nyN2Mg=="
    ),
    (
        "AAAAoAAAAFfgCoSoCzpldmVudC10eXBlBwARY29udGVudEJsb2NrRGVsdGENOmNvbnRlbnQtdHlwZQcAEGFwcGxpY2F0aW9uL2pzb24N"
        "Om1lc3NhZ2UtdHlwZQcABWV2ZW50eyJjb250ZW50QmxvY2tJbmRleCI6MCwiZGVsdGEiOnsidGV4dCI6IkRlZXAifSwicCI6ImFiYyJ9"
        "tWzSDA=="
    ),
    (
        "AAAAegAAAFHKLEZlCzpldmVudC10eXBlBwALbWVzc2FnZVN0b3ANOmNvbnRlbnQtdHlwZQcAEGFwcGxpY2F0aW9uL2pzb24NOm1lc3Nh"
        "Z2UtdHlwZQcABWV2ZW50eyJzdG9wUmVhc29uIjoiZW5kX3R1cm4ifV+/Cfw="
    ),
]
THROTTLED = (
    "AAAAkAAAAGGOkam3DzpleGNlcHRpb24tdHlwZQcAE3Rocm90dGxpbmdFeGNlcHRpb24NOmNvbnRlbnQtdHlwZQcAEGFwcGxpY2F0aW9u"
    "L2pzb24NOm1lc3NhZ2UtdHlwZQcACWV4Y2VwdGlvbnsibWVzc2FnZSI6IlRvbyBtYW55IHJlcXVlc3RzIn3mf4AF"
)

EVERY_TYPE: dict[str, Header] = {
    "true": True,
    "false": False,
    "byte": Byte(-7),
    "short": Short(-300),
    "integer": Integer(70_000),
    "long": Long(-(2**60)),
    "bytes": b"\0\xff\0",
    "time": datetime(2026, 11, 21, tzinfo=UTC),
    "id": UUID(int=2**127 + 5),
    "empty": "",
    "text": "a colour ☃",
    ":event-type": "chunk",
}


def test_messages_of_bedrock_are_read() -> None:
    received = frames("eventstream", b"".join(map(b64decode, CONVERSE)))
    assert [frame.fields["event"] for frame in received] == [
        "messageStart",
        "contentBlockDelta",
        "messageStop",
    ]
    assert [json.loads(frame.data or b"") for frame in received] == [
        {"role": "assistant", "p": "ab"},
        {"contentBlockIndex": 0, "delta": {"text": "Deep"}, "p": "abc"},
        {"stopReason": "end_turn"},
    ]
    assert received[0].fields[":content-type"] == "application/json"


def test_the_test_encoder_writes_the_bytes_of_bedrock() -> None:
    assert bedrock_event("messageStop", b'{"stopReason":"end_turn"}') == b64decode(CONVERSE[2])


def test_an_exception_message_is_an_error_event() -> None:
    [frame] = frames("eventstream", b64decode(THROTTLED))
    assert frame.fields["event"] == "error"
    assert frame.fields[":exception-type"] == "throttlingException"
    assert frame.data == b'{"message":"Too many requests"}'


def test_an_error_without_payload_takes_its_message_from_headers() -> None:
    messages = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "we broke"}
    [frame] = frames("eventstream", event_stream_message(messages))
    assert frame.fields["event"] == "error"
    assert json.loads(frame.data or b"") == {"message": "we broke", "code": "InternalFailure"}


def test_headers_that_are_not_text_are_skipped() -> None:
    [frame] = frames("eventstream", event_stream_message(EVERY_TYPE, b"payload"))
    texts = {name: value for name, value in EVERY_TYPE.items() if isinstance(value, str)}
    assert frame.fields == {**texts, "event": "chunk"}
    assert frame.data == b"payload"


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_the_last_header_may_be_of_any_type(name: str) -> None:
    both = {"first": "1", name: EVERY_TYPE[name]}
    [frame] = frames("eventstream", event_stream_message(both, b"{}"))
    assert frame.fields["first"] == "1"


def test_a_message_without_headers_and_payload_is_an_empty_frame() -> None:
    [frame] = frames("eventstream", event_stream_message({}))
    assert (frame.data, dict(frame.fields)) == (None, {})


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=20), max_size=4),
            st.binary(max_size=60),
        ),
        max_size=5,
    ),
    cuts,
)
def test_framing_reverses_encoding(
    messages: list[tuple[dict[str, str], bytes]], positions: list[int]
) -> None:
    body = b"".join(event_stream_message(headers, payload) for headers, payload in messages)
    outcome = run_framer("eventstream", split_at(body, positions))
    assert outcome.error is None
    for frame, (headers, payload) in zip(outcome.frames, messages, strict=True):
        assert {**frame.fields, **headers} == dict(frame.fields)
        assert (frame.data or b"") == payload


GOOD = bedrock_event("chunk", b'{"a":1}')


@pytest.mark.parametrize("at", range(len(GOOD)))
def test_a_flipped_bit_is_a_checksum_error(at: int) -> None:
    wrong = bytearray(GOOD)
    wrong[at] ^= 0x10
    outcome = run_framer("eventstream", [GOOD, bytes(wrong)])
    assert len(outcome.frames) == 1
    assert outcome.kind == "garbled"
    assert "checksum" in (outcome.error or "")


@pytest.mark.parametrize("left", range(1, len(GOOD)))
def test_a_truncated_message_is_a_disconnect(left: int) -> None:
    for pieces in ([GOOD, GOOD[:left]], split_evenly(GOOD + GOOD[:left], 1)):
        outcome = run_framer("eventstream", pieces)
        assert len(outcome.frames) == 1
        assert outcome.kind == "disconnect"


MALFORMED = {
    "length zero": (raw_message(b"", b"{}", total=0), "garbled"),
    "shorter than its lengths": (raw_message(b"", b"{}", total=11), "garbled"),
    "no room for its checksum": (raw_message(b"", b"{}", total=15), "garbled"),
    "shorter than its headers": (raw_message(header("a", "b"), b"", headers_length=1000), "garbled"),
    "headers of 4 GiB": (raw_message(header("a", "b"), b"", headers_length=2**32 - 1), "garbled"),
    "4 GiB": (raw_message(b"", b"{}", total=2**32 - 1), "limit"),
    "longer than the body": (raw_message(b"", b"{}", total=19), "disconnect"),
    "shorter than the body": (raw_message(b"", b"{}", total=17), "garbled"),
    "headers into the payload": (
        raw_message(header("a", "b"), b"\7payload", headers_length=len(header("a", "b")) + 3),
        "",
    ),
    "HTML": (b"<html><body>It works</body></html>", "garbled"),
    "JSON": (b'{"message": "no such model"}', "garbled"),
    "zeros": (bytes(64), "garbled"),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_message_is_an_error(fault: str) -> None:
    body, kind = MALFORMED[fault]
    outcome = run_framer("eventstream", [GOOD + body])
    assert len(outcome.frames) == 1
    assert outcome.kind == (kind or "garbled")
    assert run_framer("eventstream", split_evenly(GOOD + body, 1)) == outcome


HEADERS = {
    "an unknown type": b"\1a\x0a",
    "a type out of range": b"\1a\xc8\0\1x",
    "a truncated name": b"\x20a",
    "a name without a type": b"\1a",
    "a truncated length": b"\1a\7\0",
    "a missing length": b"\1a\7",
    "a truncated text": b"\1a\7\0\x09x",
    "a truncated number": b"\1a\5\0\0\0\0",
    "a name that is not UTF-8": b"\1\xff\7\0\1x",
    "a text that is not UTF-8": b"\1a\7\0\1\xff",
}


@pytest.mark.parametrize("fault", HEADERS)
def test_malformed_headers_are_an_error(fault: str) -> None:
    outcome = run_framer("eventstream", [raw_message(HEADERS[fault], b"{}")])
    assert (outcome.frames, outcome.kind) == ([], "garbled")
    assert "headers" in (outcome.error or "")


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("over", [-1, 0, 1, 2, 50])
@pytest.mark.parametrize("framing", MESSAGE_FRAMINGS)
def test_the_message_limit_is_exact(framing: str, over: int, size: int) -> None:
    limit = 40
    payload = b"x" * (limit + over)
    a_header = header("a", "b")
    bodies = {
        "websocket": [encode_message(payload)],
        "eventstream": [raw_message(b"", payload), raw_message(a_header, payload[len(a_header) :])],
    }
    for body in bodies[framing]:
        outcome = run_framer(framing, split_evenly(body, size), limit)
        if over > 0:
            assert (outcome.frames, outcome.kind) == ([], "limit")
            assert outcome.error is not None
            assert "more than 40 bytes (limits.frame of the route)" in outcome.error
        else:
            assert outcome.error is None
            assert len(outcome.frames) == 1


def test_an_oversized_length_is_refused_before_its_payload_arrives() -> None:
    assert run_framer("websocket", [(41).to_bytes(4, "big")], 40).kind == "limit"
    assert run_framer("eventstream", [raw_message(b"", b"", total=41 + 16)[:12]], 40).kind == "limit"


MESSAGE_BODIES = st.lists(st.binary(max_size=30), max_size=6)


@given(MESSAGE_BODIES, cuts, st.sampled_from([3, 12, 1000]), st.integers(0, 30))
@example([b"", b" ", b"\n"], [1, 2, 3], 12, 0)
def test_messages_are_independent_of_splits(
    messages: list[bytes], positions: list[int], limit: int, lost: int
) -> None:
    """Complete and truncated messages, within the limit and over the limit."""
    for framing, encode in (
        ("websocket", encode_message),
        ("eventstream", lambda data: bedrock_event("e", data)),
    ):
        body = b"".join(map(encode, messages))
        body = body[: max(len(body) - lost, 0)]
        outcome = run_framer(framing, [body], limit)
        assert run_framer(framing, split_at(body, positions), limit) == outcome
        assert run_framer(framing, split_evenly(body, 1), limit) == outcome


def test_websocket_messages_are_frames() -> None:
    messages = [b'{"a":1}', b"\n", b" ", b"", "☃".encode(), b"{", b"\0" * 300]
    received = frames("websocket", b"".join(map(encode_message, messages)))
    # A line break may be part of the text. An empty message is a keep-alive.
    assert [frame.data for frame in received] == [data for data in messages if data]


@pytest.mark.parametrize("lost", range(1, 8))
def test_a_truncated_websocket_message_is_a_disconnect(lost: int) -> None:
    outcome = run_framer("websocket", [encode_message(b"one") + encode_message(b"two")[:-lost]])
    assert [frame.data for frame in outcome.frames] == [b"one"]
    assert outcome.kind == (None if lost == 7 else "disconnect")
