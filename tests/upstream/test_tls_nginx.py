"""Upstreams behind a real TLS server: nginx before a model server of ours, whose every byte is the test's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, http_response, responder, run_upstream
from tests.upstream.certificates import run_bridge_from_file, server_context, write_certificate
from tests.upstream.daemons import TLS_VERSIONS, nginx, secured
from tests.upstream.formats import DONE, LockstepStream, completion, frame, is_stream, stream_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.raw_client import Response

    Behave = Callable[[Connection], Awaitable[None]]

STREAM = {**HELLO, "stream": True}
GOOD = http_response(completion("hello"))
TRUSTED = "{ca: server.pem}"
OURS = "{ca: server.pem, cert: client.pem, key: client.key}"
ASKS = """
ssl_verify_client on;
ssl_client_certificate {folder}/client.pem;
"""


def routes(url: str, tls: str = TRUSTED) -> str:
    return f"routes: [{{models: m, upstream: {{url: '{url}', tls: {tls}, timeouts: {{first_byte: 20s}}}}}}]"


async def by_what_was_asked(peer: Connection) -> None:
    while (request := await peer.request()) is not None:
        await peer.send(stream_response(frame("hel"), frame("lo"), DONE) if is_stream(request) else GOOD)


async def asked(folder: Path, port: int, tls: str, host: str = "127.0.0.1") -> Response:
    async with run_bridge_from_file(folder, routes(f"https://{host}:{port}/", tls), {}) as bridge:
        return await bridge.request(HELLO)


@pytest.mark.parametrize("version", TLS_VERSIONS)
async def test_answers_and_streams_come_over_one_connection(version: str, tmp_path: Path) -> None:
    async with (
        run_upstream(by_what_was_asked) as model,
        secured(tmp_path, model.url, version=version) as server,
        run_bridge_from_file(tmp_path, routes(f"https://127.0.0.1:{server.port}/v1"), {}) as bridge,
        bridge.connect() as client,
    ):
        for number in range(1, 11):
            await client.send(HELLO if number % 2 else STREAM)
            answer = await client.response()
            said = answer.completion() if number % 2 else answer.stream()
            assert said.choice.text == "hello"
            await bridge.wait_for_count(0, "bridge_requests_in_progress")
        served = await server.served(10)
        assert {one.protocol for one in served if one.status == 200} == {version}
        assert [one.number for one in served] == list(range(1, 11))
        assert len({one.connection for one in served}) == 1
        assert await bridge.count("bridge_upstream_errors_total") == 0


@pytest.mark.parametrize("version", TLS_VERSIONS)
async def test_each_chunk_comes_as_it_is_said(version: str, tmp_path: Path) -> None:
    dialogue = LockstepStream()
    async with (
        run_upstream(dialogue.send) as model,
        secured(tmp_path, model.url, version=version) as server,
        run_bridge_from_file(tmp_path, routes(f"https://127.0.0.1:{server.port}/"), {}) as bridge,
        bridge.connect() as client,
    ):
        await client.send(STREAM)
        await dialogue.receive(client)


async def test_many_ask_at_once_for_much(tmp_path: Path) -> None:
    """Large bodies in both directions, each with its own answer."""

    async def echoes(peer: Connection) -> None:
        while (request := await peer.request()) is not None:
            await peer.send(http_response(completion(request.body["messages"][0]["content"])))

    async with (
        run_upstream(echoes) as model,
        secured(tmp_path, model.url) as server,
        run_bridge_from_file(tmp_path, routes(f"https://127.0.0.1:{server.port}/"), {}) as bridge,
    ):
        texts = [f"{number} " * 50_000 for number in range(16)]
        bodies = [{"model": "m", "messages": [{"role": "user", "content": text}]} for text in texts]
        for _ in range(2):
            answers = await asyncio.gather(*map(bridge.request, bodies))
            assert [answer.completion().choice.text for answer in answers] == texts


MISTRUST = {
    "nobody's certificate": ("{}", "self-signed certificate"),
    "another authority's": ("{ca: other.pem}", "certificate verify failed"),
    "another's name": ("{ca: server.pem, server_name: other.test}", "not valid for 'other.test'"),
}


@pytest.mark.parametrize("case", MISTRUST)
@pytest.mark.parametrize("version", TLS_VERSIONS)
async def test_a_server_that_is_not_trusted(case: str, version: str, tmp_path: Path) -> None:
    tls, complaint = MISTRUST[case]
    write_certificate(tmp_path, "other")
    async with (
        run_upstream(responder(GOOD)) as model,
        secured(tmp_path, model.url, version=version) as server,
    ):
        answer = await asked(tmp_path, server.port, tls)
        error = answer.error()
        assert (answer.status, error["code"]) == (502, "upstream_connect")
        assert complaint in error["message"]
        assert f"127.0.0.1:{server.port}" in error["message"]
        assert not model.requests
        assert (await asked(tmp_path, server.port, TRUSTED)).status == 200


async def test_a_certificate_that_has_expired(tmp_path: Path) -> None:
    async with run_upstream(responder(GOOD)) as model, secured(tmp_path, model.url) as server:
        write_certificate(tmp_path, "old", expired=True)
        text = f"ssl_certificate {tmp_path}/old.pem; ssl_certificate_key {tmp_path}/old.key;"
        async with nginx(
            tmp_path / "old", f"{text} location / {{ proxy_pass {model.url}; }}", listen="ssl"
        ) as old:
            answer = await asked(tmp_path, old.port, "{ca: old.pem}")
            assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")
            assert "certificate has expired" in answer.error()["message"]
            assert (await asked(tmp_path, old.port, "{verify: false}")).status == 200
        assert (await asked(tmp_path, server.port, TRUSTED)).status == 200


async def test_the_name_that_is_expected_is_asked_for(tmp_path: Path) -> None:
    """A server of many names is told which of them is meant."""
    text = 'if ($ssl_server_name != "server.test") { return 421; }'
    async with run_upstream(responder(GOOD)) as model, secured(tmp_path, model.url, server=text) as server:
        named = await asked(tmp_path, server.port, "{ca: server.pem, server_name: server.test}")
        assert named.completion().choice.text == "hello"
        assert (await asked(tmp_path, server.port, TRUSTED)).status == 502
        assert [one.status for one in await server.served(2)] == [200, 421]


@pytest.mark.parametrize("version", TLS_VERSIONS)
async def test_a_server_that_asks_who_we_are(version: str, tmp_path: Path) -> None:
    write_certificate(tmp_path, "client")
    write_certificate(tmp_path, "other")
    text = ASKS.format(folder=tmp_path)
    async with (
        run_upstream(responder(GOOD)) as model,
        secured(tmp_path, model.url, server=text, version=version) as server,
    ):
        assert (await asked(tmp_path, server.port, OURS)).completion().choice.text == "hello"
        assert model.requests[0].headers["x-who"] == "CN=client.test"
        for tls in (TRUSTED, OURS.replace("client", "other")):
            answer = await asked(tmp_path, server.port, tls)
            assert answer.status == 400
            assert "certificate" in answer.error()["message"].lower()
        assert len(model.requests) == 1


@pytest.mark.parametrize("tls", [TRUSTED, OURS.replace("client", "other")])
async def test_a_server_that_hangs_up_on_strangers(tls: str, tmp_path: Path) -> None:
    """In TLS 1.3 it does so behind the handshake, when the request is on its way."""
    write_certificate(tmp_path, "server")
    write_certificate(tmp_path, "other")
    strict = server_context(tmp_path, "server", asks=True)
    async with run_upstream(responder(GOOD), tls=strict) as model:
        url = model.url.replace("http:", "https:")
        async with run_bridge_from_file(tmp_path, routes(url, tls), {}) as bridge:
            for _ in range(3):
                answer = await bridge.request(HELLO)
                assert (answer.status, answer.error()["type"]) == (502, "server_error")
        assert not model.requests
