"""The mock server of the article "How to build an OpenAI-compatible API", which deviates from OpenAI's.

    POST /chat/completions
    ─▶ {"id":"1337","object":"chat.completion","created":1795219115.6,"model":"m","choices":[{"message":…}]}
    ─▶ data: {"id": 0, …, "model": "blah", "choices": [{"delta": {"content": "As "}}]}⏎⏎ …  data: [DONE]⏎⏎

The path has no /v1. `created` has a fraction. `index`, `finish_reason`, `usage` and the role chunk are
missing. A stream counts its ids up, names every model "blah", puts a space after each word, also the last,
and has the content type application/x-ndjson. The bridge normalizes all of this.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from bridge.core.json import dumps
from bridge.demo.responses import json, stream
from bridge.demo.validation import PostRoute, application

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiohttp import web

__all__ = ["OpenAIMock"]


class OpenAIMock:
    """The server.

    pause: seconds after each word; a whole one in the article, which is too long for a first run
    """

    def __init__(self, pause: float = 0.05) -> None:
        self._pause = pause

    def application(self) -> web.Application:
        return application(PostRoute("/chat/completions", _REQUEST, self._chat))

    async def _chat(self, request: web.Request, body: Any) -> web.StreamResponse:
        text = _text(body["messages"])
        if body.get("stream"):
            return await stream(request, self._chunks(text), {"Content-Type": "application/x-ndjson"})
        return json(
            {
                "id": "1337",
                "object": "chat.completion",
                "created": time.time(),
                "model": body.get("model", "mock-gpt-model"),
                "choices": [{"message": {"role": "assistant", "content": text}}],
            }
        )

    async def _chunks(self, text: str) -> AsyncGenerator[bytes, None]:
        for index, word in enumerate(text.split(" ")):
            yield _CHUNK % (index, repr(time.time()).encode(), dumps(word + " "))
            await asyncio.sleep(self._pause)
        yield b"data: [DONE]\n\n"


def _text(messages: list[Any]) -> str:
    echo = "As a mock AI Assitant, I can only echo your last message"
    return f"{echo}:{messages[-1]['content']}" if messages else f"{echo}, but there wasn't one!"


# With the spaces that Python's own `json` writes.
_CHUNK: Final = (
    b'data: {"id": %d, "object": "chat.completion.chunk", "created": %b, "model": "blah", '
    b'"choices": [{"delta": {"content": %b}}]}\n\n'
)

_REQUEST: Final = {"messages": [{"role": str, "content": str}]}
