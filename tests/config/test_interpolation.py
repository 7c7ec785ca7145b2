"""`${NAME}`, defaults, files and `$$`; what comes from outside stays text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.errors import ConfigError
from bridge.expressions.scope import Scope
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load
from tests.config.yaml_reader import interpolated

if TYPE_CHECKING:
    from bridge.routes.rules.route import Route

EVIL = [
    "$.model",
    "$",
    "$item.x",
    "{{ model }}",
    "{% if 1 %}x{% endif %}",
    "{{",
    "${HOME}",
    "$$",
    "$${x}",
    "\ue0000\ue001",
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "alpha"),
        ("x ${A} y ${A}${B}", "x alpha y alphabeta"),
        ("${A:-d}", "alpha"),
        ("${NO:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY}", ""),
        ("${NO:-}", ""),
        ("${NO:-a b:-c}", "a b:-c"),
        ("${NO:-http://h:1/p}", "http://h:1/p"),
        ("${file:/key}", "s3cret"),
        ("Bearer ${file:/key}", "Bearer s3cret"),
        ("$A", "$A"),
        ("5$", "5$"),
        ("a $$ b", "a $$ b"),
        ("$$A", "$A"),
        ("$$.a", "$.a"),
        ("$$", "$"),
        ("$$$", "$$"),
        ("$${A}", "${A}"),
        ("x $${A} ${A}", "x ${A} alpha"),
    ],
)
def test_a_string_with_holes(text: str, value: str) -> None:
    found = interpolated(f"key: '{text}'", {"A": "alpha", "B": "beta", "EMPTY": ""}, {"/key": "s3cret\n"})
    assert found == ({"key": value}, [])


def test_only_the_last_line_ends_of_a_file_are_cut() -> None:
    assert interpolated("'${file:f}'", files={"f": " a\nb \r\n\n"})[0] == " a\nb "


@pytest.mark.parametrize("evil", EVIL)
def test_what_a_variable_holds_is_not_read_again(evil: str) -> None:
    assert interpolated("['${A}', 'x${A}', '${A}${A}']", {"A": evil})[0] == [evil, "x" + evil, evil + evil]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NO}", "the environment variable NO is not set"),
        ("${}", "`${}` is no variable"),
        ("${1A}", "`${1A}` is no variable"),
        ("${A B}", "`${A B}` is no variable"),
        ("${A-b}", "`${A-b}` is no variable"),
        ("${A", "`${` without its `}`"),
        ("${A:-{}}", "`${` without its `}`"),
        ("${file:/no}", "cannot read /no: No such file or directory"),
    ],
)
def test_a_hole_that_cannot_be_filled_is_told(text: str, message: str) -> None:
    assert message in interpolated(f"'{text}'", {"A": "a"})[1]


def test_every_string_is_filled_aliases_too() -> None:
    assert interpolated("a: &a {b: ['${A}']}\nc: *a\nd: {<<: *a}", {"A": "x"})[0] == {
        "a": {"b": ["x"]},
        "c": {"b": ["x"]},
        "d": {"b": ["x"]},
    }


def _load(text: str, environment: dict[str, str]) -> Route:
    def read_file(name: str) -> str:
        raise FileNotFoundError(name)

    return load(text, "routes.yaml", LoadEnvironment(environment, read_file, {})).routes[0]


def _sent(text: str, environment: dict[str, str], doc: dict[str, Any]) -> Any:
    route = _load(text, environment)
    assert route.request.non_streaming.body is not None
    return route.request.non_streaming.body.build(Scope(doc), doc)


@pytest.mark.parametrize("evil", EVIL)
def test_outside_text_is_never_a_path_or_a_template_in_a_body(evil: str) -> None:
    text = """
routes:
  - models: m
    upstream: http://127.0.0.1:8000
    request:
      body:
        alone: ${A}
        in_text: "x ${A} y"
        in_template: "{{ model }} ${A}"
        in_expression: "{{ '${A}' }}|{{ '${A}' ~ model }}"
        in_default: {$path: $.nothing, default: "${A}"}
"""
    assert _sent(text, {"A": evil}, {"model": "m"}) == {
        "alone": evil,
        "in_text": f"x {evil} y",
        "in_template": f"m {evil}",
        "in_expression": f"{evil}|{evil}m",
        "in_default": evil,
    }


@pytest.mark.parametrize("evil", EVIL)
def test_nor_in_headers_queries_models_and_urls(evil: str) -> None:
    text = """
routes:
  - models: m
    model: "${A}"
    upstream: "http://127.0.0.1:8000/${A}/x"
    path: "{{ model }}/${A}"
    headers: {a: "${A}", b: "{{ model }} ${A}"}
    query: {c: "${A}"}
    request: {headers: {d: "${A}"}, fields: {e: "${A}"}}
"""
    scope = Scope({"model": "m/n"})
    route = _load(text, {"A": evil})
    outgoing = route.request.non_streaming
    assert route.request.model is not None
    assert route.request.model(scope) == evil
    assert [url(scope) for url in outgoing.urls] == [f"http://127.0.0.1:8000/{evil}/x/m%2Fn/{evil}"]
    assert {name: header(scope) for name, header in outgoing.headers.items()} == {
        "a": evil,
        "b": f"m/n {evil}",
        "d": evil,
    }
    assert outgoing.query["c"](scope) == evil
    assert outgoing.body is not None
    assert outgoing.body.build(scope, {})["e"] == evil


def test_nor_in_prompts_and_keys() -> None:
    text = """
routes:
  - models: m
    upstream: http://127.0.0.1:8000
    prompt: {template: "${A} {{ last }}"}
    auth: {bearer: "${A}"}
"""
    route = _load(text, {"A": "{{ last }}"})
    assert route.request.prompt.render({"last": "hi", "messages": []}) == "{{ last }} hi"
    assert route.request.non_streaming.keys["Authorization"](Scope({})) == "Bearer {{ last }}"


def test_nor_in_slots() -> None:
    text = "routes: [{models: m, upstream: 'http://h', response: {text: '${A}'}}]"
    with pytest.raises(ConfigError, match="is no path"):
        _load(text, {"A": "$.text"})


def test_what_begins_with_two_dollars_is_literal_everywhere() -> None:
    text = """
routes:
  - models: m
    upstream: http://127.0.0.1:8000
    headers: {a: "$$.x", b: "$${X}"}
    request: {body: {c: $$.model, d: "$$ {{ model }}", e: "$${X}", $$key: [$$]}}
"""
    assert _sent(text, {}, {"model": "m"}) == {
        "c": "$.model",
        "d": "$ {{ model }}",
        "e": "${X}",
        "$key": ["$"],
    }
    headers = _load(text, {}).request.non_streaming.headers
    assert [headers[name](Scope({})) for name in "ab"] == ["$.x", "${X}"]


def test_a_number_or_a_flag_may_come_from_outside() -> None:
    text = """
server: {workers: "${W}"}
routes:
  - {models: m, upstream: "http://h", emulate: {n: "${N}"}, limits: {frame: "${F}", queue: "${Q:-7}"}}
"""
    surroundings = LoadEnvironment({"W": "4", "N": "False", "F": "2KiB"}, lambda name: "", {})
    table = load(text, "routes.yaml", surroundings)
    assert table.server.workers == 4
    assert table.routes[0].emulate.n is False
    assert (table.routes[0].limits.frame, table.routes[0].limits.queue) == (2048, 7)
