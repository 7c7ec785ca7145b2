"""Answers that are asked for until they are there, over real sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge.demo import serving
from tests.raw_client import run_bridge, wait_until
from tests.sessions.job_server import ANSWER, ROUTE, Jobs

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = "server: {drain: 50ms}\nroutes:" + ROUTE
WAYS = pytest.mark.parametrize("stream", [False, True])


def asked(how: str, *, stream: bool = False, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": how}], "stream": stream, **more}


async def has(holds: Callable[[], bool]) -> None:
    """Wait until something holds of a server."""

    async def held() -> bool:
        return holds()

    await wait_until(held)


@WAYS
@pytest.mark.parametrize("how", ["succeeds", "is there at once", "is busy"])
async def test_a_job_that_succeeds_is_an_answer(how: str, *, stream: bool) -> None:
    server = Jobs()
    async with serving(server.application()) as url, run_bridge(FILE, {"SERVER": url}) as bridge:
        answer = await bridge.request(asked(how, stream=stream))
        said = answer.stream().choice if stream else answer.completion().choice
        assert said.text == ANSWER
        if stream and how == "succeeds":
            assert said.chunks == ["All ", "is ", "well."]
        assert await bridge.count("bridge_upstream_errors_total") == 0
    assert len(server.jobs) == 1
    assert server.cancelled == []
    assert set(server.keys) == {"Bearer a-key"}


@WAYS
@pytest.mark.parametrize(
    ("how", "status", "message", "cancelled"),
    [
        ("fails", 502, "no memory", 0),
        ("is too busy", 503, "busy", 1),  # the job may well go on
        ("vanishes", 404, "busy", 0),
    ],
)
async def test_a_job_that_fails_is_a_failure(
    how: str, status: int, message: str, cancelled: int, *, stream: bool
) -> None:
    server = Jobs()
    async with serving(server.application()) as url, run_bridge(FILE, {"SERVER": url}) as bridge:
        answer = await bridge.request(asked(how, stream=stream))
        if answer.status == 200:  # it had begun
            assert (stream, how) == (True, "fails")
            error = answer.stream().error
        else:
            assert answer.status == status
            error = answer.error()
        assert error is not None
        assert error["message"] == message
        assert await bridge.count("bridge_upstream_errors_total", kind="refused") == 1
    assert len(server.cancelled) == cancelled


@WAYS
@pytest.mark.parametrize("how", ["never begins", "never ends"])
async def test_what_is_never_there_is_a_timeout_and_cancelled(how: str, *, stream: bool) -> None:
    server = Jobs()
    variables = {"TIMEOUT": "100ms"}
    async with (
        serving(server.application()) as url,
        run_bridge(FILE, {"SERVER": url, **variables}) as bridge,
    ):
        answer = await bridge.request(asked(how, stream=stream))
        if stream and how == "never ends":
            streamed = answer.stream()
            assert streamed.choice.text == "All "
            assert streamed.error is not None
            assert streamed.error["code"] == "upstream_timeout"
        else:
            assert answer.status == 504
            assert answer.error()["code"] == "upstream_timeout"
        await has(lambda: server.cancelled == [0])
        assert await bridge.count("bridge_upstream_errors_total", kind="timeout") == 1
    assert server.cancelled == [0]


@WAYS
async def test_a_job_whose_client_leaves_is_cancelled(*, stream: bool) -> None:
    server = Jobs()
    async with serving(server.application()) as url, run_bridge(FILE, {"SERVER": url}) as bridge:
        async with bridge.connect() as client:
            await client.send(asked("never ends", stream=stream))
            await has(lambda: len(server.asked) > 3)
            if stream:
                assert (await client.head())[0] == 200
                assert b"All" in await client.chunk()
        await has(lambda: server.cancelled == [0])
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
    assert server.cancelled == [0]
    assert set(server.keys) == {"Bearer a-key"}


async def test_a_job_that_is_cut_at_a_stop_string_is_cancelled() -> None:
    server = Jobs()
    async with serving(server.application()) as url, run_bridge(FILE, {"SERVER": url}) as bridge:
        answer = await bridge.request(asked("never ends", stream=True, stop=["l "]))
        assert answer.stream().choice.text == "Al"
        await has(lambda: server.cancelled == [0])


async def test_shutting_down_cancels_what_runs() -> None:
    server = Jobs()
    async with serving(server.application()) as url:
        async with run_bridge(FILE, {"SERVER": url}) as bridge:
            clients = [
                asyncio.ensure_future(bridge.request(asked("never ends", stream=bool(n % 2))))
                for n in range(10)
            ]
            await has(lambda: len(set(server.asked)) == 10)
        answers = await asyncio.gather(*clients)
    assert sorted(server.cancelled) == list(range(10))
    assert [answer.status for answer in answers] == [503, 200] * 5
    assert all(answer.stream().error is not None for answer in answers[1::2])


async def test_a_job_on_another_host_does_not_get_the_key() -> None:
    other = Jobs()
    async with serving(other.application()) as elsewhere:
        server = Jobs(elsewhere)
        async with serving(server.application()) as url, run_bridge(FILE, {"SERVER": url}) as bridge:
            answer = await bridge.request(asked("succeeds"))
            assert answer.completion().choice.text == ANSWER
            async with bridge.connect() as client:
                await client.send(asked("never begins"))
                await has(lambda: len(server.jobs) == 2)
            await has(lambda: other.cancelled == [1])
    assert server.keys == ["Bearer a-key"] * 2
    assert server.asked == []
    assert len(other.asked) >= 6
    assert set(other.keys) == {None}
