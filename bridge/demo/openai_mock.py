"""The mock server of the article "How to build an OpenAI-compatible API", with all that it forgets.

    POST /chat/completions
    ─▶ {"id":"1337","object":"chat.completion","created":1795219115.6,"model":"m","choices":[{"message":…}]}
    ─▶ data: {"id": 0, …, "model": "blah", "choices": [{"delta": {"content": "As "}}]}⏎⏎ …  data: [DONE]⏎⏎

No /v1 in the path; `created` with a fraction; no index, finish_reason, usage or role chunk. A stream counts
its ids up, calls every model "blah", puts a space after each word, the last too, and names its SSE
application/x-ndjson. Passing such a server on means mending it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from bridge.core.json import dumps
from bridge.demo.responses import json, stream
from bridge.demo.validation import PostRoute, application, boolean, list_of, members, nullable, number, string

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiohttp import web

__all__ = ["Article"]


class Article:
    """`pause`: seconds after each word. The article sleeps a whole one: too long for a first run."""

    def __init__(self, pause: float = 0.05) -> None:
        self._pause = pause

    def application(self) -> web.Application:
        return application(PostRoute("/chat/completions", _REQUEST, self._answer))

    async def _answer(self, request: web.Request, body: Any) -> web.StreamResponse:
        said = _said(body["messages"])
        if body.get("stream"):
            return await stream(request, self._chunks(said), {"Content-Type": "application/x-ndjson"})
        return json(
            {
                "id": "1337",
                "object": "chat.completion",
                "created": time.time(),
                "model": body.get("model", "mock-gpt-model"),
                "choices": [{"message": {"role": "assistant", "content": said}}],
            }
        )

    async def _chunks(self, said: str) -> AsyncGenerator[bytes, None]:
        for index, word in enumerate(said.split(" ")):
            yield _CHUNK % (index, repr(time.time()).encode(), dumps(word + " "))
            await asyncio.sleep(self._pause)
        yield b"data: [DONE]\n\n"


def _said(messages: list[Any]) -> str:
    echo = "As a mock AI Assitant, I can only echo your last message"
    return f"{echo}:{messages[-1]['content']}" if messages else f"{echo}, but there wasn't one!"


# With the spaces that Python's own json writes, and a server in Python so sends.
_CHUNK: Final = (
    b'data: {"id": %d, "object": "chat.completion.chunk", "created": %b, "model": "blah", '
    b'"choices": [{"delta": {"content": %b}}]}\n\n'
)

_REQUEST: Final = members(
    required={"messages": list_of(members(required={"role": string, "content": string}, optional={}))},
    optional={
        "model": string,
        "max_tokens": nullable(number),
        "temperature": nullable(number),
        "stream": nullable(boolean),
    },
)
