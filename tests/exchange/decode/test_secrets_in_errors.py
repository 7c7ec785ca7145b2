"""Errors of upstreams that repeat the request: no secret of the file reaches the client."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest

from bridge.exchange.dry_run import simulate
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import ENDPOINTS
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load

if TYPE_CHECKING:
    from bridge.routes.rules.route import Route

KEY = 'sk-a "b"/ä+c'  # each form of the key differs from the others
FORMS = [
    KEY,
    quote(KEY, safe=""),
    quote(KEY),
    quote_plus(KEY),
    json.dumps(KEY)[1:-1],
    json.dumps(KEY, ensure_ascii=False)[1:-1],
    b64encode(KEY.encode()).decode(),
    b64encode(f"user:{KEY}".encode()).decode(),
]
RULES = {
    "auth": "auth: {basic: {user: user, password: '${KEY}'}}",
    "literal": "auth: {basic: {user: user, password: 'sk-a \"b\"/ä+c'}}",
    "headers": "headers: {x-key: '${KEY}', authorization: 'Basic ${PAIR}'}",
    "query": "query: {key: '${KEY}', pair: '${PAIR}'}",
}
SHAPES = "response: $.t\nstream: {text: $.t}"


def _route(rules: str) -> Route:
    text = "routes:\n  - models: m\n    upstream: http://server/api\n    " + "\n    ".join(
        f"{rules}\n{SHAPES}".splitlines()
    )
    variables = {"KEY": KEY, "PAIR": b64encode(f"user:{KEY}".encode()).decode()}
    return load(text, "routes.yaml", LoadEnvironment(variables, str, {})).routes[0]


def _run(route: Route, data: bytes, status: int, **body: Any) -> tuple[Exchange, bytes]:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
    context = RequestContext(route, ENDPOINTS["chat"], body, json.dumps(body).encode(), id="1", now=0.0)
    exchange = Exchange(context)
    return exchange, simulate(exchange, [data], status=status, headers={"retry-after": "1"})


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("status", [400, 418, 500])
@pytest.mark.parametrize("shape", ["message", "code", "text"])
def test_an_error_that_repeats_the_key_is_masked(rules: str, status: int, shape: str) -> None:
    for form in FORMS:
        words = f"a bad key: {form}."
        body: Any = {"error": {"message": "no", shape: words}} if shape != "text" else None
        data = words.encode() if body is None else json.dumps(body).encode()
        exchange, _ = _run(_route(rules), data, status)
        assert exchange.error is not None
        envelope = exchange.error.envelope["error"]
        assert "***" in str(envelope.values())
        assert form not in str([*envelope.values()])


def test_an_error_in_a_stream_that_has_begun_is_masked() -> None:
    data = f'data: {{"t": "a"}}\n\ndata: {json.dumps({"error": {"message": "key " + KEY}})}\n\n'
    exchange, out = _run(_route(RULES["auth"]), data.encode(), 200, stream=True)
    assert exchange.started
    assert b"key ***" in out
    assert b"sk-a" not in out


@pytest.mark.parametrize("padding", range(460, 500))
def test_a_key_that_is_cut_at_the_end_of_an_excerpt_is_masked(padding: int) -> None:
    key = "sk-0123456789abcdef"
    exchange, _ = _run(_route(f"auth: {{bearer: {key}}}"), f"{'x' * padding}{key}".encode(), 500)
    assert exchange.error is not None
    assert "sk-0" not in exchange.error.message


def test_a_body_that_is_not_json_is_masked() -> None:
    exchange, _ = _run(_route(RULES["headers"]), f"<p>{KEY}</p>".encode(), 200)
    assert exchange.error is not None
    assert "<p>***</p>" in exchange.error.message


@pytest.mark.parametrize("url", ["http://user:pa%2Fss@server/api", "http://user:${PW}@server/api"])
def test_the_password_of_a_url_is_masked(url: str) -> None:
    text = f"routes: [{{models: m, upstream: '{url}', response: $.t, stream: false}}]"
    (route,) = load(text, "routes.yaml", LoadEnvironment({"PW": "pa%2Fss"}, str, {})).routes
    pair = b64encode(b"user:pa/ss").decode()
    exchange, _ = _run(route, f"pa%2Fss pa/ss Basic {pair} {pair}".encode(), 500)
    assert exchange.error is not None
    assert exchange.error.message == "the upstream responded 500: *** *** Basic *** ***"


def test_a_credential_that_the_bridge_made_is_masked() -> None:
    exchange, _ = _run(_route(""), b"Authorization: Bearer eyJhbGciOi.eyJpc3MiOi.Zm9v-_", 500)
    assert exchange.error is not None
    assert exchange.error.message.endswith("Authorization: Bearer ***")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("rules", ["auth: {bearer: k}", "error: {message: $.error.message}"])
def test_a_refusal_of_the_bridges_own_key_has_the_bridges_own_words(status: int, rules: str) -> None:
    body = {"error": {"message": "Incorrect API key provided: sk-a***c", "code": "invalid_api_key"}}
    exchange, _ = _run(_route(rules), json.dumps(body).encode(), status)
    assert exchange.error is not None
    message = f"the upstream refused the bridge's credentials ({status})"
    assert (exchange.error.status, exchange.error.message) == (502, message)
    assert exchange.error.code == "invalid_api_key"


def test_a_declared_status_keeps_the_upstreams_words() -> None:
    rules = "error: {status: 429, message: $.m}"
    exchange, _ = _run(_route(rules), b'{"m": "too many"}', 403)
    assert exchange.error is not None
    assert (exchange.error.status, exchange.error.message) == (429, "too many")
