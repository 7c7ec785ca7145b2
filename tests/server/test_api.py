"""The OpenAI API of the front: paths, methods, models, keys, request ids and cross-origin requests."""

from __future__ import annotations

import re
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import pytest

from bridge.server.request_ids import request_ids
from tests.raw_client import CHAT, HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import RunningBridge, run_bridge
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROUTES = """
SERVER
routes:
  - {name: one, models: [m, a/b, "100%25", "é"], upstream: "${UPSTREAM}"}
  - {name: two, models: [m, chat-only, "glob-*"], upstream: "${UPSTREAM}", serves: [chat]}
"""


def with_server(members: str) -> str:
    return ROUTES.replace("SERVER", f"server: {{{members}}}")


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async with run_upstream(responder(http_response(completion("hello")))) as server:
        yield server.url


@pytest.fixture
async def bridge(server: str) -> AsyncIterator[RunningBridge]:
    async with run_bridge(with_server(""), {"UPSTREAM": server}) as bridge:
        yield bridge


@pytest.mark.parametrize(
    "path",
    [
        CHAT,
        CHAT + "/",
        CHAT[3:],
        CHAT + "?api-version=1",
        "/v1/chat%2Fcompletions",
        "//v1/chat/completions",
        "/v1//chat///completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/m/chat/completions?api-version=2024-10-21",
    ],
)
async def test_spellings_of_the_chat_path_are_accepted(path: str, bridge: RunningBridge) -> None:
    assert (await bridge.request(HELLO, path=path)).completion().choice.text == "hello"


