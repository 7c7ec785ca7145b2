"""TLS to nginx in front of a raw upstream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, http_response, responder, run_upstream
from tests.running_bridge import run_bridge_from_file
from tests.upstream.certificates import server_context, write_certificate
from tests.upstream.daemons import TLS_VERSIONS, nginx, secured
from tests.upstream.formats import DONE, LockstepStream, completion, frame, is_stream, stream_response

if TYPE_CHECKING:
    from pathlib import Path

    from tests.raw_client import Response


STREAM = {**HELLO, "stream": True}
GOOD = http_response(completion("hello"))
TRUSTED = "{ca: server.pem}"
MUTUAL = "{ca: server.pem, cert: client.pem, key: client.key}"
REQUIRE_CLIENT_CERTIFICATE = """
ssl_verify_client on;
ssl_client_certificate {folder}/client.pem;
"""


def routes(url: str, tls: str = TRUSTED) -> str:
    return f"routes: [{{models: m, upstream: {{url: '{url}', tls: {tls}, timeouts: {{first_byte: 20s}}}}}}]"


async def respond(peer: Connection) -> None:
    while (request := await peer.request()) is not None:
        await peer.send(stream_response(frame("hel"), frame("lo"), DONE) if is_stream(request) else GOOD)


async def send_request(folder: Path, port: int, tls: str, host: str = "127.0.0.1") -> Response:
    async with run_bridge_from_file(folder, routes(f"https://{host}:{port}/", tls), {}) as bridge:
        return await bridge.request(HELLO)


@pytest.mark.parametrize("version", TLS_VERSIONS)
async def test_responses_and_streams_reuse_one_connection(version: str, tmp_path: Path) -> None:
    async with (
        run_upstream(respond) as model,
        secured(tmp_path, model.url, version=version) as server,
        run_bridge_from_file(tmp_path, routes(f"https://127.0.0.1:{server.port}/v1"), {}) as bridge,
        bridge.connect() as client,
    ):
        for number in range(1, 11):
            await client.send(HELLO if number % 2 else STREAM)
            response = await client.response()
            result = response.completion() if number % 2 else response.stream()
            assert result.choice.text == "hello"
            await bridge.wait_for_count(0, "bridge_requests_in_progress")
        served = await server.served(10)
        assert {request.protocol for request in served if request.status == 200} == {version}
        assert [request.number for request in served] == list(range(1, 11))
        assert len({request.connection for request in served}) == 1
        assert await bridge.count("bridge_upstream_errors_total") == 0


@pytest.mark.parametrize("version", TLS_VERSIONS)
async def test_chunks_are_not_delayed_by_nginx(version: str, tmp_path: Path) -> None:
    stream = LockstepStream()
    async with (
        run_upstream(stream.send) as model,
        secured(tmp_path, model.url, version=version) as server,
        run_bridge_from_file(tmp_path, routes(f"https://127.0.0.1:{server.port}/"), {}) as bridge,
        bridge.connect() as client,
    ):
        await client.send(STREAM)
        await stream.receive(client)


async def test_concurrent_large_bodies_are_not_mixed(tmp_path: Path) -> None:
    """Large bodies are transferred in both directions, each with its own response."""

    async def echo(peer: Connection) -> None:
        while (request := await peer.request()) is not None:
            await peer.send(http_response(completion(request.body["messages"][0]["content"])))

    async with (
        run_upstream(echo) as model,
        secured(tmp_path, model.url) as server,
        run_bridge_from_file(tmp_path, routes(f"https://127.0.0.1:{server.port}/"), {}) as bridge,
    ):
        texts = [f"{number} " * 50_000 for number in range(16)]
        bodies = [{"model": "m", "messages": [{"role": "user", "content": text}]} for text in texts]
        for _ in range(2):
            responses = await asyncio.gather(*map(bridge.request, bodies))
            assert [response.completion().choice.text for response in responses] == texts


UNTRUSTED = {
    "an unknown certificate": ("{}", "self-signed certificate"),
    "another authority's": ("{ca: other.pem}", "certificate verify failed"),
    "another's name": ("{ca: server.pem, server_name: other.test}", "not valid for 'other.test'"),
}


@pytest.mark.parametrize("case", UNTRUSTED)
@pytest.mark.parametrize("version", TLS_VERSIONS)
async def test_an_untrusted_server_is_refused(case: str, version: str, tmp_path: Path) -> None:
    tls, reason = UNTRUSTED[case]
    write_certificate(tmp_path, "other")
    async with (
        run_upstream(responder(GOOD)) as model,
        secured(tmp_path, model.url, version=version) as server,
    ):
        response = await send_request(tmp_path, server.port, tls)
        error = response.error()
        assert (response.status, error["code"]) == (502, "upstream_connect")
        assert reason in error["message"]
        assert f"127.0.0.1:{server.port}" in error["message"]
        assert not model.requests
        assert (await send_request(tmp_path, server.port, TRUSTED)).status == 200


async def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    async with run_upstream(responder(GOOD)) as model, secured(tmp_path, model.url) as server:
        write_certificate(tmp_path, "old", expired=True)
        text = f"ssl_certificate {tmp_path}/old.pem; ssl_certificate_key {tmp_path}/old.key;"
        async with nginx(
            tmp_path / "old", f"{text} location / {{ proxy_pass {model.url}; }}", listen="ssl"
        ) as expired_server:
            response = await send_request(tmp_path, expired_server.port, "{ca: old.pem}")
            assert (response.status, response.error()["code"]) == (502, "upstream_connect")
            assert "certificate has expired" in response.error()["message"]
            assert (await send_request(tmp_path, expired_server.port, "{verify: false}")).status == 200
        assert (await send_request(tmp_path, server.port, TRUSTED)).status == 200


async def test_server_name_is_sent_as_sni(tmp_path: Path) -> None:
    """A server with several names selects a certificate by SNI."""
    text = 'if ($ssl_server_name != "server.test") { return 421; }'
    async with run_upstream(responder(GOOD)) as model, secured(tmp_path, model.url, server=text) as server:
        named = await send_request(tmp_path, server.port, "{ca: server.pem, server_name: server.test}")
        assert named.completion().choice.text == "hello"
        assert (await send_request(tmp_path, server.port, TRUSTED)).status == 502
        assert [request.status for request in await server.served(2)] == [200, 421]


@pytest.mark.parametrize("version", TLS_VERSIONS)
async def test_a_client_certificate_is_presented(version: str, tmp_path: Path) -> None:
    write_certificate(tmp_path, "client")
    write_certificate(tmp_path, "other")
    text = REQUIRE_CLIENT_CERTIFICATE.format(folder=tmp_path)
    async with (
        run_upstream(responder(GOOD)) as model,
        secured(tmp_path, model.url, server=text, version=version) as server,
    ):
        assert (await send_request(tmp_path, server.port, MUTUAL)).completion().choice.text == "hello"
        assert model.requests[0].headers["x-who"] == "CN=client.test"
        for tls in (TRUSTED, MUTUAL.replace("client", "other")):
            response = await send_request(tmp_path, server.port, tls)
            assert response.status == 400
            assert "certificate" in response.error()["message"].lower()
        assert len(model.requests) == 1


@pytest.mark.parametrize("tls", [TRUSTED, MUTUAL.replace("client", "other")])
async def test_a_server_that_refuses_the_client_certificate_is_an_error(tls: str, tmp_path: Path) -> None:
    """In TLS 1.3 the server refuses after the handshake, when the request is in flight."""
    write_certificate(tmp_path, "server")
    write_certificate(tmp_path, "other")
    strict = server_context(tmp_path, "server", mutual=True)
    async with run_upstream(responder(GOOD), tls=strict) as model:
        url = model.url.replace("http:", "https:")
        async with run_bridge_from_file(tmp_path, routes(url, tls), {}) as bridge:
            for _ in range(3):
                response = await bridge.request(HELLO)
                assert (response.status, response.error()["type"]) == (502, "server_error")
        assert not model.requests
