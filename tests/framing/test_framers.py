"""Each framing on bodies that servers write, in one piece and split at every position."""

from __future__ import annotations

import pytest

from bridge.exchange.dry_run import simulate
from bridge.framing import FRAMINGS
from bridge.framing.raw_text import MAX_PIECE
from tests.exchange.single_exchange import new_exchange, request
from tests.framing.splits import frames, run_framer, split_evenly


def _data(framing: str, body: bytes) -> list[bytes | str | None]:
    result = frames(framing, body)
    assert not any(frame.fields for frame in result)
    return [frame.data for frame in result]


def test_every_documented_framing_is_registered() -> None:
    assert {"sse", "ndjson", "nul", "json-array", "json", "text"} <= FRAMINGS.keys()


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_empty_body_has_no_frames(framing: str) -> None:
    assert frames(framing, b"") == []


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b'{"a":1}\n{"a":2}\n', [b'{"a":1}', b'{"a":2}']),
        (b'{"a":1}\n{"a":2}', [b'{"a":1}', b'{"a":2}']),
        (b'{"a":1}\n\n \n\t\n{"a":2}\n\n', [b'{"a":1}', b'{"a":2}']),
        (b"\n\n", []),
        (b'{"a":"\xe2\x80\xa8\xc2\x85\x0b\x0c\x1e"}\n', [b'{"a":"\xe2\x80\xa8\xc2\x85\x0b\x0c\x1e"}']),
        (b"not json\n1\n", [b"not json", b"1"]),
        (b'{"a":"\xff\xc3"}\n', [b'{"a":"\xff\xc3"}']),
    ],
)
def test_ndjson_frames_are_non_blank_lines(body: bytes, lines: list[bytes]) -> None:
    assert _data("ndjson", body) == lines


def test_ndjson_lines_may_end_with_a_carriage_return() -> None:
    assert [data.strip() for data in _data("ndjson", b"1\r\n2\r\n\r\n3") if isinstance(data, bytes)] == [
        b"1",
        b"2",
        b"3",
    ]


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b'{"a":1}\0{"a":2}\0', [b'{"a":1}', b'{"a":2}']),
        (b'{"a":1}\0{"a":2}', [b'{"a":1}', b'{"a":2}']),
        (b'{"a":1}\0\0\n\0{"a":2}', [b'{"a":1}', b'{"a":2}']),
        (b'{"a":1}\n{"a":2}\n', [b'{"a":1}', b'{"a":2}']),
        (b"\0", []),
    ],
)
def test_nul_frames_end_with_a_nul_byte(body: bytes, values: list[bytes]) -> None:
    assert _data("nul", body) == values


VALUES = [
    (b'{"a":1}{"a":2}', [b'{"a":1}', b'{"a":2}']),
    (b' {"a":1}\r\n{"a":2} ', [b'{"a":1}', b'{"a":2}']),
    (b'{"a":{"b":[1,{"c":2}]}}{"d":[]}', [b'{"a":{"b":[1,{"c":2}]}}', b'{"d":[]}']),
    (b'{"a":"}{]["}{"b":1}', [b'{"a":"}{]["}', b'{"b":1}']),
    (b'{"a":"\\"}"}{"b":1}', [b'{"a":"\\"}"}', b'{"b":1}']),
    (b'{"a":"\\\\"}{"b":1}', [b'{"a":"\\\\"}', b'{"b":1}']),
    (b'{"\\\\\\"}":1}{"b":1}', [b'{"\\\\\\"}":1}', b'{"b":1}']),
    (b'{\n  "a": 1\n}\n{\n  "a": 2\n}\n', [b'{\n  "a": 1\n}', b'{\n  "a": 2\n}']),
    (b'1 2.5\n-3e4 true null "x y"', [b"1", b"2.5", b"-3e4", b"true", b"null", b'"x y"']),
    (b'"a""b"1"c"', [b'"a"', b'"b"', b"1", b'"c"']),
    (b'{"a":1},{"a":2}\0{"a":3}', [b'{"a":1}', b'{"a":2}', b'{"a":3}']),
    (b'{"a":"\xc3\xa9\xf0\x9f\x98\x80"}{}', [b'{"a":"\xc3\xa9\xf0\x9f\x98\x80"}', b"{}"]),
]


