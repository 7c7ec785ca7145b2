"""Makes the calls around answers: what they open is closed, whatever becomes of the request.

    before ─▶ session, calls, polling          after ─▶ cancel, close, or keep for the next turn

What begins something at a server is awaited even when the client leaves meanwhile: what was opened is known
only then, and closed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from bridge.core.errors import BridgeError, UpstreamError
from bridge.exchange.commands import AcquireSession, DeliverResponse, ReleaseSession, SendRequest, Sleep
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from bridge.exchange.commands import Command, FetchedResponse, StoredSession
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.proxy.dispatch import Dispatcher
    from bridge.sessions.pool import SessionPool
    from bridge.telemetry.metrics import Metrics

__all__ = ["CalloutRunner"]

T = TypeVar("T")

_SHUTDOWN_TIMEOUT = 10.0  # seconds at shutdown for the calls that are still to be made
_CLEANUP_TIMEOUT = 2.0  # seconds for those that close what was opened, behind one that hangs


class CalloutRunner:
    """Makes calls. Those that a leaving client must not end are tasks of their own."""

    def __init__(self, sender: Dispatcher, sessions: SessionPool, metrics: Metrics) -> None:
        self._sender = sender
        self._sessions = sessions
        self._metrics = metrics
        self._running: set[asyncio.Task[Any]] = set()
        self._abandoned: dict[UpstreamCall, asyncio.Task[Any]] = {}

    async def before(self, leg: UpstreamCall, take: Callable[[FetchedResponse], Awaitable[None]]) -> bool:
        """Make the calls ahead of an answer; whether `take` has got the answer itself by them.

        Raises UpstreamError.
        """
        assert leg.callouts is not None
        steps = leg.callouts.before()
        try:
            step = next(steps)
            while True:
                try:
                    came = await self._perform(leg, steps, step, take)
                except UpstreamError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(came)
        except StopIteration as stop:
            return bool(stop.value)

    async def keep(self, leg: UpstreamCall) -> None:
        """Keep the session of an answer that ended well, ahead of its end: the next turn may come at once."""
        if leg.keeps_session and leg.succeeded:
            await asyncio.shield(self._start(self._run_cleanup(leg)))

    def after(self, leg: UpstreamCall) -> None:
        """Make those that follow an answer, on every way out."""
        if leg not in self._abandoned:
            self._start(self._run_cleanup(leg))

    async def finish(self) -> None:
        """Wait for the calls that are still to be made; a server that does not answer is not waited for."""
        await self._wait_for_tasks(_SHUTDOWN_TIMEOUT)
        for call in self._abandoned.values():
            call.cancel()
        await self._wait_for_tasks(_CLEANUP_TIMEOUT)
        for task in self._running:
            task.cancel()

    async def _wait_for_tasks(self, patience: float) -> None:
        deadline = asyncio.get_running_loop().time() + patience
        while self._running and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._running, timeout=left)

    async def _perform(
        self,
        leg: UpstreamCall,
        steps: Generator[Command, Any, bool],
        step: Command,
        take: Callable[[FetchedResponse], Awaitable[None]],
    ) -> FetchedResponse | StoredSession | None:
        """Do one step; what came of it."""
        match step:
            case SendRequest(begins=False):
                return await self._sender.fetch(leg, step)
            case SendRequest():
                return await self._run_shielded(leg, steps, self._sender.fetch(leg, step))
            case AcquireSession(key):
                return await self._run_shielded(leg, steps, self._sessions.acquire(leg.asking.route, key))
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case DeliverResponse(heard):
                await take(heard)
            case _:
                assert_never(step)
        return None

    async def _run_shielded(
        self, leg: UpstreamCall, steps: Generator[Command, Any, bool], call: Coroutine[Any, Any, T]
    ) -> T:
        """What comes of a call that may open something."""
        task = self._start(call)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._abandoned[leg] = task
            self._start(self._finish_abandoned(leg, steps, task))
            raise

    async def _finish_abandoned(
        self, leg: UpstreamCall, steps: Generator[Command, Any, bool], call: asyncio.Task[Any]
    ) -> None:
        """Nobody waits for this answer any more: what it says was opened is closed."""
        try:
            await asyncio.wait([call])
            if not call.cancelled() and call.exception() is None:
                with suppress(StopIteration, BridgeError):
                    steps.send(call.result())
            await self._run_cleanup(leg)
        finally:
            del self._abandoned[leg]

    async def _run_cleanup(self, leg: UpstreamCall) -> None:
        """A call that fails is told of; those behind it are made all the same."""
        route, around = leg.asking.route, leg.callouts
        assert around is not None
        try:
            for step in around.after():
                match step:
                    case SendRequest():
                        await self._send_cleanup(leg, step)
                    case ReleaseSession(key, session):
                        await self._sessions.release(route, key, session)
        except BridgeError as error:
            log("call not made", 30, route=route.name, error=error.message)

    async def _send_cleanup(self, leg: UpstreamCall, send: SendRequest) -> None:
        route = leg.asking.route
        try:
            heard = await self._sender.fetch(leg, send)
        except UpstreamError as error:
            self._metrics.failed(route.name, error.kind)
            log("call failed", 30, route=route.name, error=error.message)
        else:
            if heard.status >= 300:
                log("call refused", 30, route=route.name, status=heard.status)

    def _start(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(call)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task
