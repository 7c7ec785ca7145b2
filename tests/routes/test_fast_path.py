"""Streams whose text no other rule reads, and so may be read on the fast path."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from bridge.expressions.conditions import Condition, compile_when
from bridge.expressions.extractors import compile_slot
from bridge.expressions.paths import compile_path
from bridge.expressions.scope import RuleErrors
from bridge.routes.compile.fast_path import independent_text_path, paths_read
from bridge.routes.rules.error_rule import ErrorRule
from bridge.routes.rules.openai_defaults import OPENAI_STREAM
from bridge.routes.rules.response_rules import (
    FinishSlot,
    ResponseSlots,
    StreamRule,
    TextSlot,
    UsagePart,
)

TEXT = compile_slot("$.t.text", RuleErrors())
RULE = StreamRule(ResponseSlots(text=TextSlot(TEXT)))
PLAIN_FIELDS = {
    "framing", "inner", "cumulative", "text_data", "done_literal", "done_promised", "finish_ends",
}  # fmt: skip
"""The fields of rules that hold no path; a new field is expected to hold one."""

READERS: list[Any] = [
    TEXT,
    TextSlot(TEXT),
    FinishSlot(TEXT),
    (("total_tokens", UsagePart(TEXT)),),
    compile_path("$.t.text"),
    compile_slot({"path": "$.a", "when": {"$.t.text": "x"}}, RuleErrors()),
    compile_when({"$.t.text": "x"}, RuleErrors()),
    compile_when([{"$.a": 1}, {"$.t": {"exists": True}}], RuleErrors()),
]


@pytest.mark.parametrize("reader", READERS)
def test_a_text_that_any_field_of_a_rule_reads_has_no_fast_path(reader: Any) -> None:
    assert independent_text_path(RULE, (), None) == TEXT.sources[0]
    for entry in fields(ResponseSlots):
        if entry.name != "text":
            rule = replace(RULE, slots=replace(RULE.slots, **{entry.name: reader}))
            assert independent_text_path(rule, (), None) is None
    for entry in fields(StreamRule):
        if entry.name not in {"slots", *PLAIN_FIELDS}:
            assert independent_text_path(replace(RULE, **{entry.name: reader}), (), None) is None
    for entry in fields(ErrorRule):
        for stream in (RULE, OPENAI_STREAM):
            error: Any = replace(ErrorRule(), **{entry.name: reader})
            expected = None if stream is RULE else compile_path("$.choices[0].delta.content").text
            found = independent_text_path(stream, (ErrorRule(), error), None)
            assert (found and found.text) == expected


def test_the_plain_fields_hold_no_path() -> None:
    assert not list(paths_read([getattr(RULE, name) for name in PLAIN_FIELDS]))


@pytest.mark.parametrize(
    ("path", "overlaps"),
    [
        ("$.t.text", True),
        ("$.t", True),
        ("$", True),
        ("$.t.text.more", True),
        ("$['t'].text", True),
        ("$.t[*]", True),
        ("$..text", True),
        ("$item.text", True),
        ("$.t.other", False),
        ("$.t[0]", False),
        ("$.u[*]", False),
        ("$.text", False),
    ],
)
def test_paths_that_may_lead_into_the_text(path: str, overlaps: bool) -> None:
    condition = Condition(lambda scope: True, (compile_path(path),))
    assert TEXT.sources[0].overlaps(compile_path(path)) is overlaps
    assert (independent_text_path(replace(RULE, skip=condition), (), None) is None) is overlaps


@pytest.mark.parametrize(
    ("left", "right", "overlaps"),
    [("$.a[0]", "$.a[1]", False), ("$.a[0]", "$.a[-1]", True), ("$.a[0]", "$.a[0].b", True)],
)
def test_an_index_from_the_end_may_be_any_index(left: str, right: str, overlaps: bool) -> None:
    assert compile_path(left).overlaps(compile_path(right)) is overlaps


def test_the_session_id_counts_too() -> None:
    assert independent_text_path(RULE, (), compile_slot("$.t.text", RuleErrors())) is None
    assert independent_text_path(RULE, (), compile_slot("$.t.id", RuleErrors())) is not None


@pytest.mark.parametrize(
    "text",
    [
        TextSlot(TEXT, parse=True),
        TextSlot(TEXT, trim=True),
        TextSlot(TEXT, strip_prompt=True),
        TextSlot(compile_slot("$", RuleErrors())),
        TextSlot(compile_slot(["$.t.text", "$.u"], RuleErrors())),
        None,
    ],
)
def test_a_text_that_is_changed_or_has_no_single_path_has_no_fast_path(text: TextSlot | None) -> None:
    assert independent_text_path(replace(RULE, slots=replace(RULE.slots, text=text)), (), None) is None
