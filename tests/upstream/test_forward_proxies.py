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
from tests.raw_upstream import Connection, Handler, chunk, http_response, responder, run_upstream
from tests.running_bridge import run_bridge_from_file
from tests.upstream.certificates import server_context, write_certificate
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
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.raw_client import Response
    from tests.raw_upstream import UpstreamServer


STREAM = {**HELLO, "stream": True}
GOOD = http_response(completion("hello"))
USER, PASSWORD = "the-user", "hunter2-and-more"
LOCKED = (USER, PASSWORD)
SCHEMES = ["http", "https"]
HIDDEN = (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())


@pytest.fixture(autouse=True)
def _no_password_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="bridge")
    yield
    assert [record for record in caplog.get_records("call") if record.name == "bridge"], "something is logged"
    for record in caplog.get_records("call"):
        assert not any(hidden in repr(record.__dict__) for hidden in HIDDEN)


@asynccontextmanager
async def model_server(folder: Path, scheme: str, behave: Handler) -> AsyncIterator[UpstreamServer]:
    write_certificate(folder, "server")
    tls = server_context(folder, "server") if scheme == "https" else None
    async with run_upstream(behave, tls=tls) as model:
        model.url = model.url.replace("http:", f"{scheme}:")
        yield model


def routes(model: UpstreamServer, proxy: str) -> str:
    upstream = f"url: '{model.url}/v1', proxy: '{proxy}', tls: {{ca: server.pem}}, timeouts: {{connect: 5s}}"
    return f"routes: [{{models: m, upstream: {{{upstream}}}}}]"


def proxy_url(port: int, *, user: str = USER, password: str = PASSWORD) -> str:
    return f"http://{user}:{password}@127.0.0.1:{port}"


async def request_through(folder: Path, model: UpstreamServer, proxy: str) -> Response:
    """Return a response, after asserting that no output of the bridge contains the password."""
    async with run_bridge_from_file(folder, routes(model, proxy), {}) as bridge:
        response = await bridge.request(HELLO)
        metrics = (await bridge.get_admin("/metrics")).body
    for hidden in HIDDEN:
        assert hidden.encode() not in response.body + repr(response.headers).encode() + metrics
    return response


async def respond(peer: Connection) -> None:
    while (request := await peer.request()) is not None:
        assert "proxy-authorization" not in request.headers
        assert request.path == "/v1"
        await peer.send(stream_response(frame("hel"), frame("lo"), DONE) if is_stream(request) else GOOD)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("credentials", [(), LOCKED], ids=["open", "locked"])
async def test_responses_and_streams_pass_a_proxy(
    scheme: str, credentials: tuple[str, ...], tmp_path: Path
) -> None:
    async with (
        model_server(tmp_path, scheme, respond) as model,
        forward_proxy(*credentials) as proxy,
        run_bridge_from_file(
            tmp_path,
            routes(model, proxy_url(proxy.port) if credentials else f"http://127.0.0.1:{proxy.port}"),
            {},
        ) as bridge,
    ):
        for _ in range(3):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
            assert (await bridge.request(STREAM)).stream().choice.chunks == ["hel", "lo"]
        assert await bridge.count("bridge_upstream_errors_total") == 0


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_chunks_are_not_delayed_by_a_proxy(scheme: str, tmp_path: Path) -> None:
    stream = LockstepStream()
    async with (
        model_server(tmp_path, scheme, stream.send) as model,
        forward_proxy(*LOCKED) as proxy,
        run_bridge_from_file(tmp_path, routes(model, proxy_url(proxy.port)), {}) as bridge,
        bridge.connect() as client,
    ):
        await client.send(STREAM)
        await stream.receive(client)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_password_may_contain_any_characters(scheme: str, tmp_path: Path) -> None:
    """User and password are percent-encoded in the URL. The request line depends on the scheme."""
    async with (
        model_server(tmp_path, scheme, responder(GOOD)) as model,
        run_upstream(responder(http_response({}, 403))) as proxy,
    ):
        port = int(proxy.url.rpartition(":")[2])
        await request_through(
            tmp_path, model, proxy_url(port, user="us%C3%A9r", password="p%40ss%3Aw%2Frd%3F%25")
        )
        (request,) = proxy.requests
        sent = base64.b64decode(request.headers["proxy-authorization"].removeprefix("Basic "))
        assert sent.decode("utf-8" if b"\xc3" in sent else "latin-1") == "usér:p@ss:w/rd?%"
        expected = (
            ("CONNECT", model.url.removeprefix("https://"))
            if scheme == "https"
            else ("POST", f"{model.url}/v1")
        )
        assert (request.method, request.path) == expected
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
        response = await request_through(tmp_path, model, f"http://{user}127.0.0.1:{proxy.port}")
        assert response.status == 502
        assert reason in response.error()["message"].lower()
        assert not model.requests


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_that_is_down_is_502(scheme: str, tmp_path: Path) -> None:
    async with model_server(tmp_path, scheme, responder(GOOD)) as model:
        response = await request_through(tmp_path, model, proxy_url(unused_port()))
        assert (response.status, response.error()["code"]) == (502, "upstream_connect")
        assert not model.requests


