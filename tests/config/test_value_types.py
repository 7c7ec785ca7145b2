"""Types of values (durations, sizes, keywords, lists), spellings of keys, and routes merged over presets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.config.container_types import ListOf, MapOf, OneOrMany
from bridge.config.merge import deep_merge
from bridge.config.problems import Problems, closest_match
from bridge.config.quantities import DURATION, SIZE
from bridge.config.value_types import FLAG, INVALID, TEXT, Integer, Keyword, Text
from bridge.core.errors import ConfigError
from bridge.expressions.scope import Scope
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import RouteTable, load
from tests.config.yaml_reader import tree

if TYPE_CHECKING:
    from bridge.config.value_types import ValueType


def _checked(value_type: ValueType, text: str) -> Any:
    problems = Problems()
    value = value_type.check(tree(text), problems)
    assert (value is INVALID) is bool(problems)
    return value


@pytest.mark.parametrize(
    ("value_type", "text", "value"),
    [
        (DURATION, "500ms", 0.5), (DURATION, "5s", 5), (DURATION, "2m", 120), (DURATION, "1h", 3600),
        (DURATION, "30", 30), (DURATION, "0.5", 0.5), (DURATION, "1.5s", 1.5), (DURATION, "'30'", 30),
        (DURATION, "0", 0), (DURATION, "5sec", INVALID), (DURATION, "-5s", INVALID), (DURATION, "s", INVALID),
        (DURATION, "~", INVALID), (DURATION, "true", INVALID), (DURATION, ".nan", INVALID),
        (DURATION, ".inf", INVALID), (DURATION, "1m30s", INVALID), (DURATION, "[5s]", INVALID),
        (DURATION, "5MiB", INVALID), (DURATION, "9" * 400, INVALID), (DURATION, "''", INVALID),
        (SIZE, "65536", 65536), (SIZE, "32MiB", 32 * 1024 * 1024), (SIZE, "1KiB", 1024),
        (SIZE, "2GiB", 2**31),
        (SIZE, "1kB", 1000), (SIZE, "1.5KiB", 1536), (SIZE, "1e3", 1000), (SIZE, "5s", INVALID),
        (SIZE, "-1", INVALID), (SIZE, "9" * 400, INVALID), (SIZE, "9" * 309 + "GiB", INVALID),
        (FLAG, "true", True), (FLAG, "False", False), (FLAG, "yes", INVALID), (FLAG, "1", INVALID),
        (FLAG, "'true'", INVALID), (FLAG, "~", INVALID),
        (TEXT, "a", "a"), (TEXT, "''", INVALID), (TEXT, "5", INVALID), (TEXT, "on", "on"),
        (Text(lenient=True), "5", "5"), (Text(lenient=True), "true", "true"),
        (Text(lenient=True), "~", INVALID), (Text(lenient=True), "[a]", INVALID),
        (Integer(1, 8), "1", 1), (Integer(1, 8), "8", 8), (Integer(1, 8), "0", INVALID),
        (Integer(1, 8), "9", INVALID),
        (Integer(), "0", 0), (Integer(), "true", INVALID), (Integer(), "1.0", INVALID),
        (Integer(), "'1'", INVALID),
        (Keyword(["a", "b"]), "a", "a"), (Keyword(["a", "b"]), "c", INVALID),
        (Keyword(["a"]), "[a]", INVALID),
        (ListOf(TEXT), "[a, b]", ("a", "b")), (ListOf(TEXT), "[]", ()), (ListOf(TEXT), "a", INVALID),
        (ListOf(TEXT), "[a, 5]", INVALID), (ListOf(TEXT, min_items=1), "[]", INVALID),
        (OneOrMany(TEXT), "a", ("a",)), (OneOrMany(TEXT), "[a, b]", ("a", "b")),
        (OneOrMany(TEXT), "[]", INVALID),
        (OneOrMany(TEXT), "[[a]]", INVALID), (OneOrMany(TEXT), "{}", INVALID),
        (MapOf(TEXT), "{a: b, 1: c}", {"a": "b", "1": "c"}), (MapOf(TEXT), "{}", {}),
        (MapOf(TEXT), "{a: 1}", INVALID), (MapOf(TEXT), "[a]", INVALID),
    ],
)  # fmt: skip
def test_a_value_is_converted_or_reported(value_type: ValueType, text: str, value: Any) -> None:
    assert _checked(value_type, text) == value


@pytest.mark.parametrize(
    ("word", "known", "closest"),
    [
        ("respones", ["response", "stream", "request"], "response"),
        ("finish-reason", ["finish_reason", "role"], "finish_reason"),
        ("FRAMING", ["framing"], "framing"),
        ("mpa", ["max", "map", "min"], "map"),
        ("zzz", ["response", "stream"], None),
        ("", ["a"], None),
        ("a", [], None),
    ],
)
def test_the_closest_known_word_is_suggested(word: str, known: list[str], closest: str | None) -> None:
    assert closest_match(word, known) == closest


@pytest.mark.parametrize(
    ("base", "top", "merged"),
    [
        ("{a: 1, b: 2}", "{b: 3, c: 4}", {"a": 1, "b": 3, "c": 4}),
        ("{a: {b: {c: 1, d: 2}}}", "{a: {b: {d: 3}}}", {"a": {"b": {"c": 1, "d": 3}}}),
        ("{a: [1, 2]}", "{a: [3]}", {"a": [3]}),
        ("{a: {b: 1}}", "{a: 5}", {"a": 5}),
        ("{a: 5}", "{a: {b: 1}}", {"a": {"b": 1}}),
        ("{a: {b: 1}}", "{a: null}", {"a": None}),
        ("{a: {b: 1}}", "{a: {}}", {"a": {"b": 1}}),
        ("[1]", "{a: 1}", {"a": 1}),
    ],
)
def test_mappings_are_merged_deeply(base: str, top: str, merged: Any) -> None:
    assert deep_merge(tree(base), tree(top)).plain() == merged


PRESET = """
path: /generate
headers: {x-preset: a, x-both: b}
request: {fields: {n: 1, m: 2}, message_keys: {content: message}}
response: {text: $.text, finish_reason: $.end}
stream: {framing: ndjson, text: $.token}
limits: {frame: 1KiB, answer: 2KiB}
"""


def _over_preset(route: str, preset: str = PRESET, environment: dict[str, str] | None = None) -> RouteTable:
    def read_file(name: str) -> str:
        raise FileNotFoundError(name)

    text = f"routes: [{{models: m, preset: server, upstream: 'http://127.0.0.1:8000', {route}}}]"
    return load(text, "routes.yaml", LoadEnvironment(environment or {}, read_file, {"server": preset}))


def test_a_route_is_merged_over_its_preset() -> None:
    (route,) = _over_preset(
        "headers: {x-both: c}, request: {fields: {m: 3}}, limits: {answer: 4KiB}, stream: false"
    ).routes
    scope = Scope({})
    assert [url(scope) for url in route.request.non_streaming.urls] == ["http://127.0.0.1:8000/generate"]
    assert {name: value(scope) for name, value in route.request.non_streaming.headers.items()} == {
        "x-preset": "a",
        "x-both": "c",
    }
    assert route.request.non_streaming.body is not None
    messages = [{"role": "user", "content": "hi"}]
    assert route.request.non_streaming.body.build(scope, {"messages": messages}) == {
        "messages": [{"role": "user", "message": "hi"}],
        "n": 1,
        "m": 3,
    }
    assert (route.limits.frame, route.limits.answer) == (1024, 4096)
    assert route.response.streaming is None
    assert route.response.non_streaming is not None
    assert route.response.non_streaming.finish_reason is not None


def test_alternative_spellings_are_merged_over_a_preset() -> None:
    (route,) = _over_preset(
        "customHeaders: {x-both: c}, request: {customFields: {m: 3}, messageKeys: {role: who}}"
    ).routes
    assert route.request.non_streaming.headers["x-both"](Scope({})) == "c"
    assert route.request.non_streaming.body is not None
    built = route.request.non_streaming.body.build(
        Scope({}), {"messages": [{"role": "user", "content": "hi"}]}
    )
    assert built == {"messages": [{"who": "user", "message": "hi"}], "n": 1, "m": 3}


def test_null_removes_an_extractor_of_the_preset() -> None:
    (route,) = _over_preset("response: {finish_reason: null}").routes
    assert route.response.non_streaming is not None
    assert route.response.non_streaming.finish_reason is None
    assert route.response.non_streaming.text is not None


def test_a_preset_is_interpolated_and_its_problems_name_the_preset() -> None:
    preset = "headers: {x-a: '${A}'}"
    (route,) = _over_preset("model: n", preset, {"A": "{{ a }}"}).routes
    assert route.request.non_streaming.headers["x-a"](Scope({})) == "{{ a }}"
    with pytest.raises(ConfigError, match=r"(?s)preset server:1:16: headers.x-a: .*A is not set"):
        _over_preset("model: n", preset)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("5", "5"),
        ("true", "true"),
        ("false", "false"),
        ("1.5", "1.5"),
        ("'5'", "5"),
        ("on", "on"),
        ("-3", "-3"),
    ],
)
def test_numbers_and_booleans_in_headers_keep_their_spelling(written: str, sent: str) -> None:
    (route,) = _over_preset(f"headers: {{x-a: {written}}}, query: {{q: {written}}}").routes
    assert route.request.non_streaming.headers["x-a"](Scope({})) == sent
    assert route.request.non_streaming.query["q"](Scope({})) == sent


def test_keys_with_the_prefix_x_are_ignored_except_in_mappings_of_names() -> None:
    (route,) = _over_preset("x-note: [1], limits: {x-a: 1}, headers: {x-b: c}").routes
    assert route.request.non_streaming.headers["x-b"](Scope({})) == "c"


def test_a_request_rule_of_autodev_is_accepted_unchanged() -> None:
    fields, keys = '{"user": "12345", "model": "gpt-4"}', '{"role": "role", "content": "message"}'
    pasted = f'{{ "customFields": {fields}, "messageKeys": {keys} }}'
    text = f"routes: [{{models: m, upstream: 'http://127.0.0.1:8000', request: {pasted}}}]"
    (route,) = load(text, "routes.yaml", LoadEnvironment({}, lambda name: "", {})).routes
    assert route.request.non_streaming.body is not None
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert route.request.non_streaming.body.build(Scope(body), body) == {
        "model": "gpt-4",
        "messages": [{"role": "user", "message": "hi"}],
        "user": "12345",
    }


@pytest.mark.parametrize(
    ("route", "counts"),
    [
        ("retry: {attempts: 3}}, session: {id: $.id, keep: conversation, most: 5}", (3, 5)),
        ("retry: {retries: 3}}, session: {id: $.id, keep: conversation, max: 5}", (3, 5)),
    ],
)
def test_two_counts_have_a_clearer_second_spelling(route: str, counts: tuple[int, int]) -> None:
    text = f"routes: [{{models: m, upstream: {{url: 'http://h', {route}}}]"
    (compiled,) = load(text, "routes.yaml", LoadEnvironment({}, str, {})).routes
    retry, session = compiled.transport.retry, compiled.callouts.session
    assert retry is not None
    assert session is not None
    assert (retry.attempts, session.max_kept) == counts
