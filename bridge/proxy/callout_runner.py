"""The callouts of upstream calls: whatever they open at an upstream is closed, however the request ends.

    before ─▶ session, calls, polling          after ─▶ cancel, close, or keep for the next turn

A callout that opens something is awaited even when the client disconnects meanwhile: only the response says
what was opened and has to be closed.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from bridge.core.errors import BridgeError, UpstreamError
from bridge.core.json_bounds import MAX_INLINE
from bridge.exchange.commands import AcquireSession, DeliverResponse, ReleaseSession, SendRequest, Sleep
from bridge.tasks import TaskRegistry
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from bridge.exchange.commands import Command, FetchedResponse, StoredSession
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.proxy.dispatch import Dispatcher
    from bridge.sessions.pool import SessionPool
    from bridge.telemetry.metrics import Metrics
    from bridge.thread_pool import ThreadPool

    Commands = Generator[Command, Any, bool]
    Deliver = Callable[[FetchedResponse], Awaitable[None]]

__all__ = ["CalloutRunner"]

T = TypeVar("T")

_SHUTDOWN_TIMEOUT = 10.0  # seconds for the callouts that are due at shutdown
_CLEANUP_TIMEOUT = 2.0  # seconds after that, for closing what was opened before a callout that hangs


class CalloutRunner:
    """Carries out the commands of callouts. A callout that a disconnect must not end runs as its own task."""

    def __init__(
        self, dispatcher: Dispatcher, sessions: SessionPool, metrics: Metrics, threads: ThreadPool
    ) -> None:
        self._threads = threads
        self._dispatcher = dispatcher
        self._sessions = sessions
        self._metrics = metrics
        self._tasks = TaskRegistry()
        self._abandoned: dict[UpstreamCall, asyncio.Task[Any]] = {}  # callouts whose clients disconnected

    async def run_before(self, call: UpstreamCall, deliver: Deliver) -> bool:
        """Run the callouts before the response. Return whether they brought the response themselves.

        `deliver` receives the responses that were polled. Raise UpstreamError.
        """
        assert call.callouts is not None
        commands = call.callouts.before()
        step: Callable[[], Command] = partial(next, commands)
        while True:
            command = await self._run_step(call, step)
            if isinstance(command, bool):
                return command
            try:
                result = await self._execute(call, commands, command, deliver)
            except UpstreamError as error:
                step = partial(commands.throw, error)
            else:
                step = partial(commands.send, result)

    async def store_session(self, call: UpstreamCall) -> None:
        """Store the session of a call that succeeded, before the client can see the end of the response."""
        if call.plan.keeps_session and call.succeeded:
            await asyncio.shield(self._tasks.start(self._run_after(call)))

    def start_after(self, call: UpstreamCall) -> None:
        """Start the callouts after the response, however the request ended."""
        if call not in self._abandoned:
            self._tasks.start(self._run_after(call))

    async def close(self) -> None:
        """Wait for the callouts that are still due. Cancel those of an upstream that does not respond."""
        await self._tasks.wait(_SHUTDOWN_TIMEOUT)
        for callout in self._abandoned.values():
            callout.cancel()
        await self._tasks.wait(_CLEANUP_TIMEOUT)
        self._tasks.cancel()

    async def _run_step(self, call: UpstreamCall, step: Callable[[], T]) -> T | bool:
        """Return the next command of callouts, or their result. Raise UpstreamError."""
        if len(call.builder.context.data) <= MAX_INLINE:
            return _next_command(step)
        return await self._threads.run(_next_command, step)  # a key of a long transcript takes time

    async def _execute(
        self, call: UpstreamCall, commands: Commands, command: Command, deliver: Deliver
    ) -> FetchedResponse | StoredSession | None:
        """Carry out one command and return its result."""
        match command:
            case SendRequest(begins=False):
                return await self._dispatcher.fetch(call, command)
            case SendRequest():
                return await self._run_shielded(call, commands, self._dispatcher.fetch(call, command))
            case AcquireSession(key):
                return await self._run_shielded(
                    call, commands, self._sessions.acquire(call.builder.route, key)
                )
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case DeliverResponse(response):
                await deliver(response)
            case _:
                assert_never(command)
        return None

    async def _run_shielded(
        self, call: UpstreamCall, commands: Commands, callout: Coroutine[Any, Any, T]
    ) -> T:
        """Run a callout that may open something. A disconnect of the client does not end the callout."""
        task = self._tasks.start(callout)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._abandoned[call] = task
            self._tasks.start(self._finish_abandoned(call, commands, task))
            raise

    async def _finish_abandoned(
        self, call: UpstreamCall, commands: Commands, callout: asyncio.Task[Any]
    ) -> None:
        """Await a callout whose client disconnected, and close what the callout opened."""
        try:
            await asyncio.wait([callout])
            if not callout.cancelled() and callout.exception() is None:
                with suppress(StopIteration, BridgeError):
                    commands.send(callout.result())
            await self._run_after(call)
        finally:
            del self._abandoned[call]

    async def _run_after(self, call: UpstreamCall) -> None:
        """Run the callouts after the response. A callout that fails is logged and the next ones still run."""
        route, callouts = call.builder.route, call.callouts
        assert callouts is not None
        try:
            step = partial(next, callouts.after())
            while True:
                match await self._run_step(call, step):
                    case SendRequest() as send:
                        await self._send_after(call, send)
                    case ReleaseSession(key, session):
                        await self._sessions.release(route, key, session)
                    case _:
                        return
        except BridgeError as error:
            log("callout not sent", logging.WARNING, route=route.name, error=route.mask(error.message))

    async def _send_after(self, call: UpstreamCall, send: SendRequest) -> None:
        route = call.builder.route
        try:
            response = await self._dispatcher.fetch(call, send)
        except UpstreamError as error:
            self._metrics.upstream_failed(route.name, error.kind)
            log("callout failed", logging.WARNING, route=route.name, error=route.mask(error.message))
        else:
            if response.status >= 300:
                log("callout rejected", logging.WARNING, route=route.name, status=response.status)


def _next_command(step: Callable[[], T]) -> T | bool:
    """Return the next command, or the result at the end: no future can carry a StopIteration."""
    try:
        return step()
    except StopIteration as stop:
        return bool(stop.value)
