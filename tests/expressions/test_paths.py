"""Paths: names and indexes give one value, other paths a list of matches; no match is MISSING."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.deltas import MISSING
from bridge.core.strings import Interpolated
from bridge.expressions.paths import compile_path, find_text_paths, is_path
from bridge.expressions.scope import Scope
from tests.expressions.rule_compiler import JSON, find

DOC: dict[str, Any] = {
    "a": {"b": [{"c": 1}, {"c": 2, "d": "x"}, {"c": None}]},
    "text": "hello",
    "number": 7,
    "null": None,
    "none": [],
    "some": {},
    "false": False,
    "x-y": {"z w": 1, "é": 2, "0": 3, "a.b": 4},
    "users": [{"name": "u", "age": 30, "on": True}, {"name": "v", "age": 1, "on": 1}],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOC),
        ("$.text", "hello"),
        ("$.null", None),
        ("$.false", False),
        ("$.none", []),
        ("$.a.b[0].c", 1),
        ("$.a.b[-1].c", None),
        ("$.a.b[-2].d", "x"),
        ("$['a']['b'][1]['c']", 2),
        ('$["a"].b[1]["c"]', 2),
        ("$.x-y['z w']", 1),
        ("$.x-y.é", 2),
        ("$.x-y.0", 3),
        ("$.x-y['a.b']", 4),
        ("$.text   ", "hello"),
        ("$.absent", MISSING),
        ("$.absent.more", MISSING),
        ("$.null.more", MISSING),
        ("$.null[0]", MISSING),
        ("$.number.more", MISSING),
        ("$.number[0]", MISSING),
        ("$.text[0]", MISSING),
        ("$.text[-1]", MISSING),
        ("$.text.length", MISSING),
        ("$.a.b[3]", MISSING),
        ("$.a.b[-4]", MISSING),
        ("$.a.b.c", MISSING),
        ("$.a[0]", MISSING),
        ("$.x-y[0]", MISSING),
        ("$[0]", MISSING),
        ("$.none[0]", MISSING),
    ],
)
def test_names_and_indexes_give_one_value(path: str, value: Any) -> None:
    assert find(path, DOC) == value
    assert (find(path, DOC) is MISSING) is (value is MISSING)
    assert not compile_path(path).many


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$.a.b[*].c", [1, 2, None]),
        ("$.a.b[*].d", ["x"]),
        ("$.a.b[0:2].c", [1, 2]),
        ("$.a.b[1:].c", [2, None]),
        ("$.a.b[-2:].c", [2, None]),
        ("$.a.b[:].c", [1, 2, None]),
        ("$.a.b[0,2].c", [1, None]),
        ("$.a.b[?(@.c == 2)].d", ["x"]),
        ("$.a.b[?@.d].c", [2]),
        ("$.users[?(@.age > 18)].name", ["u"]),
        ("$.users[?(@.age > 18 && @.name == 'u')].age", [30]),
        ("$.users[?(@.on == true)].name", ["u"]),
        ("$.users[?(@.name =~ '^v')].age", [1]),
        ("$..c", [1, 2, None]),
        ("$..d", ["x"]),
        ("$.a..c", [1, 2, None]),
        ("$.some.*", MISSING),
        ("$.none[*]", MISSING),
        ("$.a.b[*].absent", MISSING),
        ("$.a.b[5:].c", MISSING),
        ("$.users[?(@.age > 99)]", MISSING),
        ("$.users[?(@.name > 5)]", MISSING),
        ("$.text[*]", MISSING),
        ("$.text[0:2]", MISSING),
        ("$.number[*]", MISSING),
        ("$.a.b[*].d[0]", MISSING),
        ("$..absent", MISSING),
        ("$.users[*].age * 2", [60, 2]),
    ],
)
def test_a_path_with_several_matches_gives_a_list(path: str, values: Any) -> None:
    assert find(path, DOC) == values
    assert compile_path(path).many


def test_a_wildcard_matches_every_member() -> None:
    assert find("$.x-y.*", DOC) == [1, 2, 3, 4]


def test_a_path_may_start_at_the_item() -> None:
    assert find("$item", DOC, {"role": "user"}) == {"role": "user"}
    assert find("$item.role", DOC, {"role": "user"}) == "user"
    assert find("$item[1]", DOC, [1, 2]) == 2
    assert find("$item.parts[*].text", DOC, {"parts": [{"text": "a"}, {"text": "b"}]}) == ["a", "b"]
    assert find("$item", DOC, None) is None
    assert find("$item.text", DOC) is MISSING
    assert find("$item", DOC) is MISSING
    assert find("$item[*].a", DOC) is MISSING
    assert compile_path("$item.a").on_item
    assert not compile_path("$.item.a").on_item


@pytest.mark.parametrize(
    "text", ["$", "$.a", "$[0]", "$['a']", "$item", "$item.a", "$item[0]", "$..a", "$.", "$["]
)
def test_a_dollar_or_item_starts_a_path(text: str) -> None:
    assert is_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a.b",
        "$a",
        "$5",
        "$items",
        "$item_",
        "$$",
        "$$.a",
        " $.a",
        "${A}",
        "$-",
        "@.a",
        5,
        None,
        ["$"],
    ],
)
def test_other_values_are_not_paths(text: Any) -> None:
    assert not is_path(text)


def test_interpolated_text_is_not_a_path_nor_part_of_a_path() -> None:
    assert not is_path(Interpolated(["", ""], ["$.a"]))
    assert is_path(Interpolated(["$.", ""], ["a"]))
    with pytest.raises(ValueError, match="cannot be part of a path"):
        compile_path(Interpolated(["$.", ""], ["a"]))


@pytest.mark.parametrize(
    "text",
    ["", "a", "$.", "$..", "$.a[", "$.a[?(@.b", "$.a b", "$.a]", "$.`none`", "$.a.`sub(x)`", "$.a.`split(x)`",
     "$.a[?@.b =~ '(']", "$.a[01x]", "$.a..", "$.'a", "$.a.`sub(/(/, x)`", "$item[", "$\n.a", "$.a[1:2:3:4]",
     "$.a[?@.b == ]", "$.#", "$.a[**]"],
)  # fmt: skip
def test_an_invalid_path_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a valid path"):
        compile_path(text)


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("$.messages", "messages"),
        ("$['messages'][0]", "messages"),
        ("$.messages[0].content", "messages"),
        ("$.messages[*].content", "messages"),
        ("$.messages[?(@.role == 'user')].content", "messages"),
        ("$", None),
        ("$[0]", None),
        ("$.*", None),
        ("$..content", None),
        ("$.messages[?(@.role == $.role)]", None),
        ("$.a[*] + $.b[*]", None),
        ("$.a.`parent`.b", None),
    ],
)
def test_the_head_of_a_path_is_the_member_that_the_path_reads(path: str, head: str | None) -> None:
    assert compile_path(path).head == head


def _walk(steps: list[str | int], value: Any) -> Any:
    for step in steps:
        if isinstance(step, str):
            if not isinstance(value, dict) or step not in value:
                return MISSING
        elif not isinstance(value, list) or not -len(value) <= step < len(value):
            return MISSING
        value = value[step]
    return value


STEPS = st.lists(st.one_of(st.sampled_from(["a", "b", "c", "x-y"]), st.integers(-4, 4)), max_size=4)


@given(STEPS, JSON, st.randoms(use_true_random=False), st.booleans())
def test_a_path_of_names_and_indexes_walks_the_document(
    steps: list[str | int], doc: Any, random: Any, on_item: bool
) -> None:
    def written(step: str | int) -> str:
        if isinstance(step, int):
            return f"[{step}]"
        return str(random.choice([f".{step}", f"['{step}']", f'["{step}"]']))

    path = ("$item" if on_item else "$") + "".join(map(written, steps))
    result = find(path, None, doc) if on_item else find(path, doc)
    expected = _walk(steps, doc)
    assert result is expected


PIECES = [
    "$", ".", "..", "[", "]", "*", "a", "b", "item", "0", "-1", ":", ",", "?", "(", ")", "@", "==", "=~", "'",
    '"', "`", "len", "sub(", "parent", " ", "|", "&", "&&", "||", "<", "!", "+", "-", "/", "\\", "{", "}",
    "null", "true", "1.5", "where", "wherenot", "`this`", "`len`", "`keys`", "`split(a, 0, 1)`", "\n", "中",
]  # fmt: skip


@given(
    st.lists(st.sampled_from(PIECES), max_size=9).map("".join),
    st.sampled_from(["$", "$.", "$.a", "$item.a", ""]),
    JSON,
)
def test_any_text_is_a_value_error_or_a_path_that_does_not_raise(text: str, start: str, doc: Any) -> None:
    try:
        path = compile_path(start + text)
    except ValueError:
        return
    result = path.find(Scope(doc, doc))
    assert result is MISSING or not path.many or isinstance(result, list)


@pytest.mark.parametrize("value", [10**400, 0, "x", [1, "b"], None, MISSING])
@pytest.mark.parametrize(
    ("path", "results"),
    [
        ("$.a * 1.5", {"0": 0.0}),
        ("$.b - 1.5 * $.a", {}),
        ("$.a + 1", {"0": 1, str(10**400): 10**400 + 1}),
        ("$.a[\\b]", {"[1, 'b']": [1, "b"]}),
        ("$.a.`len`", {"x": 1, "[1, 'b']": 2}),
        ("$.a.`keys`", {}),
    ],
)
def test_arithmetic_and_functions_give_nothing_for_unsuitable_values(
    path: str, results: dict[str, Any], value: Any
) -> None:
    doc = {} if value is MISSING else {"a": value}
    assert find(path, doc) == results.get(str(value), MISSING)
    assert find(path, None) is MISSING


def test_a_path_of_thousands_of_steps_is_evaluated() -> None:
    doc: dict[str, Any] = {}
    assert find("$" + ".a" * 5000, doc) is MISSING
    assert find("$" + ".a" * 2000 + ".*", doc) is MISSING


def test_suggested_paths_lead_to_texts_and_the_most_similar_comes_first() -> None:
    docs = [{"data": [{"output": "hi", "n": 1}], "a b": "x"}, {"data": [{"output": "ho"}]}]
    assert find_text_paths(docs, "$.data[0].text") == ["$.data[0].output", "$['a b']"]
    assert find_text_paths([{"a": "b"}], limit=0) == []
