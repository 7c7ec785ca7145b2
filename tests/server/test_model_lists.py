"""The list of models: names in the file, names of `lists`, and the upstreams' own lists."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bridge.routes.rules.model_list import model_names
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import RunningBridge, run_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.raw_upstream import Request

ROUTES = """\
routes:
  - {name: first, models: [m, "own-*"], lists: [own-1], upstream: "http://127.0.0.1:1/x", response: $.t}
  - name: second
    models: "*"
    models_from: /api/models
    upstream: ${UPSTREAM}/v1/chat/completions
    headers: {X-Team: search}
    auth: {bearer: key-of-the-upstream}
"""


async def listed(bridge: RunningBridge) -> list[str]:
    response = await bridge.request(method="GET", path="/v1/models")
    assert response.status == 200
    return [model["id"] for model in response.json["data"]]


@asynccontextmanager
async def bridged(response: bytes) -> AsyncIterator[tuple[RunningBridge, list[Request]]]:
    """Run the routes with an upstream that sends one response. Yield the upstream's requests too."""
    async with (
        run_upstream(responder(response)) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        yield bridge, server.requests


async def test_names_of_the_file_and_of_the_upstream_are_listed() -> None:
    models = {"object": "list", "data": [{"id": "a"}, {"id": "b"}, {"id": "own-9"}, {"id": "m"}]}
    async with bridged(http_response(models)) as (bridge, requests):
        assert await listed(bridge) == ["m", "own-1", "a", "b", "own-9"]
        assert await listed(bridge) == ["m", "own-1", "a", "b", "own-9"]
        (request,) = requests  # the list is kept
        assert (request.method, request.path) == ("GET", "/api/models")
        assert request.headers["x-team"] == "search"
        assert request.headers["authorization"] == "Bearer key-of-the-upstream"


@pytest.mark.parametrize("response", [http_response({"error": "no"}, 500), http_response(b"<html>")])
async def test_a_list_that_is_not_received_leaves_the_names_of_the_file(
    response: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with bridged(response) as (bridge, _):
        assert await listed(bridge) == ["m", "own-1"]
    assert any(record.message == "list of models not received" for record in caplog.records)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b'{"data": [{"id": "a"}, {"id": "a"}, {"id": "b"}]}', ["a", "b"]),
        (b'{"models": [{"name": "llama:7b", "model": "llama:7b"}]}', ["llama:7b"]),
        (b'{"models": [{"name": "models/gemini-pro"}]}', ["gemini-pro"]),
        (b'["a", {"id": "b"}, 5, {}, null, {"id": 7}]', ["a", "b"]),
        (b'{"models": ["a"]}', ["a"]),
    ],
)
def test_lists_in_common_shapes_are_read(data: bytes, names: list[str]) -> None:
    assert model_names(data) == names


@pytest.mark.parametrize("data", [b"{}", b"null", b'{"data": {}}', b"<html>"])
def test_other_data_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        model_names(data)
