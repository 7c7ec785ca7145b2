"""`${NAME}`, defaults, files and `$$`: interpolated text is never a path or a template."""

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

HOSTILE = [
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
def test_a_string_is_interpolated(text: str, value: str) -> None:
    result = interpolated(f"key: '{text}'", {"A": "alpha", "B": "beta", "EMPTY": ""}, {"/key": "s3cret\n"})
    assert result == ({"key": value}, [])


def test_trailing_line_breaks_of_a_file_are_removed() -> None:
    assert interpolated("'${file:f}'", files={"f": " a\nb \r\n\n"})[0] == " a\nb "


@pytest.mark.parametrize("value", HOSTILE)
def test_the_value_of_a_variable_is_not_interpolated(value: str) -> None:
    assert interpolated("['${A}', 'x${A}', '${A}${A}']", {"A": value})[0] == [
        value,
        "x" + value,
        value + value,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NO}", "the environment variable NO is not set"),
        ("${}", "`${}` is not a valid reference"),
        ("${1A}", "`${1A}` is not a valid reference"),
        ("${A B}", "`${A B}` is not a valid reference"),
        ("${A-b}", "`${A-b}` is not a valid reference"),
        ("${A", "`${` without a closing `}`"),
        ("${A:-{}}", "`${` without a closing `}`"),
        ("${file:/no}", "cannot read /no: No such file or directory"),
    ],
)
def test_a_failed_interpolation_is_a_problem(text: str, message: str) -> None:
    assert message in interpolated(f"'{text}'", {"A": "a"})[1]


def test_aliased_strings_are_interpolated() -> None:
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


@pytest.mark.parametrize("value", HOSTILE)
def test_an_interpolated_value_in_a_body_is_literal(value: str) -> None:
    text = """
routes:
  - models: m
    upstream: http://127.0.0.1:8000
    request:
      body:
        text: $.last
        alone: ${A}
        in_text: "x ${A} y"
        in_template: "{{ model }} ${A}"
        in_expression: "{{ '${A}' }}|{{ '${A}' ~ model }}"
        in_default: {$path: $.nothing, default: "${A}"}
"""
    assert _sent(text, {"A": value}, {"model": "m"}) == {
        "alone": value,
        "in_text": f"x {value} y",
        "in_template": f"m {value}",
        "in_expression": f"{value}|{value}m",
        "in_default": value,
    }


@pytest.mark.parametrize("value", HOSTILE)
def test_an_interpolated_value_in_headers_query_model_and_url_is_literal(value: str) -> None:
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
    route = _load(text, {"A": value})
    outgoing = route.request.non_streaming
    assert route.request.model is not None
    assert route.request.model(scope) == value
    assert [url(scope) for url in outgoing.urls] == [f"http://127.0.0.1:8000/{value}/x/m%2Fn/{value}"]
    assert {name: header(scope) for name, header in outgoing.headers.items()} == {
        "a": value,
        "b": f"m/n {value}",
        "d": value,
    }
    assert outgoing.query["c"](scope) == value
    assert outgoing.body is not None
    assert outgoing.body.build(scope, {})["e"] == value


def test_an_interpolated_value_in_prompt_and_key_is_literal() -> None:
    text = """
routes:
  - models: m
    upstream: http://127.0.0.1:8000
    prompt: {template: "${A} {{ last }}"}
    request: {body: {text: $.prompt}}
    auth: {bearer: "${A}"}
"""
    route = _load(text, {"A": "{{ last }}"})
    assert route.request.prompt.render({"last": "hi", "messages": []}) == "{{ last }} hi"
    assert route.request.non_streaming.credential_headers["Authorization"](Scope({})) == "Bearer {{ last }}"


def test_an_interpolated_value_is_not_accepted_as_a_path() -> None:
    text = "routes: [{models: m, upstream: 'http://h', response: {text: '${A}'}}]"
    with pytest.raises(ConfigError, match="is not a path"):
        _load(text, {"A": "$.text"})


def test_text_with_two_leading_dollars_is_literal() -> None:
    text = """
routes:
  - models: m
    upstream: http://127.0.0.1:8000
    headers: {a: "$$.x", b: "$${X}"}
    request: {body: {c: $$.model, d: "$$ {{ model }}", e: "$${X}", $$key: [$$], f: $.last}}
"""
    assert _sent(text, {}, {"model": "m"}) == {
        "c": "$.model",
        "d": "$ {{ model }}",
        "e": "${X}",
        "$key": ["$"],
    }
    headers = _load(text, {}).request.non_streaming.headers
    assert [headers[name](Scope({})) for name in "ab"] == ["$.x", "${X}"]


def test_numbers_and_booleans_may_be_interpolated() -> None:
    text = """
server: {workers: "${W}"}
routes:
  - {models: m, upstream: "http://h", emulate: {n: "${N}"}, limits: {frame: "${F}", queue: "${Q:-7}"}}
"""
    environment = LoadEnvironment({"W": "4", "N": "False", "F": "2KiB"}, lambda name: "", {})
    table = load(text, "routes.yaml", environment)
    assert table.server.workers == 4
    assert table.routes[0].emulate.n is False
    assert (table.routes[0].limits.frame, table.routes[0].limits.queue) == (2048, 7)
