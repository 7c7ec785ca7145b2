"""A plain aiohttp proxy: the one custom format, translated by hand with aiohttp's public server and client.

It has no rules, limits, metrics and log lines, and no error handling but a key: the price of aiohttp itself.

    python plain_aiohttp.py PORT UPSTREAM
"""

from __future__ import annotations

import asyncio
import hmac
import sys
import time
from typing import Any

import orjson
import uvloop
from aiohttp import ClientSession, TCPConnector, web

_KEY = "Bearer bench"
_HEADERS = {"Accept-Encoding": "identity", "Content-Type": "application/json"}


class Proxy:
    """The handler of all requests."""

    def __init__(self, upstream: int, session: ClientSession) -> None:
        self._url = f"http://127.0.0.1:{upstream}/generate"
        self._session = session

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Translate one request and its response."""
        if not hmac.compare_digest(request.headers.get("Authorization", ""), _KEY):
            return web.Response(status=401)
        asked = orjson.loads(await request.read())
        body = orjson.dumps(_custom(asked))
        async with self._session.post(self._url, data=body, headers=_HEADERS) as upstream:
            if asked["stream"]:
                return await self._stream(request, upstream, asked["model"])
            doc = orjson.loads(await upstream.read())
        message = {"role": "assistant", "content": doc["data"][0]["output"][0], "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        completion = _document("chat.completion", asked["model"], choice)
        return web.Response(body=orjson.dumps(completion), content_type="application/json")

    async def _stream(self, request: web.BaseRequest, upstream: Any, model: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for line in upstream.content:
            if line.startswith(b"data: {"):
                choice = {
                    "index": 0,
                    "delta": {"content": orjson.loads(line[6:])["text"]},
                    "finish_reason": None,
                }
                await response.write(_event(_document("chat.completion.chunk", model, choice)))
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await response.write(_event(_document("chat.completion.chunk", model, last)) + b"data: [DONE]\n\n")
        return response


def _custom(asked: dict[str, Any]) -> dict[str, Any]:
    prompt = " ".join(message["content"] for message in asked["messages"])
    options = {name: asked.get(name) for name in ("max_tokens", "temperature")}
    return {"model": asked["model"], "stream": asked["stream"], "params": {"prompt": [prompt], **options}}


def _document(kind: str, model: str, choice: dict[str, Any]) -> dict[str, Any]:
    now = time.time()
    return {"id": f"chatcmpl-{now}", "object": kind, "created": int(now), "model": model, "choices": [choice]}


def _event(doc: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(doc)


async def _serve(port: int, upstream: int) -> None:
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        runner = web.ServerRunner(web.Server(Proxy(upstream, session).handle, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
