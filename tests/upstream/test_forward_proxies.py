"""Upstreams behind a forward proxy: pproxy, with tunnels and a password, and nginx, which keeps connections.

The password is in no error, no log line and no metric, and never reaches the model server.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, http_response, responder, run_upstream
from tests.upstream.certificates import run_bridge_from_file, server_context, write_certificate
from tests.upstream.daemons import forward_proxy, nginx, unused_port
from tests.upstream.formats import (
    DONE,
    LockstepStream,
    completion,
    frame,
    is_stream,
    stream_head,
    stream_response,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.raw_client import Response
    from tests.raw_upstream import UpstreamServer

    Behave = Callable[[Connection], Awaitable[None]]

STREAM = {**HELLO, "stream": True}
GOOD = http_response(completion("hello"))
USER, PASSWORD = "the-user", "hunter2-and-more"
LOCKED = (USER, PASSWORD)
SCHEMES = ["http", "https"]
HIDDEN = (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())


@pytest.fixture(autouse=True)
def _says_no_password(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="bridge")
    yield
    assert [record for record in caplog.get_records("call") if record.name == "bridge"], "something is logged"
    for record in caplog.get_records("call"):
        assert not any(hidden in repr(record.__dict__) for hidden in HIDDEN)


@asynccontextmanager
async def model_server(folder: Path, scheme: str, behave: Behave) -> AsyncIterator[UpstreamServer]:
    write_certificate(folder, "server")
    tls = server_context(folder, "server") if scheme == "https" else None
    async with run_upstream(behave, tls=tls) as model:
        model.url = model.url.replace("http:", f"{scheme}:")
        yield model


def routes(model: UpstreamServer, proxy: str) -> str:
    upstream = f"url: '{model.url}/v1', proxy: '{proxy}', tls: {{ca: server.pem}}, timeouts: {{connect: 5s}}"
    return f"routes: [{{models: m, upstream: {{{upstream}}}}}]"


def at(port: int, *, user: str = USER, password: str = PASSWORD) -> str:
    return f"http://{user}:{password}@127.0.0.1:{port}"


async def asked(folder: Path, model: UpstreamServer, proxy: str) -> Response:
    """One answer. Nothing that can be seen of the bridge has the password."""
    async with run_bridge_from_file(folder, routes(model, proxy), {}) as bridge:
        answer = await bridge.request(HELLO)
        metrics = (await bridge.get_admin("/metrics")).body
    for hidden in HIDDEN:
        assert hidden.encode() not in answer.body + repr(answer.headers).encode() + metrics
    return answer


async def by_what_was_asked(peer: Connection) -> None:
    while (request := await peer.request()) is not None:
        assert "proxy-authorization" not in request.headers
        assert request.path == "/v1"
        await peer.send(stream_response(frame("hel"), frame("lo"), DONE) if is_stream(request) else GOOD)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("lock", [(), LOCKED], ids=["open", "locked"])
async def test_answers_and_streams_come_through(scheme: str, lock: tuple[str, ...], tmp_path: Path) -> None:
    async with (
        model_server(tmp_path, scheme, by_what_was_asked) as model,
        forward_proxy(*lock) as proxy,
        run_bridge_from_file(
            tmp_path, routes(model, at(proxy.port) if lock else f"http://127.0.0.1:{proxy.port}"), {}
        ) as bridge,
    ):
        for _ in range(3):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
            assert (await bridge.request(STREAM)).stream().choice.chunks == ["hel", "lo"]
        assert await bridge.count("bridge_upstream_errors_total") == 0


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_each_chunk_comes_as_it_is_said(scheme: str, tmp_path: Path) -> None:
    dialogue = LockstepStream()
    async with (
        model_server(tmp_path, scheme, dialogue.send) as model,
        forward_proxy(*LOCKED) as proxy,
        run_bridge_from_file(tmp_path, routes(model, at(proxy.port)), {}) as bridge,
        bridge.connect() as client,
    ):
        await client.send(STREAM)
        await dialogue.receive(client)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_password_may_have_any_signs(scheme: str, tmp_path: Path) -> None:
    """As a URL writes them. The proxy is told where to go in the form that suits the scheme."""
    async with (
        model_server(tmp_path, scheme, responder(GOOD)) as model,
        run_upstream(responder(http_response({}, 403))) as proxy,
    ):
        port = int(proxy.url.rpartition(":")[2])
        await asked(tmp_path, model, at(port, user="us%C3%A9r", password="p%40ss%3Aw%2Frd%3F%25"))
        (request,) = proxy.requests
        told = base64.b64decode(request.headers["proxy-authorization"].removeprefix("Basic "))
        assert told.decode("utf-8" if b"\xc3" in told else "latin-1") == "usér:p@ss:w/rd?%"
        where = (
            ("CONNECT", model.url.removeprefix("https://"))
            if scheme == "https"
            else ("POST", f"{model.url}/v1")
        )
        assert (request.method, request.path) == where
        assert request.headers["host"] == model.url.partition("://")[2]


@pytest.mark.parametrize(
    ("scheme", "reason"), [("http", "407 with an empty body"), ("https", "proxy authentication required")]
)
@pytest.mark.parametrize("user", [f"{USER}:{PASSWORD}@", ""], ids=["wrong", "missing"])
async def test_a_wrong_password_is_reported(scheme: str, reason: str, user: str, tmp_path: Path) -> None:
    async with (
        model_server(tmp_path, scheme, responder(GOOD)) as model,
        forward_proxy("other", "word") as proxy,
    ):
        answer = await asked(tmp_path, model, f"http://{user}127.0.0.1:{proxy.port}")
        assert answer.status == 502
        assert reason in answer.error()["message"].lower()
        assert not model.requests


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_that_is_down_is_502(scheme: str, tmp_path: Path) -> None:
    async with model_server(tmp_path, scheme, responder(GOOD)) as model:
        answer = await asked(tmp_path, model, at(unused_port()))
        assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")
        assert not model.requests


async def test_a_proxy_that_makes_no_tunnels_is_told(tmp_path: Path) -> None:
    async with (
        model_server(tmp_path, "https", responder(GOOD)) as model,
        nginx(tmp_path / "proxy", FORWARDS) as proxy,  # which answers CONNECT with 405
    ):
        answer = await asked(tmp_path, model, at(proxy.port))
        assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")
        assert "not allowed" in answer.error()["message"].lower()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_server_that_the_proxy_does_not_reach_is_an_error(scheme: str, tmp_path: Path) -> None:
    async with (
        model_server(tmp_path, scheme, responder(GOOD)) as model,
        forward_proxy(*LOCKED) as proxy,
    ):
        model.url = f"{scheme}://127.0.0.1:{unused_port()}"
        answer = await asked(tmp_path, model, at(proxy.port))
        assert answer.status in (500, 502)
        assert answer.error()["type"] == "server_error"


TUNNELS: dict[str, tuple[bytes, bool, int]] = {
    "closes": (b"", False, 502),
    "says half": (b"HTTP/1.1 200 Conn", False, 502),
    "says no HTTP": (b"hello\r\n\r\n", False, 502),
    "closes the tunnel": (b"HTTP/1.1 200 Connected\r\n\r\n", False, 502),
    "says nothing": (b"", True, 504),
    "says nothing in the tunnel": (b"HTTP/1.1 200 Connected\r\n\r\n", True, 504),
}


@pytest.mark.parametrize("case", TUNNELS)
async def test_a_proxy_that_fails_its_tunnel_fails_nobody_else(case: str, tmp_path: Path) -> None:
    said, stays, status = TUNNELS[case]
    lines: list[bytes] = []

    async def behave(peer: Connection) -> None:
        lines.append(await peer.read(len("CONNECT 127.0.0.1")))
        await peer.send(said)
        if stays:
            await peer.wait_closed()
        else:
            await asyncio.sleep(0.05)  # as a rule the rest of the request has been read

    async with model_server(tmp_path, "https", responder(GOOD)) as model, run_upstream(behave) as proxy:
        text = routes(model, at(int(proxy.url.rpartition(":")[2]))).replace("connect: 5s", "connect: 300ms")
        async with run_bridge_from_file(tmp_path, text, {}) as bridge:
            answer = await bridge.request(HELLO)
            assert answer.status == status, answer
            answer.error()
            assert not any(hidden.encode() in answer.body for hidden in HIDDEN)
        assert lines == [b"CONNECT 127.0.0.1"]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_client_that_leaves_ends_the_work_behind_the_proxy(scheme: str, tmp_path: Path) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(frame("hello")))
        await peer.wait_closed()

    async with (
        model_server(tmp_path, scheme, behave) as model,
        forward_proxy(*LOCKED) as proxy,
        run_bridge_from_file(tmp_path, routes(model, at(proxy.port)), {}) as bridge,
    ):
        async with bridge.connect() as client:
            await client.send(STREAM)
            assert b"hello" in (await client.head(), await client.chunk())[1]
        await model.wait_until(lambda model: model.closed == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")


async def test_a_tunnel_is_used_again(tmp_path: Path) -> None:
    async with (
        model_server(tmp_path, "https", by_what_was_asked) as model,
        forward_proxy(*LOCKED) as proxy,
        run_bridge_from_file(tmp_path, routes(model, at(proxy.port)), {}) as bridge,
    ):
        for _ in range(5):
            assert (await bridge.request(HELLO)).status == 200
        assert model.connections == 1
        proxy.kill()
        await proxy.process.wait()
        assert (await bridge.request(HELLO)).error()["code"] == "upstream_connect"
        assert len(model.requests) == 5


FORWARDS = """
location / {
    proxy_pass http://$http_host$request_uri;
    proxy_set_header Proxy-Authorization "";
}
keepalive_requests 4;
"""


async def test_a_connection_to_a_proxy_is_used_again(tmp_path: Path) -> None:
    """By nginx, which takes whole URLs and keeps connections, up to four requests on each."""
    async with (
        model_server(tmp_path, "http", by_what_was_asked) as model,
        nginx(tmp_path / "proxy", FORWARDS) as proxy,
        run_bridge_from_file(tmp_path, routes(model, at(proxy.port)), {}) as bridge,
    ):
        for _ in range(10):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert [one.number for one in await proxy.served(10)] == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]


async def test_connections_of_a_proxy_and_without_are_kept_apart(tmp_path: Path) -> None:
    async with (
        model_server(tmp_path, "http", responder(GOOD)) as model,
        nginx(tmp_path / "one", FORWARDS) as one,
        nginx(tmp_path / "two", FORWARDS) as two,
    ):
        proxies = ["", f", proxy: '{at(one.port)}'", f", proxy: 'http://127.0.0.1:{two.port}'"]
        lines = [
            f"- {{models: m{at}, upstream: {{url: '{model.url}'{proxy}}}}}"
            for at, proxy in enumerate(proxies)
        ]
        async with run_bridge_from_file(tmp_path, "\n".join(["routes:", *lines]), {}) as bridge:
            for _ in range(2):
                for number in (0, 1, 2, 1, 0):
                    assert (await bridge.request({**HELLO, "model": f"m{number}"})).status == 200
        assert [len(await proxy.served(least)) for proxy, least in ((one, 4), (two, 2))] == [4, 2]
        assert len(model.requests) == 10
