"""The ChatGLM2 example server of AutoDev's documentation: SSE in a format of its own.

    {"messages": [{"role": "user", "message": "hi"}], "model": "m"}
    ─▶ data: {"choices":[{"role":"assistant","content":" hi"}],"model":"m"}⏎⏎ …  data: [DONE]⏎⏎

Lines end in CRLF. The text of a turn is at `message`, of an answer at `$.choices[0].content`, without delta,
id, index or finish_reason. In silence it sends comments, which clients have taken for the end of the stream.
The example stands before a model; this one says what reached it: model, turns before, last message.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from bridge.core.json import dumps
from bridge.demo.responses import stream
from bridge.demo.validation import PostRoute, application, list_of, members, string

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["AutoDev"]


class AutoDev:
    """`pause`: seconds before each word. `ping`: seconds of silence after which a comment is sent."""

    def __init__(self, pause: float = 0.05, ping: float = 15.0) -> None:
        self._pause = pause
        self._ping = ping

    def application(self) -> web.Application:
        return application(PostRoute("/messages/stream", _REQUEST, self._answer))

    async def _answer(self, request: web.Request, body: Any) -> web.StreamResponse:
        if not body["messages"]:  # the example takes the last message unseen
            return web.Response(text="Internal Server Error", status=500)
        model = body.get("model", "chatglm2-6b_streaming")
        return await stream(request, self._events(model, body["messages"]), _HEADERS)

    async def _events(self, model: str, messages: list[Any]) -> AsyncGenerator[bytes, None]:
        turns = (len(messages) - 1) // 2  # of the history: a question and its answer
        said = f"[{model}] {turns} turns; you said: {messages[-1]['message']}"
        first, *others = said.split(" ")
        for word in [first, *(" " + other for other in others)]:
            async for comment in self._silence():
                yield comment
            chunk = {"choices": [{"role": "assistant", "content": word}], "model": model}
            yield b"data: %b\r\n\r\n" % dumps(chunk)
        yield b"data: [DONE]\r\n\r\n"

    async def _silence(self) -> AsyncGenerator[bytes, None]:
        """Let one pause pass. How many comments fall into it is reckoned, not measured: always as many."""
        left = self._pause
        while left > self._ping:
            await asyncio.sleep(self._ping)
            left -= self._ping
            yield b": ping - %b\r\n\r\n" % str(datetime.now(UTC)).encode()
        await asyncio.sleep(left)


_REQUEST: Final = members(
    required={"messages": list_of(members(required={"role": string, "message": string}, optional={}))},
    optional={"model": string},
)

_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
