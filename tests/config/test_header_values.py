"""Values of the file that headers carry: a value that no header can carry is a problem of the file."""

from __future__ import annotations

import pytest

from bridge.core.errors import ConfigError
from bridge.expressions.scope import Scope
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.rules.request_template import make_request
from bridge.routes.table import RouteTable, load

ROUTE = "routes:\n- models: m\n  upstream: http://server/api\n  "
PLACES = [
    "auth: {bearer: '%s'}",
    "auth: {header: x-key, value: '%s'}",
    "auth: {aws: {service: s, region: r, access_key: '%s', secret_key: b}}",
    "auth: {aws: {service: s, region: r, access_key: a, secret_key: b, session_token: '%s'}}",
    "auth: {jwt: {key: a, prefix: '%s'}}",
    "auth: {hmac: {key: '%s', secret: b, text: '{{ date }}', headers: {s: '{{ key }} {{ signature }}'}}}",
    "headers: {x-key: '%s'}",
    "headers: {x-key: 'Key %s'}",
    "headers: {x-key: '{{ model }} %s'}",
    "headers: {x-key: \"{{ '%s' }}\"}",
    "request: {headers: {x-key: '%s'}}",
    "stream: {headers: {x-key: '%s'}}",
    "stream: {request: {headers: {x-key: '%s'}}}",
    "calls: {a: {path: /a, headers: {x-key: '%s'}}}",
    "session: {open: {path: /a, id: $.id, headers: {x-key: '%s'}}}",
]


def _load(rules: str, variables: dict[str, str], files: dict[str, str] | None = None) -> RouteTable:
    return load(ROUTE + rules, "routes.yaml", LoadEnvironment(variables, (files or {}).__getitem__, {}))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", ["sk-one\nsk-two", "sk-one\n\n", "sk-\0", "sk-\rx", "sk-\ud800"])
def test_a_value_that_no_header_can_carry_is_a_problem(place: str, value: str) -> None:
    with pytest.raises(ConfigError, match=r"routes.yaml:4:\d+: routes\[0\]\.") as raised:
        _load(place % "${KEY}", {"KEY": value})
    assert len(raised.value.problems) == 1
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "value", ["sk-one", "sk-one\n", "sk-one\r\n", "\ufeffsk-one", "\ufeffsk-one\r\n", "sk-ä"]
)
def test_a_line_end_and_a_bom_are_removed(place: str, value: str) -> None:
    _load(place % "${KEY}", {"KEY": value})
    _load(place % "${file:key}", {}, {"key": value})


@pytest.mark.parametrize("value", ["sk-one\n", "sk-one\r\n", "\ufeffsk-one", "\ufeffsk-one\r\n"])
@pytest.mark.parametrize("reference", ["${KEY}", "${file:key}", "${KEY:-no}"])
def test_the_header_carries_the_key_alone(reference: str, value: str) -> None:
    (route,) = _load(f"auth: {{bearer: '{reference}'}}", {"KEY": value}, {"key": value}).routes
    request = make_request(route.request.non_streaming, Scope({}), b"", {})
    assert request.headers["Authorization"] == "Bearer sk-one"


@pytest.mark.parametrize(
    "rules",
    [
        'headers: {x-key: "a\\nb"}',
        'headers: {x-key: "{{ model }}\\nb"}',
        'headers: {x-key: "{% if true %}a\\nb{% endif %}"}',
        'headers: {"x key": a}',
        'headers: {"x-key\\n": a}',
        'headers: {"": a}',
        'headers: {"x:": a}',
        "auth: {header: x key, value: a}",
        "auth: {jwt: {key: a, header: 'x:'}}",
        "auth: {oauth2: {token_url: 'http://h/t', client_id: a, client_secret: b, header: 'x:'}}",
        'stream: {url: "http://ser\\nver/api"}',
    ],
)
def test_a_line_break_of_the_file_and_an_invalid_name_are_problems(rules: str) -> None:
    with pytest.raises(ConfigError, match=r"routes.yaml:4:\d+: routes\[0\]\."):
        _load(rules, {})


@pytest.mark.parametrize(
    "value",
    ["{{ user }}", "{{ messages[0].content }}", "{% for m in messages %}{{ m.role }}{% endfor %}", "", 7],
)
def test_a_value_that_depends_on_the_request_is_accepted(value: object) -> None:
    _load(f"headers: {{x-user: '{value}'}}", {})
