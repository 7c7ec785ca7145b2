"""Paths, conditions, templates and extractors compiled from YAML and applied to a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from bridge.core.deltas import MISSING
from bridge.expressions.conditions import compile_when
from bridge.expressions.extractors import compile_slot
from bridge.expressions.paths import compile_path
from bridge.expressions.scope import RuleErrors, Scope
from bridge.expressions.templates import compile_body
from tests.config.yaml_reader import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.expressions.templates import ValueTemplate

__all__ = ["JSON", "compile_template", "extract", "find", "holds", "render", "template_problems"]

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "a", "text", "1", "true", "0x1", "ü"]),
    st.just(10**400),
)
JSON = st.recursive(
    _LEAVES,
    lambda below: st.one_of(
        st.lists(below, max_size=4), st.dictionaries(st.sampled_from(["a", "b", "c", "role", "x-y"]), below)
    ),
    max_leaves=12,
)
"""Any JSON document, with few names, so that paths find members."""


def find(path: str, doc: Any, item: Any = MISSING) -> Any:
    """Return the result of a path."""
    return compile_path(path).find(Scope(doc, item))


def holds(when: str, doc: Any = None, fields: Mapping[str, str] | None = None) -> bool:
    """Return whether a condition in YAML holds."""
    faults = RuleErrors()
    condition = compile_when(read(when), faults)
    assert not faults.found, faults.found
    return condition.holds(Scope(doc, fields=fields or {}))


def compile_template(template: str) -> ValueTemplate:
    """Return a compiled template in YAML."""
    faults = RuleErrors()
    compiled = compile_body(read(template), faults)
    assert not faults.found, faults.found
    return compiled


def render(template: str, doc: Any) -> Any:
    """Return the result of a template in YAML."""
    return compile_template(template)(Scope(doc))


def extract(
    text: str,
    doc: Any = None,
    item: Any = MISSING,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Return the result of an extractor in YAML."""
    faults = RuleErrors()
    compiled = compile_slot(read(text), faults)
    assert not faults.found, faults.found
    return compiled.read(Scope(doc, item, fields or {}, headers or {}))


def template_problems(template: str) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the path and the message of each problem of a template in YAML."""
    faults = RuleErrors()
    compile_body(read(template), faults)
    return [(fault.steps, fault.message) for fault in faults.found]
