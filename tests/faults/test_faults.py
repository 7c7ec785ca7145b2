"""The official client gets the whole response or an error, whatever an upstream does, and nothing is left."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.faults import FAULTS, WRONG_HEADS, Fault, WrongHead, act_wrong_head
from tests.faults.outcome import COMPLETE, REPLACED, observe
from tests.faults.responses import RESPONSES
from tests.raw_upstream import run_upstream
from tests.running_bridge import run_bridge, wait_until
from tests.upstream.daemons import unused_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.raw_upstream import Connection, Handler
    from tests.running_bridge import RunningBridge

ON_BOTH_LOOPS = True

ROUTES = """
routes:
  - models: openai
    upstream: &upstream {url: "${UPSTREAM}/v1", timeouts: {first_byte: 200ms, idle: 200ms}}
    limits: &limits {answer: 1MiB, frame: 256KiB}
  - models: custom
    upstream: *upstream
    limits: *limits
    response: $.output.answer
    stream: {text: $.output.piece, framing: sse, done: {$.state: complete}}
"""

FORMATS = pytest.mark.parametrize(("model", "stream"), RESPONSES)
AT_STAGES = [
    pytest.param(fault, stage, *kind, id=f"{kind[0]}-{kind[1]}-{fault.name}-{stage}")
    for kind, response in RESPONSES.items()
    for fault in FAULTS
    for stage in response.stages
    if fault.possible(stage)
]


@asynccontextmanager
async def nothing_is_left(behave: Handler) -> AsyncIterator[RunningBridge]:
    """Run a bridge before an upstream, and after the block wait until no trace of the request is left."""
    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        before = _traces()
        yield bridge

        async def without_trace() -> bool:
            tasks, descriptors = _traces()
            left = tasks > before[0] or descriptors > before[1]
            return not left and await bridge.count("bridge_requests_in_progress") == 0

        await wait_until(without_trace)
        assert await bridge.count("bridge_requests_total") == 1


def _traces() -> tuple[int, int]:
    return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))


def _is_error(outcome: str) -> bool:
    first, _, code = outcome.partition(" ")
    return first.isdecimal() or (first == "error" and bool(code))


@pytest.mark.parametrize(("fault", "stage", "model", "stream"), AT_STAGES)
async def test_a_fault_becomes_an_error(fault: Fault, stage: str, model: str, *, stream: bool) -> None:
    response = RESPONSES[model, stream]

    async def behave(peer: Connection) -> None:
        await peer.request()
        await fault.run(peer, response, stage)

    async with nothing_is_left(behave) as bridge:
        outcome = await observe(bridge.url, model, stream=stream)
        assert outcome in (COMPLETE, REPLACED) if fault.is_harmless(stage) else _is_error(outcome), outcome


@pytest.mark.parametrize("fault", WRONG_HEADS, ids=lambda fault: fault.name)
@FORMATS
async def test_a_wrong_head_becomes_an_error(fault: WrongHead, model: str, *, stream: bool) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await act_wrong_head(peer, fault, RESPONSES[model, stream])

    async with nothing_is_left(behave) as bridge:
        outcome = await observe(bridge.url, model, stream=stream)
        assert outcome == COMPLETE if fault.harmless else _is_error(outcome), outcome


@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_that_closes_at_once_becomes_an_error(*, stream: bool) -> None:
    async def behave(peer: Connection) -> None:
        peer.abort()

    async with nothing_is_left(behave) as bridge:
        assert await observe(bridge.url, "custom", stream=stream) == "502 upstream_disconnect"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_connection_becomes_an_error(*, stream: bool) -> None:
    async with run_bridge(ROUTES, {"UPSTREAM": f"http://127.0.0.1:{unused_port()}"}) as bridge:
        assert await observe(bridge.url, "custom", stream=stream) == "502 upstream_connect"
