"""Extractors: sources, their order and their options; null counts as missing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.deltas import MISSING
from bridge.expressions.extractors import compile_slot
from bridge.expressions.scope import RuleErrors, Scope
from tests.config.yaml_reader import read
from tests.expressions.rule_compiler import JSON, extract

DOC: dict[str, Any] = {
    "text": "hi",
    "null": None,
    "empty": "",
    "zero": 0,
    "list": ["a", "b"],
    "end": "eos",
    "n": 5,
}
FIELDS = {"event": "add", "meta": '{"usage": {"n": 3}, "null": null}', "broken": "{"}
HEADERS = {"x-answer": "from the head"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$.text", "hi"),
        ("$.null", MISSING),
        ("$.absent", MISSING),
        ("$.empty", ""),
        ("$.zero", 0),
        ("$.list[*]", ["a", "b"]),
        ("$", DOC),
        # several sources: the first that finds a value
        ("[$.absent, $.null, $.text, $.zero]", "hi"),
        ("[$.empty, $.text]", ""),
        ("[$.absent, {const: x}]", "x"),
        ("[$.absent, {header: x-answer}]", "from the head"),
        ("[$.absent, {path: $.null, default: d}, $.text]", "d"),
        ("[[$.absent, $.text], $.zero]", "hi"),
        ("[$.absent, $.null]", MISSING),
        # one source
        ("{path: $.text}", "hi"),
        ("{path: $.null}", MISSING),
        ("{header: X-Answer}", "from the head"),
        ("{header: x-other}", MISSING),
        ("{header: x-other, default: d}", "d"),
        ("{field: event}", "add"),
        ("{field: other}", MISSING),
        ("{field: meta, path: $.usage.n}", 3),
        ("{field: meta, path: [$.none, $.usage]}", {"n": 3}),
        ("{field: meta, path: $.null}", MISSING),
        ("{field: meta, path: $.absent, default: 1}", 1),
        ("{field: broken, path: $.a}", MISSING),
        ("{field: other, path: $.a}", MISSING),
        ("{const: 5}", 5),
        ("{const: ''}", ""),
        ("{const: $.text}", "$.text"),
        ("{const: null}", MISSING),
        # options
        ("{path: $.end, map: {eos: stop, limit: length}}", "stop"),
        ("{path: $.end, map: {limit: length}}", "eos"),
        ("{path: $.end, map: {limit: length}, default: stop}", "stop"),
        ("{path: $.end, map: {eos: null}}", MISSING),
        ("{path: $.absent, map: {a: b}, default: stop}", "stop"),
        ("{path: $.null, default: stop}", "stop"),
        ("{path: $.absent, default: null}", MISSING),
        ("{path: $.n, scale: 2, max: 8}", 8),
        ("{path: $.n, above: 5}", MISSING),
        ("{path: $.n, as: string}", "5"),
        ("{path: $.list, join: '+'}", "a+b"),
        ("{path: $.list, take: last}", "b"),
        ("{field: event, map: {add: 1}}", 1),
        ("{header: x-answer, as: json}", '"from the head"'),
        # when
        ("{path: $.text, when: {$.zero: 0}}", "hi"),
        ("{path: $.text, when: {$.zero: 1}}", MISSING),
        ("{path: $.text, when: {$.zero: 1}, default: d}", "d"),
        ("{path: $.text, when: {event: add}}", "hi"),
        ("{path: $.text, when: {event: remove}}", MISSING),
        ("[{path: $.text, when: {event: remove}}, {path: $.end, when: {event: [add]}}]", "eos"),
    ],
)
def test_an_extractor_reads_a_value(text: str, value: Any) -> None:
    quoted = text if text.startswith("{") or "[*]" not in text else f"'{text}'"
    result = extract(quoted, DOC, fields=FIELDS, headers=HEADERS)
    assert result == value
    assert (result is MISSING) is (value is MISSING)


def test_an_extractor_reads_the_item() -> None:
    assert extract("[$item.text, $.text]", DOC, item={"text": "one"}) == "one"
    assert extract("[$item.text, $.text]", DOC, item={}) == "hi"
    assert extract("[$item.text, $.text]", DOC) == "hi"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("text", ()),
        ("5", ()),
        ("true", ()),
        ("null", ()),
        ("[]", ()),
        ("{}", ()),
        ("'$.a['", ()),
        ("[$.a, b]", (1,)),
        ("[$.a, {}]", (1,)),
        ("{path: a}", ("path",)),
        ("{path: '$.['}", ("path",)),
        ("{path: $.a, header: b}", ("header",)),
        ("{path: $.a, const: b}", ("const",)),
        ("{header: a, const: b}", ("const",)),
        ("{header: a, field: b}", ("field",)),
        ("{field: a, const: b}", ("const",)),
        ("{field: a, path: $.b, header: c}", ("header",)),
        ("{field: a, path: b}", ("path",)),
        ("{field: data}", ("field",)),
        ("{header: 5}", ()),
        ("{map: {a: b}}", ()),
        ("{path: $.a, tirm: true}", ("tirm",)),
        ("{path: $.a, when: {}}", ("when",)),
        ("{path: $.a, min: x}", ("min",)),
    ],
)
def test_an_invalid_extractor_is_reported_with_its_path(text: str, at: tuple[str | int, ...]) -> None:
    faults = RuleErrors()
    compiled = compile_slot(read(text), faults)
    assert [fault.steps for fault in faults.found] == [at]
    compiled.read(Scope(DOC))  # must not raise


def test_extra_options_are_accepted() -> None:
    faults = RuleErrors()
    compile_slot({"path": "$.a", "trim": True}, faults, extra=("trim",))
    assert not faults.found


def test_an_extractor_lists_the_paths_that_it_reads() -> None:
    compiled = compile_slot(
        read("[$.a, {path: '$.b[0]', when: {$.d: 1}}, {const: 1}, $item.c]"), RuleErrors()
    )
    assert [path.text for path in compiled.sources] == ["$.a", "$.b[0]", "$item.c"]
    assert [path.text for path in compiled.paths] == ["$.a", "$.b[0]", "$item.c", "$.d"]
    assert str(compiled) == "$.a or $.b[0] or $item.c"
    assert not compiled.reads_document
    assert compile_slot(read("[$.a, $]"), RuleErrors()).reads_document
    assert not compile_slot("$item", RuleErrors()).reads_document


EXTRACTORS = st.recursive(
    st.sampled_from(
        [
            "$.a.b[0]", "$", "$item.a", "$..a", "$.a[*]", "$.a[?(@.b > 1)]", {"const": 1},
            {"header": "x"}, {"field": "event"}, {"field": "event", "path": "$.a"},
            {"path": "$.a", "map": {"a": 1, True: 2}, "default": None},
            {"path": "$", "as": "string", "trim": True},
            {"path": "$.a", "take": "last", "join": ","}, {"path": "$.b", "when": {"$.a": {"not": 1}}},
        ]
    ),
    lambda below: st.lists(below, min_size=1, max_size=3),
    max_leaves=4,
)  # fmt: skip


@given(EXTRACTORS, JSON, JSON, st.sampled_from(["", "{}", '{"a": [1]}', "[", "NaN", '{"a": "\ud800"}']))
def test_any_extractor_reads_any_document(value: Any, doc: Any, item: Any, event: str) -> None:
    faults = RuleErrors()
    compiled = compile_slot(value, faults, extra=("trim",))
    if not any("trim" in fault.steps for fault in faults.found):
        assert not faults.found
    result = compiled.read(Scope(doc, item, {"event": event}, {"x": "y"}))
    assert result is not None
