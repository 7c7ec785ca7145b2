"""What Python can do at best: the one format of `nginx-lua.conf`, translated by hand.

It stands on the bridge's own server and connections, which cost the least. A key is compared,
Prometheus told and a line logged as the bridge does it; nothing is configured, nothing can fail in more than
one way, nothing is streamed.

    python by_hand.py PORT UPSTREAM
"""

from __future__ import annotations

import asyncio
import hmac
import sys
import time
from typing import TYPE_CHECKING, Any

import orjson
import uvloop

from bridge.openai.endpoints import CHAT
from bridge.routes.rules.request_template import UpstreamRequest
from bridge.routes.rules.settings import TimeoutsSpec, TLSSpec, TransportSpec
from bridge.server.app import bind
from bridge.server.listener import HTTPListener
from bridge.server.request_ids import RequestIds
from bridge.server.response import DateHeader, Response
from bridge.telemetry.logging import configure
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.request_log import RequestLog
from bridge.upstream.client import UpstreamClient

if TYPE_CHECKING:
    from bridge.server.request import Request

_KEY = b"Bearer bench"
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "Content-Type": "application/json"}


class ByHand:
    """Answers chats."""

    def __init__(self, upstream: int) -> None:
        self._upstream = UpstreamClient()
        self._urls = (f"http://127.0.0.1:{upstream}/generate",)
        self._transport = TransportSpec(timeouts=TimeoutsSpec(), tls=TLSSpec())
        metrics = Metrics()
        self._series = metrics.series("by hand", CHAT, "m")
        self._accounts = RequestLog(metrics)
        self._names = RequestIds()
        self._dates = DateHeader()

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        name = self._names()
        reply = Response(request, name, None, self._dates)
        if not hmac.compare_digest(request.headers.get(b"authorization", b""), _KEY):
            return reply.set_body(401, b"{}")
        account = self._accounts.start(self._series, name)
        asked = orjson.loads(request.buffered_body() or b"{}")
        doc = orjson.loads(await self._asked(_question(asked)))
        if doc["message"] != "ok":
            return reply.set_body(502, b"{}")
        reply.set_body(200, _completion(name, asked["model"], doc["data"][0]["output"][0]))
        account.finish(None, 200)
        account.release()
        return reply

    async def _asked(self, body: bytes) -> bytes:
        request = UpstreamRequest("POST", self._urls, _HEADERS, body)
        response = await self._upstream.send(request, self._transport)
        try:
            return await response.read(2**20)
        finally:
            await response.close()


def _question(asked: dict[str, Any]) -> bytes:
    said = " ".join(message["content"] for message in asked["messages"])
    params = {
        "prompt": [said],
        "max_tokens": asked.get("max_tokens"),
        "temperature": asked.get("temperature"),
    }
    return orjson.dumps({"model": asked["model"], "stream": False, "params": params})


def _completion(name: str, model: str, text: str) -> bytes:
    message = {"role": "assistant", "content": text, "refusal": None}
    return orjson.dumps({
        "id": f"chatcmpl-{name}", "object": "chat.completion", "created": int(time.time()), "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
    })  # fmt: skip


async def _serve(port: int, upstream: int) -> None:
    configure()
    await HTTPListener(ByHand(upstream).answer).listen(bind(f"127.0.0.1:{port}"))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
