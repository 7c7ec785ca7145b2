"""YAML 1.2 with locations: scalars, anchors, merge keys and problems."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.problems import Problems
from bridge.config.yaml_tree import parse
from tests.config.yaml_reader import problems_of, read, tree

# YAML 1.2.2, 10.3.2 (core schema). Scalars that only YAML 1.1 converts stay text.
SCALARS: list[tuple[str, Any]] = [
    ("no", "no"), ("No", "No"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("n", "n"),
    ("12:30", "12:30"), ("12:30:45", "12:30:45"), ("2001-12-14", "2001-12-14"), ("1_000", "1_000"),
    ("0b11", "0b11"), ("=", "="), ("-0o17", "-0o17"), ("0o8", "0o8"), ("0xg", "0xg"), ("1e", "1e"),
    ("1.2.3", "1.2.3"), ("1,000", "1,000"), ("tRUE", "tRUE"), ("nULL", "nULL"), ("-", [None]),
    ("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False), ("FALSE", False),
    ("null", None), ("Null", None), ("NULL", None), ("~", None), ("", None),
    ("0", 0), ("-0", 0), ("+12", 12), ("-7", -7), ("007", 7), ("0o17", 15), ("0x1F", 31), ("0xff", 255),
    ("9007199254740993", 9007199254740993), ("1234567890123456789012", 1234567890123456789012),
    ("1e3", 1000.0), ("1E-2", 0.01), ("1.", 1.0), (".5", 0.5), ("-1.5e+3", -1500.0), ("6.02", 6.02),
    (".inf", math.inf), ("+.INF", math.inf), ("-.Inf", -math.inf),
    ('"5"', "5"), ("'true'", "true"), ('"null"', "null"), ('"a\\nb"', "a\nb"), ("'it''s'", "it's"),
    ("$.a[0]", "$.a[0]"), ("/v1/{x}", "/v1/{x}"), ("a: b".replace(": ", ":"), "a:b"), ("!!str 5", "5"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_are_typed_by_yaml_1_2(text: str, value: Any) -> None:
    result = read(f"key: {text}" if value != [None] else f"key:\n  {text}")["key"]
    assert result == value
    assert type(result) is type(value)


def test_nan_is_a_float() -> None:
    assert math.isnan(read("[.nan]")[0])


def test_keys_are_typed_as_values() -> None:
    result = read("{1: a, '1': b, -4: c, no: d, null: e, 1.5: f, true_: g}")
    assert result == {1: "a", "1": "b", -4: "c", "no": "d", None: "e", 1.5: "f", "true_": "g"}


@pytest.mark.parametrize(
    "keys", ["a: 1, a: 2", "1: 1, 1: 2", "'1': 1, '1': 2", "true: 1, True: 2", "0x1: 1, 1: 2"]
)
def test_a_duplicate_key_is_a_problem(keys: str) -> None:
    (fault,) = problems_of("{" + keys + "}")
    assert "duplicate key" in fault
    assert fault.startswith(f"1:{keys.index(',') + 4}:")


def test_keys_that_are_equal_in_python_are_duplicates() -> None:
    assert problems_of("{1: a, true: b}") == ["1:8: duplicate key `true`"]


def test_an_alias_has_the_value_of_its_anchor() -> None:
    assert read("a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]") == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": [{"b": [1, 2]}, {"b": [1, 2]}],
    }


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("<<: *one", {"a": 1, "b": 2}),
        ("<<: *one\n  a: 9", {"a": 9, "b": 2}),
        ("a: 9\n  <<: *one", {"a": 9, "b": 2}),
        ("<<: [*one, *two]", {"a": 1, "b": 2, "c": 4}),
        ("<<: [*two, *one]", {"a": 1, "b": 3, "c": 4}),
        ("<<: {a: 5}", {"a": 5}),
        ("<<: []", {}),
        ("'<<': 1", {"<<": 1}),
    ],
)
def test_merge_keys_are_merged(text: str, merged: dict[str, Any]) -> None:
    assert (
        read(f"one: &one {{a: 1, b: 2}}\ntwo: &two {{b: 3, c: 4}}\nmerged:\n  {text}\n")["merged"] == merged
    )


def test_merge_keys_are_merged_transitively() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2, z: 2}\nc: {<<: *b, z: 3}"
    assert read(text)["c"] == {"x": 1, "y": 2, "z": 3}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a {b: {c: *a}}",
        "a: &a\n  <<: *a",
        "a: *b",
        "a: &a 1\nb: *c",
        "[",
        "{a: 1",
        "a: b: c",
        "'a",
        "a: {b: {{ c }}}",
        "a:\n\t- b",
        "a: !own b",
        "a: !own [b]",
        "a: !!binary aGk=",
        "a: !!int five",
        "a: !!float many",
        "%YAML",
        "a\n---\nb",
        "a: \x00",
        "a: \x1b[0m",
        "? [a]\n: b",
        "? {a: b}\n: c",
        "<<: 1",
        "<<: [1]",
        "a: " + "9" * 5000,
        "[" * 400,
        "{a: " * 300,
    ],
)
def test_invalid_yaml_is_a_problem_and_not_an_exception(text: str) -> None:
    assert problems_of(text)


@pytest.mark.parametrize("levels", [150, 340, 450])
def test_excessive_nesting_is_a_problem(levels: int) -> None:
    (fault,) = problems_of("[" * levels + "]" * levels)
    assert "levels" in fault or "nested too deeply" in fault
    assert read("[" * 90 + "]" * 90)


def test_expansion_of_aliases_is_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert any("too many values" in fault for fault in problems_of("\n".join(lines)))


@given(st.text(alphabet=st.sampled_from("ab:-?{}[]&*!|>'\"%@` \n\t#,$<~0.\r\x85\ufeff中")))
def test_any_text_is_parsed_or_reported(text: str) -> None:
    problems = Problems()
    assert parse(text, "file.yaml", problems) is not None or problems
    for problem in problems:
        assert str(problem)


def test_every_value_has_its_location_and_path() -> None:
    text = "a:\n  - b: 1\n    c.d: {e: [x]}\n"
    nodes = {node.path: (node.location.line, node.location.column) for node in tree(text).walk()}
    assert nodes == {
        "": (1, 1),
        "a": (2, 3),
        "a[0]": (2, 5),
        "a[0].b": (2, 8),
        "a[0]['c.d']": (3, 10),
        "a[0]['c.d'].e": (3, 14),
        "a[0]['c.d'].e[0]": (3, 15),
    }
    key = tree(text).find(("a", 0, "c.d")).key_location
    assert key is not None
    assert (key.line, key.column) == (3, 5)


def test_find_returns_the_deepest_existing_node() -> None:
    top = tree("a: [{b: text}]")
    assert top.find(("a", 0, "b", "c")).path == "a[0].b"
    assert top.find(("a", 7)).path == "a"
    assert top.find(("z", 0)).path == ""
    assert top.find(("a", 0, "b", 0)).path == "a[0].b"


def test_a_byte_order_mark_is_skipped() -> None:
    assert read("\ufeffa: 1") == {"a": 1}
    assert problems_of("\ufeffa: 1\na: 2") == ["2:1: duplicate key `a`"]
