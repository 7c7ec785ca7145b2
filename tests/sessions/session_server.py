"""An upstream with sessions, which counts opened and closed sessions and notes violations.

    POST /open   {how}                  ─▶  {session}
    POST /say    {session, how, said}   ─▶  {text}, or its words as they come
    POST /close  {session}              /hang accepts the same body and never responds

`how` selects a behaviour. The paths are called by the routes of `ROUTE`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web

__all__ = ["ANSWER", "ROUTE", "SessionServer"]

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


class SessionServer:
    """The sessions of an upstream. Tests may read the attributes from another thread."""

    def __init__(self) -> None:
        self.url = ""
        self.opened = 0
        self.open: set[str] = set()
        self.closed: Counter[str] = Counter()
        self.turns: list[tuple[str, list[str]]] = []  # the session and the messages of each request
        self.violations: list[str] = []
        self.hung = 0
        self.barrier: asyncio.Barrier | None = None
        self.release = asyncio.Event()
        self.arrived = asyncio.Event()
        self._busy: set[str] = set()

    def application(self) -> web.Application:
        """Return the web application."""
        app = web.Application()
        for name, handle in self._handlers():
            app.router.add_post(f"/{name}", handle)
        return app

    def _handlers(self) -> list[tuple[str, Any]]:
        return [("open", self._open), ("say", self._chat), ("close", self._close), ("hang", self._hang)]

    async def _open(self, request: web.Request) -> web.Response:
        behaviour = (await request.json()).get("how")
        if behaviour == "full":
            return web.json_response({"code": 9, "why": "no room"})
        self.opened += 1
        session = f"s{self.opened}"
        self.open.add(session)
        if behaviour == "opens slowly":
            self.arrived.set()
            # Most servers do not notice a disconnect, so the handler continues.
            await asyncio.shield(asyncio.ensure_future(self.release.wait()))
        return web.json_response({"session": session})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        session = body.get("session")
        if session not in self.open:
            self.violations.append(f"{session} is not open")
        if session in self._busy:
            self.violations.append(f"{session} has two concurrent requests")
        self._busy.add(session)
        self.turns.append((session, body["said"]))
        try:
            if self.barrier is not None:
                await self.barrier.wait()
            return await self._respond(request, body)
        finally:
            self._busy.discard(session)

    async def _respond(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        match body.get("how"):
            case "fails":
                return web.json_response({"code": 7, "why": "no memory"}, status=500)
            case "fails under 200":
                return web.json_response({"code": 7, "why": "no memory"})
            case "says nothing":
                return web.json_response({})
            case "breaks" | "stalls" | "never ends" as behaviour:
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b'{"text": "All ')
                if behaviour == "breaks":
                    assert request.transport is not None
                    request.transport.abort()
                    return response
                self.arrived.set()
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
        if session not in self.open:
            self.violations.append(f"{session} was closed and is not open")
        self.open.discard(session)
        self.closed[session] += 1
        return web.json_response({})

    async def _hang(self, request: web.Request) -> web.Response:
        self.hung += 1
        await asyncio.Event().wait()
        raise AssertionError
