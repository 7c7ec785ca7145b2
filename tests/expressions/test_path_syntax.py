"""The syntax of paths: RFC 9535, the place of an error, and the extensions of jsonpath-ng."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.deltas import MISSING
from bridge.expressions.paths import compile_path
from bridge.expressions.scope import Scope

DOC = {
    "a": [{"t": "x", "n": 1, "k-1": "v"}, {"t": "y", "n": 2}, {"t": "x", "n": None}],
    "o": {"p": {"n": 5}, "q": {"n": 6}},
    "it's": 1,
    'say "hi"': 2,
    "Ünï": 3,
    "☺": 4,
    "\n": 5,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (r"$['it\'s']", 1),
        (r'$["say \"hi\""]', 2),
        ("$.Ünï", 3),
        ("$.☺", 4),
        (r"$['\n']", 5),
        (r"$['\u263a']", 4),
        (r"$['\u00dcn\u00ef']", 3),
        ("$.a[0].k-1", "v"),
        ("$.a[-1].t", "x"),
        ("$.a[ 0 ] .t", "x"),
        ("$.a[:2].t", ["x", "y"]),
        ("$.a[::-1].n", [None, 2, 1]),
        ("$.a[1:].n", [2, None]),
        ("$.a[0,-1].n", [1, None]),
        ("$.a[0]['t','n']", ["x", 1]),
        ("$.o.*.n", [5, 6]),
        ("$.o[*]['n']", [5, 6]),
        ("$..p", [{"n": 5}]),
        ("$.o..n", [5, 6]),
        ("$.o[?@.n>5].n", [6]),
        ('$.a[?(@.t=="x")].n', [1, None]),
        ('$.a[?@.t == "x" && @.n].n', [1, None]),
        ("$.a[?@.n != null].n", [1, 2]),
        ("$.a[?!@.k].n", [1, 2, None]),
        ("$.a[?@.k != 1].n", [1, 2, None]),
        ("$.a[?@.n == 1 || @.n == 2].t", ["x", "y"]),
        ("$.a[?length(@.t) == 1].n", [1, 2, None]),
        ("$.a[?count(@.*) > 2].n", [1]),
        ("$.a[?match(@.t, '[xz]')].n", [1, None]),
        ("$.a[?search(@['k-1'], 'v')].n", [1]),
        ("$.a[?value(@.*) == 1].n", MISSING),
        ("$.a[?@.n == $.a[1].n].t", ["y"]),
        ("$.none[*].x", MISSING),
    ],
)
def test_a_path_of_the_standard(path: str, found: Any) -> None:
    assert compile_path(path).find(Scope(DOC)) == found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.a[", "expected a name in quotes, an index, a slice, * or ? at character 5"),
        ("$.a.", "expected a name or * at character 5"),
        ("$.a[01]", "expected an integer without leading zeros, up to 9007199254740991 at character 5"),
        ("$.a['b]", "expected a string that ends with '"),
        ("$.a[0", "expected `,` or `]` at character 6"),
        ("$.a]", "expected a dot, a bracket or the end of the path at character 4"),
        ("$.a b", "expected a dot, a bracket or the end of the path at character 4"),
        ("$.a[?@.b==]", 'expected a path from @ or $, a string such as "text", a number or a function'),
        ("$item.a[?@.b=1]", "expected `==` at character 13"),
        ("$.a[?@.b==c]", "at character 11"),
        ("$.a[?(@.b==1]", "expected `)` at character 13"),
        ("$.a[?@.*==1]", "a path with wildcards cannot be compared at character 6"),
        ("$.a[?'x']", "a value alone is not a test"),
        ("$.a[?len(@)>1]", "expected one of the functions length, count, value, match, search"),
        ("$.a[?length(@.*)>1]", "expected length(a value) at character 6"),
        ("$.a[?count(1)>1]", "expected count(a path)"),
        ("$.a[?match(@.b)]", "expected match(a value, a pattern)"),
        ("$.a['\\x']", "unknown escapes"),
        ("$.a['\\ud800']", "whole characters"),
    ],
)
def test_an_invalid_path_is_refused_with_its_place(path: str, expected: str) -> None:
    with pytest.raises(ValueError, match="is not a valid path") as raised:
        compile_path(path)
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ('$.a[?(@.t =~ "x|z")].n', [1, None]),
        ("$.a.`len`", 3),
        ('$.a[?(@.t=="x" & @.n==1)].n', [1]),
    ],
)
def test_extensions_of_jsonpath_ng_are_evaluated(path: str, found: Any) -> None:
    assert compile_path(path).find(Scope(DOC)) == found


def test_a_path_reads_below_its_first_name_unless_a_filter_reads_the_root() -> None:
    assert compile_path("$.a[?@.x].y").head == "a"
    assert compile_path("$.a[?@.x==$.b].y").head is None
    assert compile_path("$['a'].b").head == "a"
    assert compile_path("$..b").head is None


@given(st.text("$@.[]'\"*?:,()=!<>&|0123-ab \\", max_size=14).map(lambda text: f"$.a{text}"))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    try:
        path = compile_path(text)
    except ValueError as error:
        assert "is not a valid path" in str(error)  # noqa: PT017
        return
    found = path.find(Scope({"a": [{"b": 1}, [2, "a"]]}))
    assert found is MISSING or not path.many or isinstance(found, list)
