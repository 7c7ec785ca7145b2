"""A model server of sessions that counts: how many were opened, are open, and were asked twice at once.

    POST /open   {how}                  ─▶  {session}
    POST /say    {session, how, said}   ─▶  {text}, or its words as they come
    POST /close  {session}              /hang takes the same and never answers

`how` says what goes wrong. Whatever a bridge must never do is noted in `wrong`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from threading import Condition
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ANSWER", "ROUTE", "Counting"]

ANSWER = "All is well."
ROUTE = """
  - models: m
    upstream: {url: "${SERVER}", timeouts: {idle: 300ms}}
    path: /say
    session:
      open: {path: /open, body: {how: $.user}, id: $.session}
      close: {path: /close, body: {session: $.session}}
    request:
      body:
        session: $.session
        how: $.user
        stream: $.stream
        said: {$each: $.messages, $as: $item.content}
    response: $.text
    stream: {framing: ndjson, text: $.text}
    error: {when: {$.code: {above: 0}}, message: $.why}
"""
_PATIENCE = 20.0  # seconds


class Counting:
    """Sessions of one server. Tests may read it from another thread than the one it serves in."""

    def __init__(self) -> None:
        self.opened = 0
        self.open: set[str] = set()
        self.closed: Counter[str] = Counter()
        self.said: list[tuple[str, list[str]]] = []  # in which session, and what was sent
        self.wrong: list[str] = []
        self.hung = 0
        self.gate: asyncio.Barrier | None = None
        self.go = asyncio.Event()
        self.asked = asyncio.Event()
        self._busy: set[str] = set()
        self._changed = Condition()

    def application(self) -> web.Application:
        """What serves."""
        app = web.Application()
        for name, handle in self._handlers():
            app.router.add_post(f"/{name}", handle)
        return app

    def _handlers(self) -> list[tuple[str, Any]]:
        return [("open", self._open), ("say", self._say), ("close", self._close), ("hang", self._hang)]

    def until(self, holds: Callable[[], bool]) -> bool:
        """Wait for something to hold, from another thread."""
        with self._changed:
            return self._changed.wait_for(holds, _PATIENCE)

    async def _open(self, request: web.Request) -> web.Response:
        how = (await request.json()).get("how")
        if how == "full":
            return web.json_response({"code": 9, "why": "no room"})
        self.opened += 1
        session = f"s{self.opened}"
        self.open.add(session)
        if how == "opens slowly":
            self.asked.set()
            # What is begun goes on when nobody waits for it: servers seldom notice.
            await asyncio.shield(asyncio.ensure_future(self.go.wait()))
        return web.json_response({"session": session})

    async def _say(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        session = body.get("session")
        if session not in self.open:
            self.wrong.append(f"{session} is not open")
        if session in self._busy:
            self.wrong.append(f"{session} was asked twice at once")
        self._busy.add(session)
        self.said.append((session, body["said"]))
        try:
            if self.gate is not None:
                await self.gate.wait()
            return await self._answer(request, body)
        finally:
            self._busy.discard(session)

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        match body.get("how"):
            case "fails":
                return web.json_response({"code": 7, "why": "no memory"}, status=500)
            case "fails under 200":
                return web.json_response({"code": 7, "why": "no memory"})
            case "says nothing":
                return web.json_response({})
            case "breaks" | "stalls" | "never ends" as how:
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b'{"text": "All ')
                if how == "breaks":
                    assert request.transport is not None
                    request.transport.abort()
                    return response
                self.asked.set()
                await asyncio.Event().wait()
        if not body["stream"]:
            return web.json_response({"text": ANSWER})
        response = web.StreamResponse()
        await response.prepare(request)
        for word in ("All ", "is ", "well."):
            await response.write(b'{"text": "%s"}\n' % word.encode())
        return response

    async def _close(self, request: web.Request) -> web.Response:
        session = (await request.json())["session"]
        with self._changed:
            if session not in self.open:
                self.wrong.append(f"{session} was closed and is not open")
            self.open.discard(session)
            self.closed[session] += 1
            self._changed.notify_all()
        return web.json_response({})

    async def _hang(self, request: web.Request) -> web.Response:
        self.hung += 1
        await asyncio.Event().wait()
        raise AssertionError
