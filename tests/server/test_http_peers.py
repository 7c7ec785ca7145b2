"""Unusual and invalid HTTP, side by side with aiohttp.web, and with nginx as a proxy in front of the bridge.

Where servers disagree about the end of a request, bytes of one client can become the request of another
(request smuggling). So each case is followed by a request, and the statuses of all responses are compared.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.server.raw_requests import BODY, ROUTES, chunked, raw_request
from tests.server.test_invalid_http import INVALID_CHUNKS, INVALID_HEADS
from tests.upstream.daemons import nginx
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    Statuses = tuple[int, ...]

CHUNK = b"%x\r\n%b\r\n" % (len(BODY), BODY)
UNUSUAL = {
    "a length": raw_request(),
    "chunks": chunked(body=CHUNK + b"0\r\n\r\n"),
    "a trailer": chunked(body=CHUNK + b"0\r\nX-A: b\r\n\r\n"),
    "an extension": chunked(body=CHUNK.replace(b"\r\n", b";a=b\r\n", 1) + b"0\r\n\r\n"),
    "a size with zeros": chunked(body=b"000" + CHUNK + b"000\r\n\r\n"),
    "zeros before a length": raw_request(f"Content-Length: 000{len(BODY)}", body=b"") + BODY,
    "HTTP/1.0": raw_request(version="HTTP/1.0"),
    "HTTP/1.0 with keep-alive": raw_request("Connection: keep-alive", version="HTTP/1.0"),
    "Connection: close": raw_request("Connection: close"),
    "an empty line before a request": b"\r\n" + raw_request(),
    "an absolute target": raw_request(target="http://bridge/v1/chat/completions"),
    "a tab before a value": raw_request("X-A:\ta"),
    "an empty value": raw_request("X-A:"),
    "bytes over 127": raw_request("X-A: \xe9"),
    "an unknown expectation": raw_request("Expect: 200-maybe"),
    "a body of GET": raw_request(method="GET", target="/v1/models"),
}
CASES = UNUSUAL | INVALID_HEADS | {kind: chunked(body=data) for kind, data in INVALID_CHUNKS.items()}

# The statuses of aiohttp.web and of nginx where one of them differs from the bridge. nginx sends requests on
# to the bridge: a 200 after a 400 shows a refusal of the bridge, behind which nginx keeps its connection.
DIFFERENCES: dict[str, tuple[Statuses, Statuses]] = {
    # aiohttp refuses what follows a request that announced the end of the connection; the others ignore it.
    "HTTP/1.0": ((400,), (200,)),
    "Connection: close": ((400,), (200,)),
    # nginx refuses all codings but chunked with another status, and aiohttp accepts compressed chunks.
    "another coding": ((400,), (501,)),
    "two codings": ((200, 200), (501,)),
    "chunked twice": ((400,), (501,)),
    "a coding that ends in chunked": ((400,), (501,)),
    "chunked after a vertical tab": ((400,), (501,)),
    # nginx accepts more heads, but sends them on in its own words.
    "a bare line feed in a value": ((400,), (200, 200)),
    "bare line feeds": ((400,), (200, 200)),
    "no colon": ((400,), (200, 200)),
    "an unknown version": ((400,), (200, 200)),
    "a version with two digits": ((400,), (200, 200)),
    "no version": ((400,), ()),  # a response of HTTP/0.9, without a status
    "an unknown method": ((400,), (400, 200)),
    "HTTP/2 in the first line": ((400,), (505,)),
    "a long target": ((400,), (414,)),
    "a head over 64 KiB": ((200, 200), (400,)),
    "too many headers": ((400,), (400, 200)),
    # nginx checks sizes and extensions less strictly, and drops trailers.
    "a space after a size": ((400,), (400, 200)),
    "a long extension": ((200, 200), (400, 200)),
    "a long trailer": ((400,), (200, 200)),
    "many trailers": ((400,), (200, 200)),
    "a trailer with a length": ((400,), (200, 200)),
    "a folded trailer": ((400,), (200, 200)),
}


@asynccontextmanager
async def aiohttp_server() -> AsyncIterator[int]:
    """Run a server of aiohttp that accepts every request, and yield its port."""

    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response()

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def statuses(port: int, data: bytes) -> Statuses:
    """Send bytes and one more request. Return the statuses of all responses until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data + raw_request("Connection: close", method="GET", target="/v1/models", body=b""))
    received = b""
    try:
        while piece := await reader.read(65536):
            received += piece
    except ConnectionError:  # bytes that the server had not read when it closed
        pass
    writer.close()
    return tuple(int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", received))


async def test_no_request_ends_elsewhere_than_for_aiohttp_and_nginx(tmp_path: Path) -> None:
    upstream = responder(http_response(completion("hello")))
    async with (
        run_upstream(upstream) as server,
        run_bridge(ROUTES.replace("1MiB", "8MiB"), {"UPSTREAM": server.url}) as bridge,
        aiohttp_server() as aiohttp_port,
        nginx(tmp_path / "nginx", f"location / {{ proxy_pass {bridge.url}; }}") as proxy,
    ):
        differences = {}
        for kind, data in CASES.items():
            own, *others = await asyncio.gather(
                *(statuses(port, data) for port in (bridge.front[1], aiohttp_port, proxy.port))
            )
            assert kind in UNUSUAL or own == (400,), kind
            if others != [own, own]:
                differences[kind] = tuple(others)
    assert differences == DIFFERENCES
