"""Routes whose URLs contain texts of clients: no cache keeps the texts."""

from __future__ import annotations

import gc
import tracemalloc

from tests.raw_client import HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import completion

_REQUESTS = 40
_LENGTH = 50_000  # characters of each URL


async def test_long_urls_are_not_kept() -> None:
    text = "routes: [{models: '*', upstream: '${UPSTREAM}/ask?q={{ last }}'}]"
    answer = responder(http_response(completion("hello")))
    async with run_upstream(answer) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:

        async def request(number: int) -> None:
            text = f"{number}{'a' * _LENGTH}"
            body = {**HELLO, "messages": [{"role": "user", "content": text}]}
            assert (await bridge.request(body)).status == 200
            server.requests.clear()

        await request(_REQUESTS)
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(_REQUESTS):
                await request(number)
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < _REQUESTS * _LENGTH / 4
