"""Server-sent events, by the WHATWG standard and as servers write them."""

from __future__ import annotations

import pytest

from bridge.core.frames import Frame
from bridge.framing import FRAMINGS
from tests.framing.splits import frames, run_framer

ENDS = [b"\n", b"\r\n", b"\r"]

STREAM = [
    b"event: add",
    b"id: 7",
    b'data: {"a":1}',
    b"",
    b": a comment",
    b'data:{"a":2}',
    b"",
    b"data: one",
    b"data:two",
    b"data:  three ",
    b"",
    b"meta: x: y",
    b"retry",
    b"",
    b"event: finish",
    b"",
    b"data: [DONE]",
    b"",
]
EVENTS = [
    Frame(b'{"a":1}', {"event": "add", "id": "7"}),
    Frame(b'{"a":2}'),
    Frame(b"one\ntwo\n three "),
    Frame(None, {"meta": "x: y", "retry": ""}),
    Frame(None, {"event": "finish"}),
    Frame(b"[DONE]"),
]


@pytest.mark.parametrize("end", ENDS)
def test_each_line_ending_is_accepted(end: bytes) -> None:
    body = end.join(STREAM) + end
    assert frames("sse", body) == EVENTS
    assert frames("sse", b"\xef\xbb\xbf" + body) == EVENTS


@pytest.mark.parametrize("shift", range(3))
def test_line_endings_may_be_mixed_within_a_stream(shift: int) -> None:
    # A CR before a blank line ended by LF would be one CRLF, so that pair is left out.
    ends = [ENDS[(number + shift) % 2] for number in range(len(STREAM))]
    assert frames("sse", b"".join(line + end for line, end in zip(STREAM, ends, strict=True))) == EVENTS


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: a\n\r\ndata: b\r\n\ndata: c\r\r", [b"a", b"b", b"c"]),
        (b"data: a\r\n\rdata: b\n\r", [b"a", b"b"]),
        (b"\r\n\r\n\n\r\rdata: a\n\n\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n", [b"a"]),
    ],
)
def test_line_endings_may_be_mixed_around_blank_lines(body: bytes, expected: list[bytes]) -> None:
    assert [frame.data for frame in frames("sse", body)] == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # up to one space after the colon is removed
        (b"data:a\n\n", [Frame(b"a")]),
        (b"data:  a\n\n", [Frame(b" a")]),
        (b"data: a \n\n", [Frame(b"a ")]),
        (b"data:\ta\n\n", [Frame(b"\ta")]),
        # data lines
        (b"data\n\n", [Frame(b"")]),
        (b"data:\n\n", [Frame(b"")]),
        (b"data: \n\n", [Frame(b"")]),
        (b"data: a\ndata\ndata: b\n\n", [Frame(b"a\n\nb")]),
        (b"data: a: b:c\n\n", [Frame(b"a: b:c")]),
        (b"data: {\ndata: }\n\n", [Frame(b"{\n}")]),
        # comments
        (b": ping\n\n", []),
        (b":\n\n:\n\ndata: a\n\n", [Frame(b"a")]),
        (b": x\ndata: a\n: y\n\n", [Frame(b"a")]),
        (b": x\n: y\n: z\n", []),
        # fields, known and unknown
        (b"event: e\ndata: a\nid\n\n", [Frame(b"a", {"event": "e", "id": ""})]),
        (b"event: e\nevent: f\ndata: a\n\n", [Frame(b"a", {"event": "f"})]),
        (b"meta: {}\nDATA: x\n\n", [Frame(None, {"meta": "{}", "DATA": "x"})]),
        (b"no colon at all\n\n", [Frame(None, {"no colon at all": ""})]),
        (b"event: \xc3\xa9\xff\ndata: a\n\n", [Frame(b"a", {"event": "é\ufffd"})]),
        # the end of the body without a blank line, or without any
        (b"data: a\n\ndata: b", [Frame(b"a"), Frame(b"b")]),
        (b"data: a\n\ndata: b\n", [Frame(b"a"), Frame(b"b")]),
        (b"event: e\ndata: b\r", [Frame(b"b", {"event": "e"})]),
        # characters that resemble line endings
        (
            b"data: a\xe2\x80\xa8b\xc2\x85c\x0bd\x0c\x1ce\n\n",
            [Frame(b"a\xe2\x80\xa8b\xc2\x85c\x0bd\x0c\x1ce")],
        ),
        # a BOM, at the beginning only
        (b"\xef\xbb\xbfdata: a\n\n", [Frame(b"a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [Frame(None, {"\ufeffdata": "a"})]),
        (b"\xef\xbb\xbf", []),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Frame(b"a"), Frame(None, {"\ufeffdata": "b"})]),
        # leading blank lines
        (b"\n\n\r\ndata: a\n\n", [Frame(b"a")]),
    ],
)
def test_an_event_has_its_data_and_fields(body: bytes, expected: list[Frame]) -> None:
    assert frames("sse", body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "x"}',
        b'\xef\xbb\xbf \r\n{"error": "x"}',
        b'{\n  "text": "a",\n\n  "b": [\n\n]\n}',
        b'[{"error": "data: x"}]',
        b'{"a": "data: x\\n\\ndata: y"}',
        b"{not json",
    ],
)
def test_a_json_body_instead_of_a_stream_is_one_bare_frame(body: bytes) -> None:
    (frame,) = frames("sse", body)
    assert frame == Frame(body.removeprefix(b"\xef\xbb\xbf").lstrip(), bare=True)


def test_bare_json_between_events_is_a_frame() -> None:
    body = b'data: a\n\n{"error": {"message": "gone"}}\n\ndata: b\n\n'
    assert frames("sse", body) == [
        Frame(b"a"),
        Frame(b'{"error": {"message": "gone"}}', bare=True),
        Frame(b"b"),
    ]


def test_bare_json_after_the_last_event_is_a_frame() -> None:
    assert frames("sse", b'data: a\n\n{"error": 1}')[1:] == [Frame(b'{"error": 1}', bare=True)]
    assert frames("sse", b'data: a\r\n\r\n{"error": 1}\r\n')[1:] == [Frame(b'{"error": 1}', bare=True)]


def test_a_crlf_split_across_pieces_is_one_line_ending() -> None:
    pieces = [b"data: a\r", b"\ndata: b\r", b"\n\r", b"\ndata: c\r", b"\n", b"\r", b"\n"]
    assert run_framer("sse", pieces).frames == [Frame(b"a\nb"), Frame(b"c")]


def test_a_frame_is_returned_as_soon_as_its_blank_line_arrives() -> None:
    framer = FRAMINGS["sse"].framer(100)
    assert list(framer.feed(b"data: a\n")) == []
    assert list(framer.feed(b"\n")) == [Frame(b"a")]
    assert list(framer.feed(b"data: b\r\n\r")) == [Frame(b"b")]
    assert list(framer.feed(b"\ndata: c\n\ndata: d")) == [Frame(b"c")]
    assert list(framer.close()) == [Frame(b"d")]
