"""Secrets of a file: what counts as one, and that no text for people contains one."""

from __future__ import annotations

from base64 import b64encode

import pytest

from bridge.config.container_types import MapOf
from bridge.config.problems import Problems
from bridge.config.records import Record, option, record
from bridge.config.secrets import EXTERNAL, secret_texts
from bridge.config.value_types import TEXT, Keyword
from bridge.config.yaml_tree import parse
from bridge.core.errors import ConfigError
from bridge.core.masking import mask, mask_values
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.spec.auth import AuthSpec, public
from bridge.routes.table import RouteTable, load

KEY = "sk-from-outside"


@record
class _NewKindSpec:
    pass_phrase: str = option(TEXT, "an option whose author did not think of secrets")
    region: str = public(TEXT, "an option that is declared as public", default="")
    mode: str = option(Keyword(("fast", "slow")), "a word of the language", default="fast")


@record
class _NewAuthSpec(AuthSpec):
    new_kind: _NewKindSpec | None = option(Record(_NewKindSpec), "a new way to authenticate", default=None)


@record
class _NewRouteSpec:
    auth: _NewAuthSpec = option(Record(_NewAuthSpec), "as in a route", secret=True)


def _secrets(text: str, of: type) -> set[str]:
    problems = Problems()
    tree = parse(text, "routes.yaml", problems)
    assert tree is not None
    Record(of).check(tree, problems)
    assert not problems
    return set(secret_texts(tree))


def test_a_new_way_to_authenticate_cannot_forget_its_secrets() -> None:
    text = "auth: {new_kind: {pass_phrase: open sesame, region: us-east-1, mode: slow}}"
    assert _secrets(text, _NewRouteSpec) == {"open sesame"}


@pytest.mark.parametrize(
    ("auth", "secrets"),
    [
        ("{bearer: key-1}", {"key-1"}),
        ("{header: x-key, value: key-1}", {"key-1"}),
        ("{query: key, value: key-1}", {"key-1"}),
        ("{basic: {user: somebody, password: key-1}}", {"key-1", b64encode(b"somebody:key-1").decode()}),
        ("{jwt: {key: id.key-1, algorithm: HS256, claims: {iss: us}}}", {"id.key-1"}),
        ("{hmac: {key: key-1, secret: key-2, text: '{{ date }}', query: {s: '{{ signature }}'}}}",
         {"key-1", "key-2"}),
        ("{oauth2: {token_url: http://h/t, client_id: us, client_secret: key-1, params: {p: key-2}}}",
         {"key-1", "key-2"}),
        ("{oauth2: {token_url: http://h/t, assertion: {key: key-1}, timeout: 5s}}", {"key-1"}),
        ("{aws: {service: bedrock, region: r, access_key: key-1, secret_key: key-2, session_token: key-3}}",
         {"key-1", "key-2", "key-3"}),
    ],
)  # fmt: skip
def test_the_keys_of_every_kind_of_auth_are_secret(auth: str, secrets: set[str]) -> None:
    (route,) = _load(f"routes: [{{models: m, upstream: 'http://h', auth: {auth}}}]").routes
    assert set(route.secrets) == secrets
    for secret in secrets:
        assert route.mask(f"a {secret} b") == "a *** b"


def _load(text: str) -> RouteTable:
    return load(text, "routes.yaml", LoadEnvironment({"KEY": KEY, "HOST": "somewhere"}, str, {}))


def test_text_from_outside_is_secret_in_headers_queries_and_urls_but_no_address_is() -> None:
    text = """
routes:
  - models: m
    upstream: "http://${HOST}:1/v1?key=${KEY}"
    headers: {x-version: "2", x-key: "Key ${KEY}"}
"""
    (route,) = _load(text).routes
    assert set(route.secrets) == {KEY}


def test_a_mark_holds_until_another_mark_below() -> None:
    @record
    class Inner:
        open: str = option(TEXT, "", secret=False)
        outside: dict[str, str] = option(MapOf(TEXT), "", secret=EXTERNAL)
        closed: str = option(TEXT, "")

    @record
    class Outer:
        inner: Inner = option(Record(Inner), "", secret=True)
        other: str = option(TEXT, "")

    text = "{inner: {open: a, outside: {x: b}, closed: c}, other: d}"
    assert _secrets(text, Outer) == {"c"}


@pytest.mark.parametrize(
    "member",
    [
        'auth: "${KEY}"',
        'auth: {basic: "${KEY}"}',
        'auth: {oauth2: {token_url: "http://h/t", credentials: "${KEY}"}}',
        'auth: {jwt: {key: "${KEY}", secret: "{{ key.split(\'.\')[5] }}"}}',
        'headers: {x-key: ["${KEY}"]}',
        'stream: {headers: {x-key: ["${KEY}"]}, text: 5}',
    ],
)
def test_no_message_contains_a_secret(member: str) -> None:
    with pytest.raises(ConfigError) as raised:
        _load(f"routes: [{{models: m, upstream: 'http://h', {member}}}]\nserver: {{keys: {{a: '${{KEY}}'}}}}")
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    "member",
    [
        "preset: '${KEY}'",
        "upstream: '${KEY}'",
        "unsupported: '${file:a-file}'",
        "serves: ['x', '${KEY}']",
        "stream: {framing: '${file:a-file}'}",
        "response: 'before ${KEY}'",
        "limits: {queue: '${KEY}', body: '${file:a-file}'}",
        "prompt: {template: '${KEY} {{ x'}",
        "request: {body: {x: {$path: '${KEY}'}}}",
    ],
)
def test_no_problem_quotes_a_text_from_outside(member: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(
            f"routes: [{{models: m, {member}}}]",
            "routes.yaml",
            LoadEnvironment({"KEY": KEY}, lambda _: f"root:{KEY}:0\nbin:{KEY}:1\n", {}),
        )
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("text", ["http://h/a?k=ab&x=1", "http://h/?k=ab", '{"k": "ab"}', "ab", "Bearer ab"])
def test_a_short_secret_is_masked_as_a_value(text: str) -> None:
    assert "ab" not in mask_values(text, ["ab"])
    assert mask_values("a table about http://abc/lab?x=cab", ["ab"]) == "a table about http://abc/lab?x=cab"


def test_short_texts_and_parts_of_longer_secrets_are_masked_rightly() -> None:
    assert mask("abc abcd abcdef", ["abc", "abcd", "abcdef"]) == "abc *** ***"


@pytest.mark.parametrize("text", ["key=p%2Fw%20%22d", "key=p%2Fw+%22d", '{"key":"p/w \\"d"}', 'Basic p/w "d'])
def test_a_secret_is_masked_in_every_encoding(text: str) -> None:
    masked = mask(text, ['p/w "d'])
    assert "***" in masked
    assert "w" not in masked
