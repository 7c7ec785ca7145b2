"""Bounds of JSON: counts of values, levels of nesting, and names that are repeated."""

from __future__ import annotations

import json
import tracemalloc
from time import thread_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.json_bounds import has_more_values, nests_deeper

TEXTS = st.text(st.sampled_from('ab,[]{}:"\\é\n'), max_size=8)
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | TEXTS,
    lambda items: st.lists(items, max_size=4) | st.dictionaries(TEXTS, items, max_size=4),
    max_leaves=30,
)


def separators(value: Any) -> int:
    """Return the number of commas and opening brackets outside of strings, one by one."""
    if not isinstance(value, list | dict):
        return 0
    items = list(value.values() if isinstance(value, dict) else value)
    return 1 + max(len(items) - 1, 0) + sum(map(separators, items))


def depth(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


@given(VALUES, st.booleans())
def test_separators_are_counted_outside_of_strings(value: Any, ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    count = separators(value)
    assert not has_more_values(data, count)
    assert count == 0 or has_more_values(data, count - 1)


def test_the_count_does_not_depend_on_where_the_text_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    value = ["," * 7, "", "a", ["[{,"] * 5, {"": [], ",": {}}]
    data = json.dumps(value).encode()
    for size in range(1, len(data)):
        monkeypatch.setattr("bridge.core.json_bounds._CHUNK", size)
        assert not has_more_values(data, separators(value))
        assert has_more_values(data, separators(value) - 1)


@given(VALUES)
def test_levels_are_counted(value: Any) -> None:
    levels = depth(value)
    assert not nests_deeper(value, levels)
    assert levels == 0 or nests_deeper(value, levels - 1)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 101 + b'"' + b'\\"' * 500_000,
        b"[" * 101 + b'"' + b'\\"' * 500_000 + b"\\",
        b'["' + b"A" * 1_000_000 + b'"' + b",0" * 200 + b"]",
        b'","' * 300_000,
        b'"' + b"\\" * 1_000_001 + b"," * 200,
        b"[" * 1_000_000,
    ],
    ids=["escapes", "open escape", "photo", "commas in strings", "backslashes", "brackets"],
)
def test_a_megabyte_takes_neither_time_nor_memory(data: bytes) -> None:
    begin = thread_time()
    has_more_values(data, 100)
    assert thread_time() - begin < 0.5
    tracemalloc.start()
    has_more_values(data, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * len(data)
