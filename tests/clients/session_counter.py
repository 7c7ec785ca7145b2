"""llmapi-server with its sessions counted, a question that it never answers, and a start that takes its time.

opened, closed      how often a session was
settled(n)          waits until n were opened and none is open any more
asked               set when somebody asks for what never comes, or starts slowly
go                  lets the slow start, its session open already, be answered
"""

from __future__ import annotations

import asyncio
from threading import Condition, Event
from typing import TYPE_CHECKING, Any

from bridge.demo import LLMAPI

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["NEVER", "SLOWLY", "Counting"]

NEVER = "what never comes"
SLOWLY = "start slowly"

_PATIENCE = 30.0  # seconds


class Counting(LLMAPI):
    """The tests read it from another thread than the one it serves in."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = self.closed = 0
        self.asked = Event()
        self.go = Event()
        self._changed = Condition()

    def settled(self, opened: int, patience: float = _PATIENCE) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: (self.opened, self.closed, self.open_sessions) == (opened, opened, 0), patience
            )

    async def _start(self, request: web.Request, body: Any) -> web.Response:
        before = self.open_sessions
        response = await super()._start(request, body)
        with self._changed:
            self.opened += self.open_sessions - before
        if body.get("settings", {}).get("system") == SLOWLY:
            self.asked.set()
            await asyncio.to_thread(self.go.wait, _PATIENCE)
        return response

    async def _ask(self, request: web.Request, body: Any) -> web.Response:
        if body["content"] == NEVER:
            self.asked.set()
            await asyncio.Event().wait()
        return await super()._ask(request, body)

    async def _end(self, request: web.Request, body: Any) -> web.Response:
        response = await super()._end(request, body)
        with self._changed:
            self.closed += 1
            self._changed.notify_all()
        return response
