"""The JSONPath compliance suite (BSD-2-Clause), read outside of the repository, and skipped if absent."""

from __future__ import annotations

import json
import os
from pathlib import Path as FilePath
from typing import Any

import pytest

from bridge.core.deltas import MISSING
from bridge.expressions.paths import compile_path
from bridge.expressions.scope import Scope

_FILE = "jsonpath-cts.json"
_SUITES = FilePath(os.environ.get("SUITES", FilePath(__file__).parents[3] / "shared" / "suites"))

# A path may end with blanks, as AutoDev's configurations do, and a name may begin with a digit.
LENIENT = {"$ ", "$.1"}


def _cases() -> list[Any]:
    file = _SUITES / _FILE
    if not file.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"{_FILE} is absent"), id="absent")]
    return [pytest.param(case, id=case["name"]) for case in json.loads(file.read_text())["tests"]]


@pytest.mark.parametrize("case", _cases())
def test_a_path_selects_what_the_standard_says(case: dict[str, Any]) -> None:
    text = case["selector"]
    # Text such as `$ 5` is text, so no blank may follow the first character.
    if text[1:2] in (" ", "\t", "\n", "\r") and text not in LENIENT:
        with pytest.raises(ValueError, match="not a valid path"):
            compile_path(text)
        return
    if case.get("invalid_selector") and text not in LENIENT:
        with pytest.raises(ValueError, match="not a valid path"):
            compile_path(text)
        return
    path = compile_path(text)
    if "document" not in case:
        return
    found = path.find(Scope(case["document"]))
    selected = [] if found is MISSING else found if path.many else [found]
    expected = case.get("results") or [case["result"]]
    assert json.dumps(selected) in [json.dumps(each) for each in expected]
