"""Sessions of the demo server llmapi: opened and closed once for every outcome of a client's request."""

from __future__ import annotations

import asyncio
import json
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from bridge.demo import LLMAPI, serving
from tests.background_loop import in_background, wait_blocking
from tests.bridge_process import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from tests.bridge_process import BridgeProcess

FILE = Path(__file__).with_name("seeds.yaml")
NEVER = "a question without a response"
SLOWLY = "start slowly"


class CountedLLMAPI(LLMAPI):
    """The demo server with its sessions counted. The attributes are read from another thread."""

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.opened = self.closed = 0
        self.arrived = Event()  # set by a question without a response, and by a slow start
        self.release = Event()  # lets the slow start respond

    def wait_until_closed(self, opened: int) -> None:
        """Wait until this number of sessions was opened, and all are closed."""
        wait_blocking(
            lambda: (self.opened, self.closed, self.open_sessions) == (opened, opened, 0),
            f"{opened} sessions are opened and closed",
        )

    async def _start(self, request: web.Request, body: Any) -> web.Response:
        before = self.open_sessions
        response = await super()._start(request, body)
        self.opened += self.open_sessions - before
        if body.get("settings", {}).get("system") == SLOWLY:
            self.arrived.set()
            await asyncio.to_thread(self.release.wait, 30)
        return response

    async def _ask(self, request: web.Request, body: Any) -> web.Response:
        if body["content"] == NEVER:
            self.arrived.set()
            await asyncio.Event().wait()
        return await super()._ask(request, body)

    async def _end(self, request: web.Request, body: Any) -> web.Response:
        response = await super()._end(request, body)
        self.closed += 1
        return response


@pytest.fixture(scope="module")
def server() -> Iterator[CountedLLMAPI]:
    server = CountedLLMAPI()
    with in_background(serving(server.application())) as server.url:
        yield server


@pytest.fixture(scope="module")
def bridge(server: CountedLLMAPI) -> Iterator[BridgeProcess]:
    with running(FILE, variables={"UPSTREAM": server.url, "LLMAPI": server.url}) as bridge:
        yield bridge


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "text", "status", "sessions"),
    [
        ("mock", "hi", 200, 1),
        ("chatgpt", "a sensitive word", 200, 1),
        ("mock", "please fail", 504, 1),
        ("nope", "hi", 404, 0),
    ],
)
def test_a_session_is_closed_after_every_outcome(
    bridge: BridgeProcess,
    server: CountedLLMAPI,
    model: str,
    text: str,
    status: int,
    sessions: int,
    *,
    stream: bool,
) -> None:
    before = server.opened
    assert bridge.ask(model, text, stream=stream).status == status
    server.wait_until_closed(before + sessions)


@pytest.mark.parametrize("stream", [False, True])
def test_each_call_of_a_request_has_its_session(
    bridge: BridgeProcess, server: CountedLLMAPI, *, stream: bool
) -> None:
    before = server.opened
    body = {"model": "mock", "prompt": ["hi", "please fail", "ho"], "n": 2, "stream": stream}
    response = bridge.send("POST", "/v1/completions", json.dumps(body).encode())
    assert b"Reply timeout" in response.body
    # All six calls start together. Calls that are cancelled by the failure also open and close sessions.
    server.wait_until_closed(before + 6)


@pytest.mark.parametrize("stream", [False, True])
def test_a_session_is_closed_after_a_disconnect(
    bridge: BridgeProcess, server: CountedLLMAPI, *, stream: bool
) -> None:
    before = server.opened
    server.arrived.clear()
    connection = pending_request(bridge, stream=stream)
    assert server.arrived.wait(30)
    connection.close()
    server.wait_until_closed(before + 1)


def test_sessions_are_closed_at_shutdown(tmp_path: Path, server: CountedLLMAPI) -> None:
    before = server.opened
    file = tmp_path / "routes.yaml"
    file.write_text("server: {drain: 100ms}\n" + FILE.read_text())
    server.arrived.clear()
    with running(file, variables={"UPSTREAM": server.url, "LLMAPI": server.url}) as bridge:
        connection = pending_request(bridge, stream=False)
        assert server.arrived.wait(30)
    connection.close()
    server.wait_until_closed(before + 1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_session_opened_after_a_disconnect_is_closed(*, stream: bool) -> None:
    server = CountedLLMAPI()
    with (
        in_background(serving(server.application())) as server.url,
        running(FILE, variables={"UPSTREAM": server.url, "LLMAPI": server.url}) as bridge,
    ):
        connection = pending_request(bridge, SLOWLY, stream=stream)
        assert server.arrived.wait(30)
        connection.close()
        assert bridge.ask("mock").status == 200  # the bridge has noticed the disconnect by now
        server.release.set()
        server.wait_until_closed(2)


def pending_request(bridge: BridgeProcess, system: str = "", *, stream: bool) -> HTTPConnection:
    """Return the connection of a client that sends a question without a response."""
    connection = HTTPConnection(*bridge.front)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": NEVER}]
    body = {"model": "mock", "stream": stream, "messages": messages}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    return connection
