"""Polled jobs over sockets: success, failure, timeout and cancellation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.running_bridge import run_bridge, wait_until
from tests.sessions.job_server import ANSWER, ROUTE, JobServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import ServeApp

FILE = "server: {drain: 50ms}\nroutes:" + ROUTE
streaming_and_not = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture
async def server(serve_app: ServeApp) -> JobServer:
    server = JobServer()
    server.url = await serve_app(server.application())
    return server


def chat(behaviour: str, *, stream: bool = False, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": behaviour}], "stream": stream, **more}


async def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""

    async def is_true() -> bool:
        return condition()

    await wait_until(is_true)


@streaming_and_not
@pytest.mark.parametrize("behaviour", ["succeeds", "succeeds at once", "is busy"])
async def test_a_successful_job_is_a_response(server: JobServer, behaviour: str, *, stream: bool) -> None:
    async with run_bridge(FILE, {"SERVER": server.url}) as bridge:
        response = await bridge.request(chat(behaviour, stream=stream))
        choice = response.stream().choice if stream else response.completion().choice
        assert choice.text == ANSWER
        if stream and behaviour == "succeeds":
            assert choice.chunks == ["All ", "is ", "well."]
        assert await bridge.count("bridge_upstream_errors_total") == 0
    assert len(server.jobs) == 1
    assert server.cancelled == []
    assert set(server.authorizations) == {"Bearer a-key"}


@streaming_and_not
@pytest.mark.parametrize(
    ("behaviour", "status", "message", "cancelled"),
    [
        ("fails", 502, "no memory", 0),
        ("is too busy", 503, "busy", 1),  # the job may still run
        ("vanishes", 404, "busy", 0),
    ],
)
async def test_a_failed_job_is_an_error(
    server: JobServer, behaviour: str, status: int, message: str, cancelled: int, *, stream: bool
) -> None:
    async with run_bridge(FILE, {"SERVER": server.url}) as bridge:
        response = await bridge.request(chat(behaviour, stream=stream))
        if response.status == 200:  # the stream had started
            assert (stream, behaviour) == (True, "fails")
            error = response.stream().error
        else:
            assert response.status == status
            error = response.error()
        assert error is not None
        assert error["message"] == message
        assert await bridge.count("bridge_upstream_errors_total", kind="refused") == 1
    assert len(server.cancelled) == cancelled


@streaming_and_not
@pytest.mark.parametrize("behaviour", ["never begins", "never ends"])
async def test_an_unfinished_job_times_out_and_is_cancelled(
    server: JobServer, behaviour: str, *, stream: bool
) -> None:
    variables = {"TIMEOUT": "100ms"}
    async with (
        run_bridge(FILE, {"SERVER": server.url, **variables}) as bridge,
    ):
        response = await bridge.request(chat(behaviour, stream=stream))
        if stream and behaviour == "never ends":
            result = response.stream()
            assert result.choice.text == "All "
            assert result.error is not None
            assert result.error["code"] == "upstream_timeout"
        else:
            assert response.status == 504
            assert response.error()["code"] == "upstream_timeout"
        await wait_for(lambda: server.cancelled == [0])
        assert await bridge.count("bridge_upstream_errors_total", kind="timeout") == 1
    assert server.cancelled == [0]


@streaming_and_not
async def test_a_job_is_cancelled_after_a_disconnect(server: JobServer, *, stream: bool) -> None:
    async with run_bridge(FILE, {"SERVER": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send(chat("never ends", stream=stream))
            await wait_for(lambda: len(server.polled) > 3)
            if stream:
                assert (await client.head())[0] == 200
                assert b"All" in await client.chunk()
        await wait_for(lambda: server.cancelled == [0])
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
    assert server.cancelled == [0]
    assert set(server.authorizations) == {"Bearer a-key"}


async def test_a_job_is_cancelled_at_a_stop_string(server: JobServer) -> None:
    async with run_bridge(FILE, {"SERVER": server.url}) as bridge:
        response = await bridge.request(chat("never ends", stream=True, stop=["l "]))
        assert response.stream().choice.text == "Al"
        await wait_for(lambda: server.cancelled == [0])


async def test_shutdown_cancels_running_jobs(server: JobServer) -> None:
    async with run_bridge(FILE, {"SERVER": server.url}) as bridge:
        clients = [
            asyncio.ensure_future(bridge.request(chat("never ends", stream=bool(n % 2)))) for n in range(10)
        ]
        await wait_for(lambda: len(set(server.polled)) == 10)
    responses = await asyncio.gather(*clients)
    assert sorted(server.cancelled) == list(range(10))
    assert [response.status for response in responses] == [503, 200] * 5
    assert all(response.stream().error is not None for response in responses[1::2])


async def test_a_job_on_another_host_is_requested_without_the_key(
    server: JobServer, serve_app: ServeApp
) -> None:
    other = JobServer()
    server.elsewhere = await serve_app(other.application())
    file = FILE.replace("upstream: ${SERVER}", "upstream: {url: '${SERVER}', url_origins: ['${OTHER}']}")
    async with run_bridge(file, {"SERVER": server.url, "OTHER": server.elsewhere}) as bridge:
        response = await bridge.request(chat("succeeds"))
        assert response.completion().choice.text == ANSWER
        async with bridge.connect() as client:
            await client.send(chat("never begins"))
            await wait_for(lambda: len(server.jobs) == 2)
        await wait_for(lambda: other.cancelled == [1])
    assert server.authorizations == ["Bearer a-key"] * 2
    assert server.polled == []
    assert len(other.polled) >= 6
    assert set(other.authorizations) == {None}
