"""The ChatGLM2 example server of AutoDev's documentation: server-sent events in a format of its own.

    {"messages": [{"role": "user", "message": "hi"}], "model": "m"}
    ─▶ data: {"choices":[{"role":"assistant","content":" hi"}],"model":"m"}⏎⏎ …  data: [DONE]⏎⏎

Lines end in CRLF. A request holds the text of a turn in `message`, and a chunk in `$.choices[0].content`,
without `delta`, `id`, `index` and `finish_reason`. During silence the server sends comments, which some
clients take for the end of the stream. Without a model behind it, the text repeats the request: model,
earlier turns, last message.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from bridge.core.json import dumps
from bridge.demo.responses import stream
from bridge.demo.validation import PostRoute, application

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["AutoDev"]


class AutoDev:
    """The server.

    pause: seconds before each word
    ping: seconds of silence after which a comment is sent
    """

    def __init__(self, pause: float = 0.05, ping: float = 15.0) -> None:
        self._pause = pause
        self._ping = ping

    def application(self) -> web.Application:
        return application(PostRoute("/messages/stream", _REQUEST, self._chat))

    async def _chat(self, request: web.Request, body: Any) -> web.StreamResponse:
        if not body["messages"]:  # the example reads the last message without a check
            return web.Response(text="Internal Server Error", status=500)
        model = body.get("model", "chatglm2-6b_streaming")
        return await stream(request, self._events(model, body["messages"]), _HEADERS)

    async def _events(self, model: str, messages: list[Any]) -> AsyncGenerator[bytes, None]:
        turns = (len(messages) - 1) // 2  # a question and its answer each
        text = f"[{model}] {turns} turns; you said: {messages[-1]['message']}"
        first, *rest = text.split(" ")
        for word in [first, *(" " + word for word in rest)]:
            async for comment in self._silence():
                yield comment
            chunk = {"choices": [{"role": "assistant", "content": word}], "model": model}
            yield b"data: %b\r\n\r\n" % dumps(chunk)
        yield b"data: [DONE]\r\n\r\n"

    async def _silence(self) -> AsyncGenerator[bytes, None]:
        """Pause once. The number of comments is computed, not measured, so that it never varies."""
        left = self._pause
        while left > self._ping:
            await asyncio.sleep(self._ping)
            left -= self._ping
            yield b": ping - %b\r\n\r\n" % str(datetime.now(UTC)).encode()
        await asyncio.sleep(left)


_REQUEST: Final = {"messages": [{"role": str, "message": str}]}

_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
