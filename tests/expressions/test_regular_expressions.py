"""Regular expressions of rules: their time is linear in the text, whatever the pattern."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bridge.expressions.conditions import compile_when
from bridge.expressions.paths import compile_path
from bridge.expressions.scope import RuleErrors, Scope

SLOW = ["(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*)*x$", "a*a*a*a*a*x", "(?:a?){30}a{30}b", "(\\w+\\s?)*$"]
TEXT = "a" * 20_000 + "!"


def _holds(pattern: Any, text: str) -> bool:
    errors = RuleErrors()
    condition = compile_when({"$.t": {"matches": pattern}}, errors)
    assert not errors.found
    return condition.holds(Scope({"t": text}))


@pytest.mark.parametrize("pattern", SLOW)
def test_no_pattern_explodes(pattern: str) -> None:
    started = time.perf_counter()
    _holds(pattern, TEXT)
    compile_path(f"$.a[?(@.t =~ '{pattern}')].t").find(Scope({"a": [{"t": TEXT}]}))
    compile_path(f"$.t.`sub(/{pattern}/, b)`").find(Scope({"t": TEXT}))
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("pattern", "text", "holds"),
    [
        ("^.{1,3}$", "äöü", True),
        ("^.{1,3}$", "äöüß", False),
        ("(?i)^ä", "Ä", True),
        ("a$", "a\n", False),
        ("b", "\ud800b", True),
        ("^.b", "\ud800b", True),
        ("", "", True),
    ],
)
def test_characters_are_matched_not_bytes(pattern: str, text: str, *, holds: bool) -> None:
    assert _holds(pattern, text) is holds


@pytest.mark.parametrize("pattern", ["(?=a)", "(a)\\1", "(", "a{2000}", "\ud800", 7, None, ["a"]])
def test_a_pattern_outside_the_syntax_is_an_error(pattern: Any, capfd: pytest.CaptureFixture[str]) -> None:
    errors = RuleErrors()
    compile_when({"$.t": {"matches": pattern}}, errors)
    assert "not a valid regular expression: " in errors.found[0].message
    assert capfd.readouterr().err == ""


def test_sub_replaces_groups() -> None:
    path = compile_path(r"$.t.`sub(/(\\w+) (\\w+)/, \\2 \\1)`")  # jsonpath-ng removes one of two backslashes
    assert path.find(Scope({"t": "one two"})) == "two one"
