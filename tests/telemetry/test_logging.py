"""The log: one JSON line per request, without content or credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.telemetry.logging import log
from tests.raw_upstream import Connection, http_response, run_upstream
from tests.running_bridge import run_bridge
from tests.telemetry.captured_log import CapturedLog, captured_log
from tests.upstream.formats import DONE, completion, event, frame, is_stream, stream_response

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "the-key-of-a-client"
OWN_KEY = "the-key-of-the-bridge"
SECRET = "a-secret-message-text"
ROUTES = f"""
server: {{keys: [{KEY}]}}
routes:
  - name: first
    models: m
    upstream: "${{UPSTREAM}}/path-{OWN_KEY}?key={OWN_KEY}"
    auth: {{bearer: {OWN_KEY}}}
  - name: built
    models: built
    upstream: "${{UPSTREAM}}"
    request: {{body: {{p: $.prompt}}}}
    response: $.text
"""


@pytest.fixture
def lines() -> Iterator[CapturedLog]:
    with captured_log() as log:
        yield log


async def completes(peer: Connection) -> None:
    usage = {"usage": {"prompt_tokens": 7, "completion_tokens": 5}}
    while (request := await peer.request()) is not None:
        if b"fail" in request.data:
            await peer.send(
                http_response({"error": {"message": f"{SECRET}: {OWN_KEY}", "code": "overloaded"}}, 503)
            )
        elif is_stream(request):
            await peer.send(stream_response(frame(SECRET), event({"choices": [], **usage}), DONE))
        else:
            await peer.send(http_response({**completion(SECRET), **usage}))


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "user": SECRET, **more}


AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


async def test_each_request_is_one_line(lines: CapturedLog) -> None:
    async with run_upstream(completes) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for number, body in enumerate((chat(SECRET), chat(SECRET, stream=True), chat("fail"))):
            await bridge.request(body, headers={**AUTHORIZED, "X-Request-Id": f"id-{number}"})
        await bridge.request(
            {"model": "built", "prompt": SECRET, "temperature": 0.5, "user": SECRET},
            path="/v1/completions",
            headers={**AUTHORIZED, "X-Request-Id": "id-3"},
        )
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
    first, second, third, fourth = lines.of("request")
    common = {"event": "request", "level": "info", "route": "first", "model": "m", "endpoint": "chat"}
    assert first.items() >= {**common, "id": "id-0", "status": 200, "stream": False}.items()
    assert first.items() >= {"prompt_tokens": 7, "completion_tokens": 5}.items()
    assert second.items() >= {**common, "id": "id-1", "status": 200, "stream": True}.items()
    assert second.items() >= {"prompt_tokens": 7, "completion_tokens": 5}.items()
    failed = {"level": "warning", "id": "id-2", "status": 503, "error": "refused", "code": "overloaded"}
    assert third.items() >= {**common, **failed}.items()
    assert fourth.items() >= {"route": "built", "endpoint": "completions", "dropped": 2}.items()
    for line in (first, second, third, fourth):
        assert isinstance(line["ms"], float)
        assert ("first_ms" in line) is line["stream"]
        assert "time" in line


async def test_a_refused_request_is_logged(lines: CapturedLog) -> None:
    async with run_bridge(ROUTES, {"UPSTREAM": "http://127.0.0.1:1"}) as bridge:
        for body, headers in (
            (b"no json", AUTHORIZED),
            (chat("a", model="nowhere"), AUTHORIZED),
            (chat("a"), {}),
        ):
            await bridge.request(body, headers={**headers, "X-Request-Id": "an-id"})
    refusals = lines.of("refused")
    assert [(line["status"], line["error"]) for line in refusals] == [
        (400, "invalid_json"),
        (404, "model_not_found"),
        (401, "invalid_api_key"),
    ]
    assert {line["id"] for line in refusals} == {"an-id"}
    assert not lines.of("request")


async def test_a_client_disconnect_is_logged(lines: CapturedLog) -> None:
    async def never_responds(peer: Connection) -> None:
        await peer.request()
        await peer.wait_closed()

    async with run_upstream(never_responds) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send(chat("a"), headers=AUTHORIZED)
            await server.wait_until(lambda server: len(server.requests) == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
    (line,) = lines.of("request")
    assert line.items() >= {"status": 499, "error": "client_disconnect", "level": "info"}.items()


async def test_no_line_contains_content_or_a_key(lines: CapturedLog) -> None:
    async with run_upstream(completes) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for model in ("m", "built"):
            for more in (
                {},
                {"stream": True},
                {"messages": chat("fail " + SECRET)["messages"]},
                {"n": SECRET},
            ):
                await bridge.request(chat(SECRET, model=model) | more, headers=AUTHORIZED)
        await bridge.request(SECRET.encode(), headers=AUTHORIZED)
        await bridge.request(chat(SECRET), headers={"Authorization": f"Bearer {SECRET}"})
        await bridge.request(chat(SECRET, model=SECRET), headers=AUTHORIZED)
    async with run_bridge(ROUTES, {"UPSTREAM": "http://127.0.0.1:1"}) as bridge:
        await bridge.request(chat(SECRET), headers=AUTHORIZED)
    text = lines.text
    assert len(lines.all) >= 12
    for word in (SECRET, KEY, OWN_KEY):
        assert word not in text


def test_control_characters_do_not_break_a_line(lines: CapturedLog) -> None:
    log("odd", id="a\nb\u2028c\x00\x1b[31m\ud83d", nothing=None)
    text = lines.text
    assert text.count("\n") == 1
    (line,) = lines.all
    assert line["id"].startswith("a\nb")
    assert "nothing" not in line
