"""Transforms of a value: each option, and the order of options."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.expressions.extractors import compile_slot
from bridge.expressions.scope import RuleErrors, Scope
from bridge.expressions.transforms import compile_transforms
from tests.config.yaml_reader import read
from tests.expressions.rule_compiler import JSON, render, template_problems


def _transformed(options: str, value: Any) -> Any:
    """Return a member with these options applied, MISSING if the member is omitted."""
    return render(f"{{a: {{$path: $.a, {options}}}}}", {"a": value}).get("a", MISSING)


@pytest.mark.parametrize(
    ("options", "value", "result"),
    [
        ("min: 1", 0, 1),
        ("min: 1", 5, 5),
        ("max: 4096", 9999, 4096),
        ("max: 4096", 5, 5),
        ("min: 1, max: 3", 2, 2),
        ("min: 0.5", 0, 0.5),
        ("max: 5", "text", "text"),
        ("max: 0", True, True),
        ("above: 0", 1, 1),
        ("above: 0", 0, MISSING),
        ("above: 0", -1, MISSING),
        ("below: 1", 0.9, 0.9),
        ("below: 1", 1, MISSING),
        ("above: 0, below: 1", 0.5, 0.5),
        ("above: 0, default: 7", -1, MISSING),
        ("scale: 2", 3, 6),
        ("scale: 0.5", 3, 1.5),
        ("offset: 1", 3, 4),
        ("offset: -1.5", 3, 1.5),
        ("scale: 2", "3", "3"),
        ("scale: 2", True, True),
        ("offset: 1", None, None),
        ("scale: 2", [1], [1]),
        ("as: int", "42", 42),
        ("as: int", "42.9", 42),
        ("as: int", 42.9, 42),
        ("as: int", -1.5, -1),
        ("as: int", True, 1),
        ("as: int", "x", MISSING),
        ("as: int", [1], MISSING),
        ("as: int", "1e400", MISSING),
        ("as: int", "9007199254740993", 9007199254740993),
        ("as: int", " 7 ", 7),
        ("as: int", float("nan"), MISSING),
        ("as: float", "1.5", 1.5),
        ("as: float", 1, 1.0),
        ("as: float", "x", MISSING),
        ("as: float", {}, MISSING),
        ("as: string", 5, "5"),
        ("as: string", "a", "a"),
        ("as: string", True, "true"),
        ("as: string", 1.5, "1.5"),
        ("as: string", {"a": [1, "é"]}, '{"a":[1,"é"]}'),
        ("as: string", None, None),
        ("as: bool", "true", True),
        ("as: bool", "false", False),
        ("as: bool", "0", False),
        ("as: bool", "", False),
        ("as: bool", "no", False),
        ("as: bool", "yes", True),
        ("as: bool", 0, False),
        ("as: bool", 2, True),
        ("as: bool", [], False),
        ("as: bool", " False ", False),
        ("as: json", "a", '"a"'),
        ("as: json", {"a": 1}, '{"a":1}'),
        ("as: json", [1, None], "[1,null]"),
        ("join: ', '", ["a", "b"], "a, b"),
        ("join: ''", ["a", 1, True], "a1true"),
        ("join: x", [], ""),
        ("join: ','", "text", "text"),
        ("join: ','", 5, 5),
        ("take: first", [1, 2, 3], 1),
        ("take: last", [1, 2, 3], 3),
        ("take: 1", [1, 2, 3], 2),
        ("take: -2", [1, 2, 3], 2),
        ("take: 3", [1, 2, 3], MISSING),
        ("take: first", [], MISSING),
        ("take: first", "text", "text"),
        ("take: 0", {"a": 1}, {"a": 1}),
        ("map: {eos: stop}", "eos", "stop"),
        ("map: {eos: stop}", "other", "other"),
        ("map: {eos: stop}, default: length", "other", "length"),
        ("map: {eos: null}", "eos", None),
        ("map: {eos: stop}, default: length", "eos", "stop"),
        ("map: {a: b}", ["a"], ["a"]),
        ("map: {a: b}, default: c", {"a": 1}, "c"),
        ("map: {a: {b: [1]}}", "a", {"b": [1]}),
    ],
)
def test_an_option_transforms_a_value(options: str, value: Any, result: Any) -> None:
    transformed = _transformed(options, value)
    assert transformed == result
    assert type(transformed) is type(result)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (-4, 404),
        (-4.0, 404),
        ("-4", "text"),
        (True, "yes"),
        (1, "one"),
        (1.0, "one"),
        ("true", "true"),
        (0, "zero"),
        (False, False),
        ("no", "text no"),
        (None, None),
    ],
)
def test_keys_of_map_are_typed_as_in_yaml(value: Any, result: Any) -> None:
    table = "{-4: 404, '-4': text, 1: one, 0: zero, no: text no}"
    if value is True:
        table = "{true: yes}"
    assert _transformed(f"map: {table}", value) == result


@pytest.mark.parametrize(
    ("options", "value", "result"),
    [
        ("as: string, max: 5, min: 1, offset: 1, scale: 2", 9, "5"),
        ("max: 5, scale: 2", 2, 4),
        ("offset: 1, scale: 2", 3, 7),
        ("above: 3, max: 3", 9, MISSING),
        ("take: last, map: {b: c}", ["a", "b"], "c"),
        ("scale: 10, map: {low: 1}", "low", 10),
        ("join: '-', take: first", [["a", "b"], ["c"]], "a-b"),
        ("as: json, join: ', '", ["a", "b"], '"a, b"'),
        ("as: int, min: 5", "3", 3),
    ],
)
def test_options_are_applied_in_a_fixed_order(options: str, value: Any, result: Any) -> None:
    assert _transformed(options, value) == result
    assert (
        _transformed(", ".join(reversed(options.split(", "))) if "'" not in options else options, value)
        == result
    )


@pytest.mark.parametrize(
    "options",
    [
        "min: a",
        "max: true",
        "scale: null",
        "offset: []",
        "above: '1'",
        "below: {}",
        "join: 1",
        "as: text",
        "take: middle",
        "take: 1.5",
        "take: true",
        "map: []",
        "map: text",
        "as: [int]",
        "as: null",
    ],
)
def test_an_invalid_option_is_reported(options: str) -> None:
    name = options.split(":")[0]
    assert [at for at, _ in template_problems(f"{{x: {{$path: $.a, {options}}}}}")] == [("x", name)]


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "take": st.sampled_from(["first", "last", 0, -3]),
        "map": st.sampled_from([{"a": 1, 0: None}, {True: "x"}, {}]),
        "scale": st.sampled_from([2, 0.5, 1e308, float("inf")]),
        "offset": st.sampled_from([1, -0.5]),
        "min": st.just(1),
        "max": st.just(2.5),
        "above": st.just(0),
        "below": st.just(10),
        "join": st.sampled_from(["", ", "]),
        "as": st.sampled_from(["int", "float", "string", "bool", "json"]),
    },
)


@given(OPTIONS, JSON)
def test_any_value_is_transformed_or_omitted(options: dict[str, Any], value: Any) -> None:
    faults = RuleErrors()
    adjust = compile_transforms(options, faults)
    slot = compile_slot({"path": "$", **options}, faults)
    assert not faults.found
    assert (adjust is None) is (not options)
    transformed = slot.read(Scope(value))
    assert transformed is not None
    if transformed is not MISSING:
        json.dumps(transformed)


def test_an_excessively_nested_value_is_not_converted_to_a_string() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    assert compile_slot(read("{path: $, as: string}"), RuleErrors()).read(Scope(value)) is MISSING
    while value:  # dismantled level by level, since freeing the value at once would recurse as deeply
        value = value.pop()