@pytest.mark.parametrize(("body", "values"), VALUES)
def test_json_frames_are_consecutive_values(body: bytes, values: list[bytes]) -> None:
    assert _data("json", body) == values


def test_json_frames_may_be_arrays() -> None:
    assert _data("json", b"[1,[2]] [] {}") == [b"[1,[2]]", b"[]", b"{}"]


@pytest.mark.parametrize("body", [b'{"a":1}{"a":', b'{"a":1}{"a":"x'])
def test_a_truncated_json_value_is_a_frame(body: bytes) -> None:
    assert _data("json", body) == [b'{"a":1}', body[7:]]


@pytest.mark.parametrize("body", [b"}", b"]]", b"{]}", b"}{}", b"1]2"])
def test_unopened_brackets_are_passed_on_as_frames(body: bytes) -> None:
    assert b"".join(data for data in _data("json", body) if isinstance(data, bytes)) == body


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b'[{"a":1},{"a":2}]', [b'{"a":1}', b'{"a":2}']),
        (b'[{"a":1},\r\n{"a":2}\r\n]\r\n', [b'{"a":1}', b'{"a":2}']),
        (b'\n[ {"a":1}\n,\n{"a":[1,2]} ]', [b'{"a":1}', b'{"a":[1,2]}']),
        (b'[[1],[2,"]"],[]]', [b"[1]", b'[2,"]"]', b"[]"]),
        (b'[1,"a",null]', [b"1", b'"a"', b"null"]),
        (b"[]", []),
        (b" [ ] ", []),
        (b'{"error":"x"}', [b'{"error":"x"}']),
    ],
)
def test_json_array_frames_are_elements(body: bytes, values: list[bytes]) -> None:
    assert _data("json-array", body) == values


@pytest.mark.parametrize("body", [b"[", b'[{"a":1}', b'[{"a":1},', b'[{"a":1},\r\n'])
def test_a_truncated_array_is_an_error_after_its_frames(body: bytes) -> None:
    for size in (1, 2, 100):
        outcome = run_framer("json-array", split_evenly(body, size))
        assert [frame.data for frame in outcome.frames] == [b'{"a":1}'][: body.count(b"}")]
        assert outcome.kind == "disconnect"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"hello", "hello"),
        ("naïve 中文 😀".encode(), "naïve 中文 😀"),
        (b"a\nb\r\n\0", "a\nb\r\n\0"),
        (b"a\xffb", "a\ufffdb"),
        (b"a\xe4\xb8", "a\ufffd"),
        (b"\xef\xbb\xbfa", "\ufeffa"),
    ],
)
def test_raw_text_is_decoded_with_replacement_characters(body: bytes, text: str) -> None:
    assert "".join(str(data) for data in _data("text", body)) == text


def test_raw_text_that_arrives_together_is_one_frame() -> None:
    framer = FRAMINGS["text"].framer(1000)
    assert [frame.data for frame in framer.feed(b"word by word")] == ["word by word"]
    assert [frame.data for frame in framer.feed("né".encode()[:2])] == ["n"]
    assert [frame.data for frame in framer.feed("né".encode()[2:] + b"e")] == ["ée"]
    assert [frame.data for frame in framer.close()] == []


def test_raw_text_that_arrives_together_has_bounded_frames() -> None:
    frames = [*FRAMINGS["text"].framer(1000).feed(b"x" * 40_000)]
    assert [len(frame.data or "") for frame in frames] == [MAX_PIECE, MAX_PIECE, 40_000 - 2 * MAX_PIECE]


def test_a_megabyte_of_raw_text_is_few_chunks() -> None:
    """A chunk for each character made 219 MB of the megabyte."""
    rules = "response: false\nstream: {framing: text, text: $}"
    out = simulate(new_exchange(rules, request(stream=True)), [b"x" * 2**20])
    assert len(out) < 1.1 * 2**20
