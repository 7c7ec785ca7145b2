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
from bridge.exchange.commands import Find, Keep, Send, Take, Wait
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from bridge.exchange.commands import Heard, Kept, Step
    from bridge.exchange.upstream_call import Leg
    from bridge.proxy.dispatch import Sender
    from bridge.sessions.pool import Sessions
    from bridge.telemetry.metrics import Metrics

__all__ = ["Calls"]

T = TypeVar("T")

_PATIENCE = 10.0  # seconds at shutdown for the calls that are still to be made
_LAST_WORDS = 2.0  # seconds for those that close what was opened, behind one that hangs


class Calls:
    """Makes calls. Those that a leaving client must not end are tasks of their own."""

    def __init__(self, sender: Sender, sessions: Sessions, metrics: Metrics) -> None:
        self._sender = sender
        self._sessions = sessions
        self._metrics = metrics
        self._running: set[asyncio.Task[Any]] = set()
        self._late: dict[Leg, asyncio.Task[Any]] = {}

    async def before(self, leg: Leg, take: Callable[[Heard], Awaitable[None]]) -> bool:
        """Make the calls ahead of an answer; whether `take` has got the answer itself by them.

        Raises UpstreamError.
        """
        assert leg.around is not None
        steps = leg.around.before()
        try:
            step = next(steps)
            while True:
                try:
                    came = await self._done(leg, steps, step, take)
                except UpstreamError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(came)
        except StopIteration as stop:
            return bool(stop.value)

    async def keep(self, leg: Leg) -> None:
        """Keep the session of an answer that ended well, ahead of its end: the next turn may come at once."""
        if leg.keeps_session and leg.ended_well:
            await asyncio.shield(self._start(self._follow(leg)))

    def after(self, leg: Leg) -> None:
        """Make those that follow an answer, on every way out."""
        if leg not in self._late:
            self._start(self._follow(leg))

    async def finish(self) -> None:
        """Wait for the calls that are still to be made; a server that does not answer is not waited for."""
        await self._rest(_PATIENCE)
        for call in self._late.values():
            call.cancel()
        await self._rest(_LAST_WORDS)
        for task in self._running:
            task.cancel()

    async def _rest(self, patience: float) -> None:
        deadline = asyncio.get_running_loop().time() + patience
        while self._running and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._running, timeout=left)

    async def _done(
        self,
        leg: Leg,
        steps: Generator[Step, Any, bool],
        step: Step,
        take: Callable[[Heard], Awaitable[None]],
    ) -> Heard | Kept | None:
        """Do one step; what came of it."""
        match step:
            case Send(begins=False):
                return await self._sender.heard(leg, step)
            case Send():
                return await self._awaited(leg, steps, self._sender.heard(leg, step))
            case Find(key):
                return await self._awaited(leg, steps, self._sessions.find(leg.asking.route, key))
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Take(heard):
                await take(heard)
            case _:
                assert_never(step)
        return None

    async def _awaited(self, leg: Leg, steps: Generator[Step, Any, bool], call: Coroutine[Any, Any, T]) -> T:
        """What comes of a call that may open something."""
        task = self._start(call)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._late[leg] = task
            self._start(self._came_late(leg, steps, task))
            raise

    async def _came_late(self, leg: Leg, steps: Generator[Step, Any, bool], call: asyncio.Task[Any]) -> None:
        """Nobody waits for this answer any more: what it says was opened is closed."""
        try:
            await asyncio.wait([call])
            if not call.cancelled() and call.exception() is None:
                with suppress(StopIteration, BridgeError):
                    steps.send(call.result())
            await self._follow(leg)
        finally:
            del self._late[leg]

    async def _follow(self, leg: Leg) -> None:
        """A call that fails is told of; those behind it are made all the same."""
        route, around = leg.asking.route, leg.around
        assert around is not None
        try:
            for step in around.after():
                match step:
                    case Send():
                        await self._last(leg, step)
                    case Keep(key, session):
                        await self._sessions.keep(route, key, session)
        except BridgeError as error:
            log("call not made", 30, route=route.name, error=error.message)

    async def _last(self, leg: Leg, send: Send) -> None:
        route = leg.asking.route
        try:
            heard = await self._sender.heard(leg, send)
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
