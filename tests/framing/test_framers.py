"""Each framing on what servers write, whole and cut at every place."""

from __future__ import annotations

import pytest

from bridge.framing import FRAMINGS
from tests.framing.splits import frames, run_framer, split_evenly


def _data(framing: str, body: bytes) -> list[bytes | str | None]:
    found = frames(framing, body)
    assert not any(frame.fields for frame in found)
    return [frame.data for frame in found]


def test_the_framings_have_the_names_of_the_language() -> None:
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
def test_lines(body: bytes, lines: list[bytes]) -> None:
    assert _data("ndjson", body) == lines


def test_a_carriage_return_is_white_space_at_the_end_of_a_line() -> None:
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
def test_nul(body: bytes, values: list[bytes]) -> None:
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
def test_values_one_after_another(body: bytes, values: list[bytes]) -> None:
    assert _data("json", body) == values


def test_arrays_are_values_too() -> None:
    assert _data("json", b"[1,[2]] [] {}") == [b"[1,[2]]", b"[]", b"{}"]


@pytest.mark.parametrize("body", [b'{"a":1}{"a":', b'{"a":1}{"a":"x'])
def test_a_value_that_is_cut_short_is_left_to_its_reader(body: bytes) -> None:
    assert _data("json", body) == [b'{"a":1}', body[7:]]


@pytest.mark.parametrize("body", [b"}", b"]]", b"{]}", b"}{}", b"1]2"])
def test_brackets_that_nothing_opened_do_not_stop_the_framer(body: bytes) -> None:
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
def test_the_elements_of_an_array(body: bytes, values: list[bytes]) -> None:
    assert _data("json-array", body) == values


@pytest.mark.parametrize("body", [b"[", b'[{"a":1}', b'[{"a":1},', b'[{"a":1},\r\n'])
def test_an_array_that_is_cut_short_is_an_error_behind_its_good_frames(body: bytes) -> None:
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
def test_raw_text(body: bytes, text: str) -> None:
    assert "".join(str(data) for data in _data("text", body)) == text
