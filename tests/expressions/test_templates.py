"""Templates of bodies: leaves, instructions, omitted members, and the members that a template reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.deltas import MISSING
from bridge.expressions.scope import RuleErrors, Scope
from bridge.expressions.templates import compile_body, compile_text
from tests.expressions.rule_compiler import JSON, compile_template, render, template_problems

MESSAGES = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "hi"},
    {"role": "user", "content": "there"},
    {"role": "assistant", "content": "hello"},
]
DOC: dict[str, Any] = {
    "model": "m",
    "prompt": "hi",
    "last": "there",
    "null": None,
    "zero": 0,
    "false": False,
    "empty": "",
    "list": [1, None, "x"],
    "messages": MESSAGES,
}


@pytest.mark.parametrize(
    ("template", "body"),
    [
        # leaves
        ("$.model", "m"),
        ("$", DOC),
        ("{a: $.list, b: [$.model]}", {"a": [1, None, "x"], "b": ["m"]}),
        (
            "{a: 40, b: 1.5, c: true, d: null, e: text, f: no}",
            {"a": 40, "b": 1.5, "c": True, "d": None, "e": "text", "f": "no"},
        ),
        ('{a: "{{ last }}!", b: "{{ model }}/{{ absent }}"}', {"a": "there!", "b": "m/"}),
        ("{a: $.null, b: $.zero, c: $.false, d: $.empty}", {"a": None, "b": 0, "c": False, "d": ""}),
        ("[]", []),
        ("{}", {}),
        ("text", "text"),
        ("5", 5),
        ("null", None),
        # a member without a value is omitted, the mapping around the member stays
        ("{a: $.absent, b: 1}", {"b": 1}),
        ("{a: {b: $.absent}}", {"a": {}}),
        ("{a: [$.absent, {b: $.absent}, 1]}", {"a": [{}, 1]}),
        ("[$.absent]", []),
        ('{a: "$.model[0]"}', {}),
        ('{a: "$.messages[*].role"}', {"a": ["system", "user", "user", "assistant"]}),
        ('{a: "$.messages[*].name"}', {}),
        # keys
        (
            "{$$path: 1, $$: 2, a$b: 3, 5: 4, true: 5, null: 6}",
            {"$path": 1, "$": 2, "a$b": 3, "5": 4, "true": 5, "null": 6},
        ),
        ("{$$$x: 1}", {"$$x": 1}),
        # $path
        ("{a: {$path: $.absent}}", {}),
        ("{a: {$path: $.absent, default: 32}}", {"a": 32}),
        ("{a: {$path: $.absent, default: null}}", {"a": None}),
        ("{a: {$path: $.absent, default: $.model}}", {"a": "m"}),
        ("{a: {$path: $.absent, default: $.nothing}}", {}),
        ("{a: {$path: $.absent, default: {b: [$.model]}}}", {"a": {"b": ["m"]}}),
        ('{a: {$path: $.absent, default: "{{ last }}"}}', {"a": "there"}),
        ("{a: {$path: $.zero, default: 5}}", {"a": 0}),
        ("{a: {$path: $.null, default: 5}}", {"a": None}),
        ("{a: {$path: $.zero, min: 1, max: 3}}", {"a": 1}),
        ("{a: {$path: $.zero, above: 0}}", {}),
        ("{a: {$path: $.model, when: {$.zero: 0}}}", {"a": "m"}),
        ("{a: {$path: $.model, when: {$.zero: 1}}}", {}),
        ("{a: {$path: $.model, when: {$.zero: 1}, default: n}}", {"a": "n"}),
        ("{a: {$path: $.model, when: [{$.zero: 1}, {$.model: m}]}}", {"a": "m"}),
        ("{$path: $.model}", "m"),
        # $when
        ("{a: {$when: {$.model: m}, $then: 1, $else: 2}}", {"a": 1}),
        ("{a: {$when: {$.model: n}, $then: 1, $else: 2}}", {"a": 2}),
        ("{a: {$when: {$.model: n}, $then: 1}}", {}),
        ("{a: {$when: {$.model: m}, $then: null}}", {"a": None}),
        ("{a: {$when: {$.model: m}, $then: $.absent, $else: 2}}", {}),
        ("{a: {$when: {$.model: m}, $then: {b: {$path: $.zero}}}}", {"a": {"b": 0}}),
        ("[{$when: {$.absent: {exists: false}}, $then: 1}, {$when: {$.absent: 1}, $then: 2}]", [1]),
        # $each
        ("{$each: $.messages, $as: $item.role}", ["system", "user", "user", "assistant"]),
        ('{$each: $.list, $as: "<{{ item }}>"}', ["<1>", "<None>", "<x>"]),
        ("{$each: $.list}", [1, None, "x"]),
        (
            "{$each: $.list, $as: {v: $item, m: $.model}}",
            [{"v": 1, "m": "m"}, {"v": None, "m": "m"}, {"v": "x", "m": "m"}],
        ),
        ("{$each: $.messages, $as: $item.content, skip: [system]}", ["hi", "there", "hello"]),
        ("{$each: $.messages, $as: $item.content, skip: system}", ["hi", "there", "hello"]),
        ("{$each: $.messages, $as: $item.content, when: {$item.role: user}}", ["hi", "there"]),
        ("{$each: $.messages, $as: $item.content, when: {$.model: n}}", []),
        ("{$each: $.messages, $as: $item.name}", []),
        ("{$each: $.messages, $as: $item.content, merge: role}", ["be kind", "hi\n\nthere", "hello"]),
        (
            "{$each: $.messages, merge: role, skip: [system, assistant]}",
            [{"role": "user", "content": "hi\n\nthere"}],
        ),
        ('{$each: "$.messages[*].role", $as: $item}', ["system", "user", "user", "assistant"]),
        ("{$each: $.model, $as: $item}", ["m"]),
        ("{a: {$each: $.absent}}", {}),
        ("{a: {$each: $.null}}", {}),
        ('{$each: $.list, $as: {$when: {$item: 1}, $then: one, $else: "{{ item }}"}}', ["one", "None", "x"]),
        ("{$each: $.list, $as: {$each: $.list, $as: $item}}", [[1, None, "x"]] * 3),
        ("{$each: $.list, $as: {$path: $item, as: string, when: {$item: {exists: true}}}}", ["1", "x"]),
    ],
)
def test_a_template_is_rendered(template: str, body: Any) -> None:
    assert render(template, DOC) == body


def test_a_template_without_a_value_is_missing() -> None:
    assert render("$.absent", DOC) is MISSING


@pytest.mark.parametrize("item", [0, 0.0, False, "", [], {}, None])
def test_a_falsy_item_is_rendered(item: Any) -> None:
    assert render('{$each: $.l, $as: "{{ item }}"}', {"l": [item]}) == [str(item)]


def test_a_value_is_passed_on_uncopied() -> None:
    value = {"deep": [1.5, True, {"x": None}]}
    assert render("{a: $.v}", {"v": value})["a"] is value


def test_merged_messages_concatenate_their_lists_of_parts() -> None:
    messages = [
        {"role": "user", "content": [1]},
        {"role": "user", "content": [2]},
        {"role": "user", "content": None},
    ]
    assert render("{$each: $.m, merge: role}", {"m": messages}) == [{"role": "user", "content": [1, 2]}]
    assert messages[0] == {"role": "user", "content": [1]}


@pytest.mark.parametrize("role", [[], {}, None, 5, ["system"]])
def test_a_role_of_any_type_is_accepted(role: Any) -> None:
    items = [{"role": role, "content": "a"}, "no mapping", 5]
    assert render("{$each: $.m, skip: [system], merge: role}", {"m": items}) == items


@pytest.mark.parametrize(
    ("template", "at"),
    [
        ("{a: {$pth: $.a}}", ("a", "$pth")),
        ("{a: {$: 1}}", ("a", "$")),
        ("{a: {$then: 1}}", ("a", "$then")),
        ("{a: {$path: $.a, b: 1}}", ("a", "b")),
        ("{a: {$path: a}}", ("a", "$path")),
        ("{a: {$path: [$.a]}}", ("a", "$path")),
        ("{a: {$path: $.a, default: {$x: 1}}}", ("a", "default", "$x")),
        ("{a: {$path: $.a, when: {event: 1}}}", ("a", "when", "event")),
        ("{a: {$path: $.a, $each: $.b}}", ("a", "$each")),
        ("{a: {$each: messages}}", ("a", "$each")),
        ("{a: {$each: $.a, $as: {$x: 1}}}", ("a", "$as", "$x")),
        ("{a: {$each: $.a, skip: [5]}}", ("a", "skip")),
        ("{a: {$each: $.a, merge: [role]}}", ("a", "merge")),
        ("{a: {$each: $.a, as: int}}", ("a", "as")),
        ("{a: {$when: {$.a: 1}}}", ("a",)),
        ("{a: {$when: 5, $then: 1}}", ("a", "$when")),
        ("{a: {$when: {'$.a[': 1}, $then: 1}}", ("a", "$when", "$.a[")),
        ("{a: [1, {b: '{{ x'}]}", ("a", 1, "b")),
        ("{a: '{% for x in y %}'}", ("a",)),
        ("{a: '{{ x | nofilter }}'}", ("a",)),
    ],
)
def test_an_invalid_template_is_reported_with_its_path(template: str, at: tuple[str | int, ...]) -> None:
    assert [fault[0] for fault in template_problems(template)] == [at]


def test_every_problem_of_a_template_is_reported() -> None:
    assert (
        len(
            template_problems(
                "{a: '$.[', b: [{$x: 1}, '{{'], c: {$path: no, min: a}, d: {$each: $.a, when: {}}}"
            )
        )
        >= 5
    )


@pytest.mark.parametrize(
    ("template", "reads", "copies"),
    [
        ("{a: $.model, b: $.stop}", {"model", "stop"}, {"model", "stop"}),
        ("{a: '$.messages[0].content'}", {"messages"}, set()),
        ('{a: "$.messages[*].content"}', {"messages"}, set()),
        ("{a: {$path: $.n, default: 1}}", {"n"}, {"n"}),
        ("{a: {$path: $.n, as: int}}", {"n"}, {"n"}),
        ("{a: {$path: $.n, max: 5}}", {"n"}, set()),
        ("{a: {$path: $.n, default: $.o}}", {"n", "o"}, {"n"}),
        ("{a: {$path: $.n, when: {$.o: 1, $.p.q: 2}}}", {"n", "o", "p"}, set()),
        ("{a: {$when: {$.o: 1}, $then: $.n, $else: '{{ p }}'}}", {"o", "n", "p"}, set()),
        ("{a: $.n, b: {$when: {$.o: 1}, $then: $.n}}", {"n", "o"}, {"n"}),
        ("{a: {$each: $.messages, skip: [system]}}", {"messages"}, set()),
        ("{a: {$each: $.messages, $as: $item.content}}", {"messages"}, set()),
        ("{a: {$each: $.messages, $as: '{{ item.role }} {{ model }}'}}", {"messages", "model"}, set()),
        ("{a: {$each: $.messages}}", {"messages"}, {"messages"}),
        ("{a: {$each: $.messages, $as: $item, when: {$item.role: user, $.o: 1}}}", {"messages", "o"}, set()),
        ("{a: '{% for m in messages %}{{ m.content }}{{ last }}{% endfor %}'}", {"messages", "last"}, set()),
        ("$", {None}, set()),
        ("{a: $..b}", {None}, set()),
        ("{a: 1, b: text, $$c: d}", set(), set()),
    ],
)
def test_a_template_lists_the_members_that_it_reads_and_copies(
    template: str, reads: set[str | None], copies: set[str]
) -> None:
    compiled = compile_template(template)
    assert compiled.reads == reads
    assert compiled.copied_members == copies


@pytest.mark.parametrize(
    ("text", "value"), [("$.a", "$.a"), ("{{ a }}", "1"), ("x", "x"), ("{{ a", None), ("", "")]
)
def test_a_text_template_is_never_a_path(text: str, value: str | None) -> None:
    faults = RuleErrors()
    compiled = compile_text(text, faults)
    assert bool(faults.found) is (value is None)
    if value is not None:
        assert compiled(Scope({"a": 1})) == value


TEMPLATES = st.recursive(
    st.sampled_from(["$.a", "$.a.b[0]", "$", "{{ a }}", "text", 5, None, True, "$.absent"]),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "$$x", "c"]), below, max_size=3),
        st.builds(
            lambda then, other: {"$when": {"$.a": {"exists": True}}, "$then": then, "$else": other},
            below,
            below,
        ),
        st.builds(
            lambda each: {"$each": "$.a", "$as": [each, "$item.a"], "skip": ["system"], "merge": "role"},
            below,
        ),
        st.builds(lambda default: {"$path": "$.b", "default": default, "max": 3, "as": "string"}, below),
    ),
    max_leaves=8,
)


@given(TEMPLATES, st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON, max_size=3))
def test_any_template_renders_any_document(template: Any, doc: dict[str, Any]) -> None:
    faults = RuleErrors()
    compiled = compile_body(template, faults)
    assert not faults.found
    first = compiled(Scope(doc))
    assert repr(compiled(Scope(doc))) == repr(first)
    assert "MISSING" not in repr(first) or first is MISSING