UNKNOWN_PATHS = [
    "/", "/v1", "/v1/", "/v1/audio/speech", "/v2/chat/completions", "/openaichat/completions",
    "/v1chat/completions", "/metrics",
    "/healthz", "/v1/chat/completions/x", "//", "/%00", "/%ff", "/..%2f", "/v1/" + "x" * 4000,
]  # fmt: skip


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_path_is_404(path: str, method: str, bridge: RunningBridge) -> None:
    response = await bridge.request(HELLO if method == "POST" else None, path=path, method=method)
    assert (response.status, response.error()["code"]) == (404, "unknown_url")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", CHAT, "POST"), ("PUT", CHAT, "POST"), ("DELETE", "/v1/completions", "POST"),
     ("OPTIONS", CHAT, "POST"), ("POST", "/v1/models", "GET, HEAD"), ("DELETE", "/v1/models/m", "GET, HEAD")],
)  # fmt: skip
async def test_another_method_is_405(method: str, path: str, allow: str, bridge: RunningBridge) -> None:
    response = await bridge.request(HELLO, method=method, path=path)
    assert (response.status, response.error()["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == allow


async def test_models_are_listed(bridge: RunningBridge) -> None:
    response = await bridge.request(method="GET", path="/v1/models")
    assert response.json["object"] == "list"
    assert [model["id"] for model in response.json["data"]] == ["m", "a/b", "100%25", "é", "chat-only"]
    for model in response.json["data"]:
        assert set(model) == {"id", "object", "created", "owned_by"}
        assert model["object"] == "model"
        assert isinstance(model["created"], int)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m"])
async def test_head_is_get_without_a_body(path: str, bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.send(method="HEAD", path=path)
        head = await client.response(bodiless=True)
        await client.send(method="GET", path=path)
        full = await client.response()
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) == len(full.body)


@pytest.mark.parametrize(
    ("path", "name"),
    [("m", "m"), ("a%2Fb", "a/b"), ("a/b", "a/b"), ("chat-only", "chat-only"), ("glob-7", "glob-7"),
     ("%C3%A9", "é")],
)  # fmt: skip
async def test_a_model_is_described(path: str, name: str, bridge: RunningBridge) -> None:
    response = await bridge.request(method="GET", path=f"/v1/models/{path}")
    assert (response.status, response.json["id"]) == (200, name)


@pytest.mark.parametrize("path", ["n", "a", "a%252Fb", "glob", "%ff", "M", "m%20"])
async def test_an_unknown_model_is_not_described(path: str, bridge: RunningBridge) -> None:
    response = await bridge.request(method="GET", path=f"/v1/models/{path}")
    error = response.error()
    assert (response.status, error["code"], error["param"]) == (404, "model_not_found", "model")


async def test_a_model_name_in_a_path_is_unquoted_once(bridge: RunningBridge) -> None:
    response = await bridge.request(method="GET", path="/v1/models/100%2525")
    assert (response.status, response.json.get("id")) == (200, "100%25")


async def test_a_request_for_an_unknown_model_is_404(bridge: RunningBridge) -> None:
    for model in ("nowhere", "M", "glob", "m "):
        response = await bridge.request({**HELLO, "model": model})
        error = response.error()
        assert (response.status, error["code"], error["param"]) == (404, "model_not_found", "model")


async def test_a_request_goes_to_the_route_that_serves_model_and_endpoint(bridge: RunningBridge) -> None:
    legacy = {"prompt": "hello"}
    response = await bridge.request({**legacy, "model": "chat-only"}, path="/v1/completions")
    assert (response.status, response.error()["param"]) == (404, "model")
    response = await bridge.request({**legacy, "model": "m"}, path="/v1/completions")
    assert (response.status, response.headers["x-bridge-route"]) == (200, "one")
    response = await bridge.request({**HELLO, "model": "glob-9"})
    assert (response.status, response.headers["x-bridge-route"]) == (200, "two")


@pytest.mark.parametrize("value", ["abc", "0f-1_2.3:4/5+6=7@8", "x" * 128])
async def test_a_valid_request_id_is_kept(value: str, bridge: RunningBridge) -> None:
    for body in (HELLO, {}):
        response = await bridge.request(body, headers={"X-Request-Id": value})
        assert response.headers["x-request-id"] == value


@pytest.mark.parametrize("value", ["", "x" * 129, "a b", "a\tb", 'a"b', "<script>", "é", "a;b", "{}"])
async def test_an_invalid_request_id_is_replaced(value: str, bridge: RunningBridge) -> None:
    response = await bridge.request(HELLO, headers={"X-Request-Id": value})
    assert re.fullmatch("req_[0-9a-f]{32}", response.headers["x-request-id"])


async def test_every_response_has_its_own_id(bridge: RunningBridge) -> None:
    responses = [await bridge.request(HELLO) for _ in range(3)] + [await bridge.request(path="/nowhere")]
    assert len({response.headers["x-request-id"] for response in responses}) == 4


def test_request_ids_share_no_part_that_a_client_could_count() -> None:
    ids = [*islice(request_ids(), 1000)]  # of several batches
    assert len(set(ids)) == 1000
    for half in (slice(0, 16), slice(16, 32)):
        assert len({each[half] for each in ids}) == 1000
        numbers = [int(each[half], 16) for each in ids]
        assert 300 < sum(first < second for first, second in pairwise(numbers)) < 700


async def test_dropped_parameters_are_in_a_header(server: str) -> None:
    text = "routes: [{models: m, upstream: '${UPSTREAM}', request: {body: {p: $.prompt}}, response: $.text}]"
    async with run_bridge(text, {"UPSTREAM": server}) as bridge:
        body = {**HELLO, "temperature": 0.5, "logit_bias": {"7": 1}, "né\r\nw": 1}
        response = await bridge.request(body)
        assert response.status == 200
        assert response.headers["x-bridge-dropped"] == r"temperature, logit_bias, n\xe9  w"
        assert "x-bridge-dropped" not in (await bridge.request(HELLO)).headers


KEYS = "keys: [first-key, second-key]"

GOOD = ["Bearer first-key", "Bearer second-key", "bearer first-key", "BEARER  first-key "]
BAD = [
    "Bearer first-ke", "Bearer first-key2", "Bearer FIRST-KEY", "Bearer", "Bearer ", "first-key",
    "Basic first-key", "Basic OmZpcnN0LWtleQ==", "Bearer first-key, Bearer second-key", "Bearer fürst",
    "Bearer \xff", "Bearer " + "k" * 4000,
]  # fmt: skip


@pytest.mark.parametrize("value", GOOD)
async def test_a_valid_key_is_accepted(value: str, server: str) -> None:
    async with run_bridge(with_server(KEYS), {"UPSTREAM": server}) as bridge:
        assert (await bridge.request(HELLO, headers={"Authorization": value})).status == 200
        models = await bridge.request(method="GET", path="/v1/models", headers={"Authorization": value})
        assert models.status == 200


async def test_invalid_keys_are_refused(server: str) -> None:
    async with run_bridge(with_server(KEYS), {"UPSTREAM": server}) as bridge:
        for value in [None, *BAD]:
            headers = {} if value is None else {"Authorization": value}
            for options in ({"body": HELLO}, {"method": "GET", "path": "/v1/models"}, {"path": "/nowhere"}):
                response = await bridge.request(headers=headers, **options)
                error = response.error()
                assert (response.status, error["code"]) == (401, "invalid_api_key"), value
                assert response.headers["www-authenticate"] == "Bearer"
                assert value is None or value.split()[-1] not in error["message"] or value.strip() == "Bearer"
        assert (await bridge.get_admin("/metrics")).status == 200, "the admin port requires no key"


async def test_an_upload_without_a_key_is_not_read(server: str) -> None:
    async with run_bridge(with_server(KEYS), {"UPSTREAM": server}) as bridge, bridge.connect() as client:
        await client.send(headers={"Content-Length": "99999999", "Expect": "100-continue"})
        assert (await client.response()).status == 401


async def test_the_key_does_not_go_upstream() -> None:
    async with run_upstream(responder(http_response(completion("hello")))) as server:
        async with run_bridge(with_server(KEYS), {"UPSTREAM": server.url}) as bridge:
            assert (await bridge.request(HELLO, headers={"Authorization": "Bearer first-key"})).status == 200
        assert "authorization" not in server.requests[0].headers


PREFLIGHT = {
    "Origin": "https://page.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}


async def test_other_origins_are_refused_by_default(bridge: RunningBridge) -> None:
    response = await bridge.request(HELLO, headers={"Origin": "https://page.example"})
    assert response.status == 200
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert (await bridge.request(method="OPTIONS", headers=PREFLIGHT)).status == 405


@pytest.mark.parametrize("allowed", ["https://page.example", "'*'"])
async def test_an_allowed_origin_is_accepted(allowed: str, server: str) -> None:
    text = with_server(f"cors: [https://other.example, {allowed}], {KEYS}")
    async with run_bridge(text, {"UPSTREAM": server}) as bridge:
        responses = await bridge.request(method="OPTIONS", headers=PREFLIGHT)
        assert (responses.status, responses.body) == (204, b"")
        assert responses.headers["access-control-allow-origin"] == "https://page.example"
        assert "POST" in responses.headers["access-control-allow-methods"]
        assert responses.headers["access-control-allow-headers"] == "authorization, content-type"
        for headers, status in (({"Authorization": "Bearer first-key"}, 200), ({}, 401)):
            response = await bridge.request(HELLO, headers={"Origin": "https://page.example", **headers})
            assert response.status == status
            assert response.headers["access-control-allow-origin"] == "https://page.example"
            assert response.headers["vary"] == "Origin"
            assert "X-Request-Id" in response.headers["access-control-expose-headers"]


async def test_other_origins_are_refused(server: str) -> None:
    async with run_bridge(with_server("cors: https://page.example"), {"UPSTREAM": server}) as bridge:
        headers = {**PREFLIGHT, "Origin": "https://page.example.evil"}
        assert (await bridge.request(method="OPTIONS", headers=headers)).status == 405
        response = await bridge.request(HELLO, headers={"Origin": "null"})
        assert response.status == 200
        assert "access-control-allow-origin" not in response.headers


SIMPLE_TYPES = ["", "text/plain; charset=utf-8", "application/x-www-form-urlencoded", "multipart/form-data"]


@pytest.mark.parametrize("content_type", SIMPLE_TYPES)
async def test_requests_that_any_page_can_send_are_refused(content_type: str, server: str) -> None:
    """Browsers send such requests without a preflight request: a page could use a bridge without keys."""
    headers = {"Content-Type": content_type}
    async with run_bridge(with_server("cors: https://page.example"), {"UPSTREAM": server}) as bridge:
        for origin, status in (("https://evil.example", 403), ("null", 403), ("https://page.example", 200)):
            response = await bridge.request(HELLO, headers={**headers, "Origin": origin})
            assert response.status == status
        assert (await bridge.request(HELLO, headers=headers)).status == 200  # such as curl -d
        refused = await bridge.request(HELLO, headers={**headers, "Origin": "https://evil.example"})
        assert refused.error()["code"] == "origin_not_allowed"


@pytest.mark.parametrize("count", [150, 9_000])
async def test_the_header_of_dropped_parameters_is_short_and_printable(server: str, count: int) -> None:
    routes = with_server("").replace("serves: [chat]", "serves: [chat], request: {keep: [messages]}")
    parameters = {f"{number} \0\x1b\n{'x' * 40}": 1 for number in range(count)}
    async with run_bridge(routes, {"UPSTREAM": server}) as bridge:
        response = await bridge.request({**HELLO, "model": "chat-only", **parameters})
    assert response.status == 200
    header = response.headers["x-bridge-dropped"]
    assert header.startswith("0 ")
    assert header.endswith("...")
    assert len(header) <= 1027
    assert header.isascii()
    assert header.isprintable()
