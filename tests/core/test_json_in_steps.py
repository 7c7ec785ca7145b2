"""JSON parsed and encoded in steps equals JSON parsed and encoded at once."""

from __future__ import annotations

import json as standard
import time
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core import json

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda items: st.lists(items, max_size=4) | st.dictionaries(st.text(max_size=5), items, max_size=4),
    max_leaves=30,
)
TEXTS = st.binary(max_size=20) | st.text('[]{}",:\\ud8de0 \t\nNa1.-', max_size=20).map(str.encode)


def result_or_error(parse: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return parse(data)
    except ValueError:
        return ValueError


@given(VALUES)
def test_values_are_parsed_as_at_once(value: Any) -> None:
    data = json.dumps(value)
    assert json.loads_in_steps(data) == value
    parsed, is_strict = json.loads_numbers(data)
    assert parsed == value
    assert is_strict or b"\\ud" in data.lower()


@given(TEXTS)
@example(b'["\\ud800"]')
@example(b'["\\ud83d\\ude00"]')
@example(b"\xef\xbb\xbf[]")
@example(b"[NaN, -Infinity]")
@example(b'["a\nb"]')
@example(b'["\xff"]')
@example(b"[" * 100_000)
def test_every_text_is_parsed_as_at_once(data: bytes) -> None:
    expected = result_or_error(json.loads, data)
    assert result_or_error(json.loads_in_steps, data) == expected
    found = result_or_error(json.loads_numbers, data)
    if found is ValueError:
        assert expected is ValueError
        return
    value, is_strict = found
    assert value == expected
    if is_strict:  # such bytes may be forwarded
        assert json.loads_strictly(data) == value


def test_an_object_with_many_members_is_complete_and_the_last_of_equal_names_wins() -> None:
    names = {f"k{number}": number for number in range(25_000)}
    data = json.dumps(names)[:-1] + b',"k7":"last"}'
    assert json.loads_in_steps(data) == {**names, "k7": "last"}


@pytest.mark.parametrize("text", ["x", '"', "\\", "\x01", "é", "😀", "\ud800"])
def test_long_strings_are_encoded_as_at_once(text: str) -> None:
    value = {"a": [text * (2**21 // len(text) + 3), "short"], "b": {"c": 1}}
    assert json.dumps_in_steps(value) == json.dumps(value)


@pytest.mark.parametrize(
    "parse",
    [json.loads_in_steps, json.loads_numbers, lambda data: json.dumps_in_steps("\\" * 10 * len(data))],
)
def test_other_threads_run_meanwhile(parse: Callable[[bytes], Any]) -> None:
    data = standard.dumps([{"a": number} for number in range(300_000)]).encode()
    thread = Thread(target=parse, args=(data,))
    thread.start()
    turns = 0
    while thread.is_alive():
        time.sleep(0)
        turns += 1
    assert turns > 10


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 101 + "]" * 101, "too deeply"),
        ("[" + "0," * 200_000 + "0]", "more than 200000 values"),
        ("[", "Expecting value"),
        ("", "Expecting value"),
        ("\ud800", "Expecting value"),
    ],
)
def test_text_within_json_has_limits(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        json.loads_text(text)


def test_text_within_json_is_parsed() -> None:
    assert json.loads_text("[" * 100 + "]" * 100) is not None
    assert json.loads_text('{"a": "é\\ud800", "b": [1.5]}') == {"a": "é\ud800", "b": [1.5]}