async def test_a_proxy_without_tunnels_is_an_error(tmp_path: Path) -> None:
    async with (
        model_server(tmp_path, "https", responder(GOOD)) as model,
        nginx(tmp_path / "proxy", FORWARDS) as proxy,  # which answers CONNECT with 405
    ):
        response = await request_through(tmp_path, model, proxy_url(proxy.port))
        assert (response.status, response.error()["code"]) == (502, "upstream_connect")
        assert "not allowed" in response.error()["message"].lower()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_an_upstream_that_the_proxy_does_not_reach_is_an_error(scheme: str, tmp_path: Path) -> None:
    async with (
        model_server(tmp_path, scheme, responder(GOOD)) as model,
        forward_proxy(*LOCKED) as proxy,
    ):
        model.url = f"{scheme}://127.0.0.1:{unused_port()}"
        response = await request_through(tmp_path, model, proxy_url(proxy.port))
        assert response.status in (500, 502)
        assert response.error()["type"] == "server_error"


TUNNELS: dict[str, tuple[bytes, bool, int]] = {
    "closes": (b"", False, 502),
    "sends half a head": (b"HTTP/1.1 200 Conn", False, 502),
    "sends no HTTP": (b"hello\r\n\r\n", False, 502),
    "closes the tunnel": (b"HTTP/1.1 200 Connected\r\n\r\n", False, 502),
    "sends nothing": (b"", True, 504),
    "sends nothing in the tunnel": (b"HTTP/1.1 200 Connected\r\n\r\n", True, 504),
}


@pytest.mark.parametrize("case", TUNNELS)
async def test_a_failed_tunnel_is_an_error(case: str, tmp_path: Path) -> None:
    data, waits, status = TUNNELS[case]
    lines: list[bytes] = []

    async def behave(peer: Connection) -> None:
        lines.append(await peer.read(len("CONNECT 127.0.0.1")))
        await peer.send(data)
        if waits:
            await peer.wait_closed()
        else:
            await asyncio.sleep(0.05)  # usually the rest of the request has been read by then

    async with model_server(tmp_path, "https", responder(GOOD)) as model, run_upstream(behave) as proxy:
        text = routes(model, proxy_url(int(proxy.url.rpartition(":")[2]))).replace(
            "connect: 5s", "connect: 300ms"
        )
        async with run_bridge_from_file(tmp_path, text, {}) as bridge:
            response = await bridge.request(HELLO)
            assert response.status == status, response
            response.error()
            assert not any(hidden.encode() in response.body for hidden in HIDDEN)
        assert lines == [b"CONNECT 127.0.0.1"]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_disconnect_cancels_the_request_behind_a_proxy(scheme: str, tmp_path: Path) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(frame("hello")))
        await peer.wait_closed()

    async with (
        model_server(tmp_path, scheme, behave) as model,
        forward_proxy(*LOCKED) as proxy,
        run_bridge_from_file(tmp_path, routes(model, proxy_url(proxy.port)), {}) as bridge,
    ):
        async with bridge.connect() as client:
            await client.send(STREAM)
            assert b"hello" in (await client.head(), await client.chunk())[1]
        await model.wait_until(lambda model: model.closed == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")


async def test_a_tunnel_is_reused(tmp_path: Path) -> None:
    async with (
        model_server(tmp_path, "https", respond) as model,
        forward_proxy(*LOCKED) as proxy,
        run_bridge_from_file(tmp_path, routes(model, proxy_url(proxy.port)), {}) as bridge,
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


async def test_a_connection_to_a_proxy_is_reused(tmp_path: Path) -> None:
    """nginx accepts absolute URLs and serves up to four requests per connection."""
    async with (
        model_server(tmp_path, "http", respond) as model,
        nginx(tmp_path / "proxy", FORWARDS) as proxy,
        run_bridge_from_file(tmp_path, routes(model, proxy_url(proxy.port)), {}) as bridge,
    ):
        for _ in range(10):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert [first.number for first in await proxy.served(10)] == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]


async def test_connections_are_separate_for_each_proxy(tmp_path: Path) -> None:
    async with (
        model_server(tmp_path, "http", responder(GOOD)) as model,
        nginx(tmp_path / "one", FORWARDS) as first,
        nginx(tmp_path / "two", FORWARDS) as second,
    ):
        proxies = ["", f", proxy: '{proxy_url(first.port)}'", f", proxy: 'http://127.0.0.1:{second.port}'"]
        lines = [
            f"- {{models: m{proxy_url}, upstream: {{url: '{model.url}'{proxy}}}}}"
            for proxy_url, proxy in enumerate(proxies)
        ]
        async with run_bridge_from_file(tmp_path, "\n".join(["routes:", *lines]), {}) as bridge:
            for _ in range(2):
                for number in (0, 1, 2, 1, 0):
                    assert (await bridge.request({**HELLO, "model": f"m{number}"})).status == 200
        assert [len(await proxy.served(least)) for proxy, least in ((first, 4), (second, 2))] == [4, 2]
        assert len(model.requests) == 10
