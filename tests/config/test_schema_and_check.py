"""The JSON Schema accepts what `check` accepts, and refuses unknown keys, words and types as `check` does.

Both are held to presets, the examples of the documentation, the faulty files, and changed valid files.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bridge.cli.preset_route import preset_route
from bridge.config.problems import Problems
from bridge.config.yaml_tree import parse
from bridge.core.errors import ConfigError
from bridge.core.strings import key_text
from bridge.loader import read_presets
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.spec.json_schema import json_schema
from bridge.routes.table import load
from tests.problems.test_problems import HERE, NAMES
from tests.test_docs import routes_files

PRESETS = read_presets()
SCHEMA = json_schema(PRESETS)
VALIDATOR = Draft202012Validator(SCHEMA)
SHIPPED = Path(__file__).parents[2] / "routes.yaml"

_STRUCTURAL = re.compile(r"unknown key|is not allowed here|` is missing$|unknown preset")
# Words that the problems of values share with those of structure, but that no schema can decide.
_OF_VALUES = re.compile(r"`\d+` is not allowed here|\.status|\.matches|\.as: |\.take|\.scale|\.join")


# The schema cannot decide about the value of a variable.
_OF_VARIABLES = {"missing_variables"}


def data_of(text: str) -> Any:
    """Return the data of a file as an editor reads it, with keys as text."""
    node = parse(text, "routes.yaml", Problems())
    return _with_text_keys(node.plain()) if node is not None else None


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key_text(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def problems_of(text: str) -> list[Any]:
    """Return the problems that `check` reports."""
    try:
        variables = {name: f"{name}.of-two-parts" for name in re.findall(r"\$\{(\w+)\}", text)}
        load(text, "routes.yaml", LoadEnvironment(variables, lambda name: "", PRESETS))
    except ConfigError as error:
        return list(error.problems)
    return []


def errors_of(data: Any) -> list[str]:
    """Return the errors of the schema."""
    return [f"{error.json_path}: {error.message[:300]}" for error in VALIDATOR.iter_errors(data)]


def heads() -> dict[str, str]:
    """Return the examples in the heads of the presets."""
    lines = {name: text.partition("\n\n")[0].split("\n") for name, text in PRESETS.items()}
    return {
        name: textwrap.dedent("\n".join(line[1:] for line in head if line.startswith("#   ")))
        for name, head in lines.items()
    }


VALID = {
    **{f"head of {name}": text for name, text in heads().items()},
    **{f"route of {name}": preset_route(name, text) for name, text in PRESETS.items()},
    **dict(routes_files()),
    "routes.yaml": SHIPPED.read_text(encoding="utf-8"),
}


def test_the_schema_is_valid_and_has_an_id() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == "urn:format-bridge:routes"
    route = SCHEMA["properties"]["routes"]["items"]["else"]
    assert route["properties"]["preset"]["anyOf"][0] == {"enum": list(PRESETS)}
    assert route["properties"]["unsupported"]["default"] == "drop"
    assert route["title"] == "A route"


@pytest.mark.parametrize("name", VALID)
def test_a_valid_file_is_valid_by_the_schema(name: str) -> None:
    assert problems_of(VALID[name]) == []
    assert errors_of(data_of(VALID[name])) == []


@pytest.mark.parametrize("name", [name for name in NAMES if name not in _OF_VARIABLES])
def test_both_agree_on_a_faulty_file(name: str) -> None:
    text = (HERE / f"{name}.yaml").read_text()
    data, problems = data_of(text), problems_of(text)
    if data is None:
        return  # not YAML at all
    if not problems:
        assert errors_of(data) == []
    elif any(_is_structural(problem) for problem in problems):
        assert errors_of(data) != [], [str(problem) for problem in problems]


def _is_structural(problem: Any) -> bool:
    head = f"{problem.path}: {problem.message}"
    is_own = problem.location.source.name == "routes.yaml"
    in_template = re.search(r"\.(body|fields|customFields|claims|values|map)\b", problem.path)
    return bool(
        is_own and not in_template and _STRUCTURAL.search(problem.message) and not _OF_VALUES.search(head)
    )


@pytest.mark.parametrize(
    "text",
    [
        "{auth: {bearer: '${A}'}, limits: {concurrency: '${A}', frame: '${A}'}, emulate: {stop: '${A}'}}",
        "{server: {workers: '${A}'}}",
        "{preset: zhipu-v3, auth: {jwt: {key: '${A}', claims: {iat: null}}}}",
        "{preset: anthropic, auth: {value: '${A}'}, request: {body: {max_tokens: {default: 1}, a: null}}}",
        "{preset: ollama, stream: {done: null}, error: null, request: null}",
    ],
)
def test_interpolated_values_and_overlays_are_valid(text: str) -> None:
    route = data_of(text)
    server = route.pop("server", {})
    data = {"server": server, "routes": [{"models": "m", "upstream": "http://h/x", **route}]}
    assert errors_of(data) == []


@pytest.mark.parametrize(
    "rules",
    [
        "request: {body: {a: {$path: a.b}}}",
        "request: {body: {a: {$path: $.b, dfault: 1}}}",
        "request: {body: {a: {$pth: $.b}}}",
        "request: {body: {a: {$when: {$.b: 1}}}}",
        "request: {body: {a: {$when: {$.b: {nt: 1}}, $then: 1}}}",
        "response: {text: text}",
        "error: {when: {}}",
        "stream: {framing: ssee, text: $.a}",
        "preset: olama",
        "prompt: chatlm",
        "upstream: {uri: http://h}",
    ],
)
def test_what_check_refuses_is_refused_by_the_schema(rules: str) -> None:
    text = f"routes: [{{models: m, request: {{body: {{q: $.last}}}}, response: $.t, {rules}}}]"
    members: dict[str, Any] = {"models": "m", "upstream": "http://h/x", **data_of(f"{{{rules}}}")}
    assert errors_of({"routes": [members]}) != [], text


VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 5, -1, 0.5, "", "text", "$.a", "${A}", "5s", [], ["a"], {}, {"a": 1}, [{}]]
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path, *(place for key, item in children for place in _places(item, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], replacement: Any) -> Any:
    if not path:
        return replacement
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], replacement)
    return copy


@given(name=st.sampled_from(sorted(VALID)), data=st.data())
def test_a_changed_file_that_check_accepts_is_valid_by_the_schema(name: str, data: st.DataObject) -> None:
    tree = data_of(VALID[name])
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(_places(tree)[1:] or [()]))
        replacement = data.draw(VALUES)
        tree = _replaced(tree, place, replacement)
    text = yaml.safe_dump(tree, allow_unicode=True, width=10_000)
    if "!!" in text or data_of(text) is None or problems_of(text):
        return
    assert errors_of(data_of(text)) == []
