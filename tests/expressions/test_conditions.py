"""Conditions (`when`): every form, and conditions on missing values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.expressions.conditions import compile_request_condition, compile_when
from bridge.expressions.scope import RuleErrors, Scope
from tests.config.yaml_reader import read
from tests.expressions.rule_compiler import JSON, holds

DOC: dict[str, Any] = {
    "code": 0,
    "one": 1,
    "real": 1.0,
    "true": True,
    "false": False,
    "null": None,
    "text": "hello",
    "empty": "",
    "list": [1, "a", True],
    "nothing": [],
    "map": {"a": 1},
}


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        # equal to a value
        ("{$.code: 0}", True),
        ("{$.code: 1}", False),
        ("{$.text: hello}", True),
        ("{$.text: hell}", False),
        ("{$.one: 1.0}", True),
        ("{$.real: 1}", True),
        ("{$.one: '1'}", False),
        ("{$.null: null}", True),
        ("{$.true: true}", True),
        ("{$.true: 1}", False),
        ("{$.one: true}", False),
        ("{$.code: false}", False),
        ("{$.false: 0}", False),
        ("{$.false: false}", True),
        ("{$.empty: ''}", True),
        ("{$.empty: null}", False),
        # equal to a value of a list
        ("{$.code: [1, 0]}", True),
        ("{$.code: [1, 2]}", False),
        ("{$.code: []}", False),
        ("{$.true: [1, '1']}", False),
        ("{$.null: [null]}", True),
        ("{$.text: [a, hello]}", True),
        # tests
        ("{$.code: {not: 0}}", False),
        ("{$.code: {not: 1}}", True),
        ("{$.code: {not: false}}", True),
        ("{$.text: {not: [a, b]}}", True),
        ("{$.text: {not: [a, hello]}}", False),
        ("{$.null: {not: 0}}", True),
        ("{$.null: {not: null}}", False),
        ("{$.text: {not: {matches: ^h}}}", False),
        ("{$.text: {not: {matches: ^x}}}", True),
        ("{$.code: {exists: true}}", True),
        ("{$.code: {exists: false}}", False),
        ("{$.null: {exists: true}}", False),
        ("{$.null: {exists: false}}", True),
        ("{$.empty: {exists: true}}", True),
        ("{$.false: {exists: true}}", True),
        ("{$.one: {above: 0}}", True),
        ("{$.one: {above: 1}}", False),
        ("{$.one: {below: 2}}", True),
        ("{$.one: {below: 1}}", False),
        ("{$.one: {above: 0.5, below: 1.5}}", True),
        ("{$.one: {above: 0, below: 1}}", False),
        ("{$.true: {above: 0}}", False),
        ("{$.text: {above: 0}}", False),
        ("{$.null: {below: 5}}", False),
        ("{$.list: {above: 0}}", False),
        ("{$.text: {matches: l+o$}}", True),
        ("{$.text: {matches: ell}}", True),
        ("{$.text: {matches: ^ell}}", False),
        ("{$.one: {matches: '1'}}", False),
        ("{$.null: {matches: ''}}", False),
        ("{$.empty: {matches: ''}}", True),
        ("{$.text: {matches: ^h, not: hello}}", False),
        ("{$.text: {matches: ^h, not: help}}", True),
        # all of a mapping, any of a list
        ("{$.code: 0, $.text: hello}", True),
        ("{$.code: 0, $.text: help}", False),
        ("[{$.code: 1}, {$.text: hello}]", True),
        ("[{$.code: 1}, {$.text: help}]", False),
        ("[{$.code: 0, $.text: help}, {$.code: 0, $.one: 1}]", True),
        # a path with several matches: any match
        ("{'$.list[*]': a}", True),
        ("{'$.list[*]': b}", False),
        ("{'$.list[*]': [b, a]}", True),
        ("{'$.list[*]': {above: 0}}", True),
        ("{'$.list[*]': {above: 1}}", False),
        ("{'$.list[*]': {not: 1}}", True),
        ("{'$.nothing[*]': {exists: false}}", True),
        ("{'$.nothing[*]': {exists: true}}", False),
        ("{'$..a': 1}", True),
        ("{'$..z': 1}", False),
        # the document, and its members as values
        ("{$.list: [[1, a, true]]}", True),
        ("{$: {exists: true}}", True),
        ("{$.map: {exists: true}}", True),
    ],
)
def test_a_condition_is_evaluated(when: str, expected: bool) -> None:
    assert holds(when, DOC) is expected


@pytest.mark.parametrize(
    "path", ["$.absent", "$.text.more", "'$.text[0]'", "$.null.more", "'$.nothing[*]'", "'$..no'"]
)
@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("{exists: false}", True),
        ("{exists: true}", False),
        ("{not: 0}", False),
        ("{not: null}", False),
        ("{not: [1]}", False),
        ("{not: {exists: true}}", False),
        ("null", False),
        ("[null]", False),
        ("{above: 0}", False),
        ("{below: 0}", False),
        ("{matches: ''}", False),
        ("''", False),
        ("false", False),
        ("{exists: false, not: 0}", False),
    ],
)
def test_a_missing_value_satisfies_only_exists_false(path: str, match: str, expected: bool) -> None:
    assert holds(f"{{{path}: {match}}}", DOC) is expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("{event: message}", True),
        ("{event: [delta, message]}", True),
        ("{event: {not: message}}", False),
        ("{meta: {matches: tok}}", True),
        ("{absent: {exists: false}}", True),
        ("{absent: {not: x}}", False),
        ("{event: message, $.code: 0}", True),
        ("{event: message, $.code: 1}", False),
        ("{x-y.z: '1'}", True),
    ],
)
def test_a_condition_may_test_a_field_of_an_event(when: str, expected: bool) -> None:
    assert holds(when, DOC, {"event": "message", "meta": '{"tokens": 5}', "x-y.z": "1"}) is expected


def test_a_path_does_not_read_the_fields_of_an_event() -> None:
    assert not holds("{$.event: message}", DOC, {"event": "message"})


@pytest.mark.parametrize(
    ("when", "at"),
    [
        ("{}", ()),
        ("[]", ()),
        ("text", ()),
        ("5", ()),
        ("null", ()),
        ("[{$.a: 1}, {}]", (1,)),
        ("{'a b': 1}", ("a b",)),
        ("{'$.a[': 1}", ("$.a[",)),
        ("{5: 1}", (5,)),
        ("{$.a: {}}", ("$.a",)),
        ("{$.a: {nto: 1}}", ("$.a", "nto")),
        ("{$.a: {exists: 1}}", ("$.a", "exists")),
        ("{$.a: {above: x}}", ("$.a", "above")),
        ("{$.a: {below: true}}", ("$.a", "below")),
        ("{$.a: {matches: '('}}", ("$.a", "matches")),
        ("{$.a: {matches: 5}}", ("$.a", "matches")),
        ("{$.a: {matches: 'a{2000}'}}", ("$.a", "matches")),
        ("{$.a: {not: {}}}", ("$.a", "not")),
        ("{$.a: {not: {above: x}}}", ("$.a", "not", "above")),
    ],
)
def test_an_invalid_condition_is_reported_with_its_path(when: str, at: tuple[str | int, ...]) -> None:
    faults = RuleErrors()
    condition = compile_when(read(when), faults)
    assert [fault.steps for fault in faults.found] == [at]
    assert condition.holds(Scope(DOC)) in {True, False}


def test_a_field_is_invalid_in_a_condition_without_frames() -> None:
    faults = RuleErrors()
    compile_request_condition({"event": "x"}, faults)
    assert [fault.steps for fault in faults.found] == [("event",)]


MATCHES = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {},
        optional={
            "not": JSON,
            "exists": st.booleans(),
            "above": st.floats(allow_nan=False),
            "below": st.integers(),
            "matches": st.sampled_from(["a", "^t", ".*"]),
        },
    ),
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["$", "$.a", "$.a.b[0]", "event"]), MATCHES, min_size=1, max_size=2),
        min_size=1,
        max_size=2,
    ),
    JSON,
)
def test_any_condition_on_any_document_is_true_or_false(when: list[dict[str, Any]], doc: Any) -> None:
    condition = compile_when(when, RuleErrors())
    assert condition.holds(Scope(doc)) in {True, False}
    assert condition.holds(Scope(doc)) == any(
        compile_when(alternative, RuleErrors()).holds(Scope(doc)) for alternative in when
    )
