"""A bridge with the routes of all cases, and one upstream that plays every recording.

    model "tgi_generate/stream"  ─▶  the route of the case  ─▶  POST /tgi_generate/stream/generate
    the client's response        ◀─           …             ◀─  stream.bin, in random pieces

The upstream is a raw socket that sends the recorded status, headers and bytes, chunked, flushed piece by
piece, and stores each request. If the bridge opens a websocket, the upstream sends the recorded messages
in fragments. Calls before a response are answered in order. Bridge and upstream run in a thread, so that a
client may block.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from bridge.loader import read_presets
from tests.case_files import CASES, Success, read_case
from tests.raw_upstream import Request, chunk, head, run_upstream
from tests.running_bridge import load_table, serve_table
from tests.upstream.raw_websocket import (
    CONTINUATION,
    PING,
    TEXT,
    close_frame,
    handshake_response,
    read_frame,
    websocket_frame,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bridge.routes.table import RouteTable
    from tests.case_files import Call, Case
    from tests.raw_upstream import Connection

__all__ = ["PresetBridge", "key_of", "load_with_presets", "run_preset_bridge"]

_MAX_PIECE = 24  # bytes
_PING_PROBABILITY = 0.3  # for each message


@dataclass(frozen=True)
class PresetBridge:
    """The URL of the bridge's front, and the upstream requests."""

    url: str
    requests: list[Request]

    def requests_of(self, case: Case) -> list[Request]:
        """Return the upstream requests of a case, without the prefix of the case in their paths."""
        begin = f"/{_prefix(case)}"
        return [
            Request(request.method, request.path.removeprefix(begin), request.headers, request.data)
            for request in self.requests
            if request.path.startswith(f"{begin}/")
        ]


@asynccontextmanager
async def run_preset_bridge() -> AsyncIterator[PresetBridge]:
    """Run the bridge and its upstream."""
    requests: list[Request] = []
    errors: list[str] = []
    play = partial(_play, requests, errors, Counter())
    async with run_upstream(play) as server, serve_table(_table(server.url), limit=None) as bridge:
        yield PresetBridge(bridge.url, requests)
    assert not errors, errors


def load_with_presets(text: str) -> RouteTable:
    """Return the table of a file, with the shipped presets and without environment and files."""
    return load_table(text, {}, read_presets())


def key_of(preset: str) -> str:
    """Return the `auth` key of a route over this preset, an empty text if the preset requires none."""
    auth = re.search(r"^auth:(?: \{|\n  )(\w+):", read_presets()[preset], flags=re.MULTILINE)
    return f"auth: {_KEYS[auth[1]]}" if auth else ""


_KEYS = {
    "header": "{value: a-key}",
    "query": "{value: a-key}",
    "jwt": "{jwt: {key: an-id.a-secret}}",
    "hmac": "{hmac: {key: a-key, secret: a-secret}}",
    "oauth2": "{oauth2: {client_id: a-key, client_secret: a-secret}}",
    "aws": "{bearer: a-key}",
}


def _table(url: str) -> RouteTable:
    """Return the routes of all cases, with other models and URLs."""
    routes = []
    for folder in sorted(CASES.iterdir()):
        text = (folder / "route.yaml").read_text(encoding="utf-8").partition("routes:\n")[2]
        text, models = re.subn(r"models: \[demo-model\]", f'models: "{folder.name}/*"', text)
        target = rf'"\1{url.removeprefix("http")}/{{{{ raw.model | path }}}}\3"'
        text, upstreams = re.subn(r"(http|ws)://upstream(:\d+)?(/\S*)?", target, text)
        assert models == 1 <= upstreams, folder.name
        routes.append(text)
    return load_with_presets("routes:\n" + "".join(routes))


async def _play(requests: list[Request], errors: list[str], turns: Counter[str], peer: Connection) -> None:
    """Respond to the requests of a connection, each by its case, which may have several calls."""
    while request := await peer.request():
        folder, name = request.path.split("/")[1:3]
        case, random = read_case(folder, name), Random(f"{folder}/{name}")
        responses: list[Call | Case] = [*case.calls, case]
        response = responses[turns[f"{folder}/{name}"] % len(responses)]
        turns[f"{folder}/{name}"] += 1
        if "upgrade" in request.headers and response.status == 200:
            await peer.send(handshake_response(request))
            requests.append(replace(request, data=(await read_frame(peer))[1]))
            try:
                await _play_websocket(peer, case, random)
            except (AssertionError, ValueError) as error:
                errors.append(f"{folder}/{name}: {error!r}")
            return
        requests.append(request)
        # A response contains the address of its upstream.
        own_url = f"http://{request.headers['host']}/{folder}/{name}".encode()
        await peer.send(_head(response))
        for piece in _pieces(response.data.replace(b"http://upstream", own_url), random):
            await peer.send(chunk(piece))
            await asyncio.sleep(0)
        await peer.send(chunk(b""))


async def _play_websocket(peer: Connection, case: Case, random: Random) -> None:
    """Send the recorded messages in fragments with occasional pings, which the client must answer."""
    for message in _messages(case.data):
        *parts, last = _pieces(message, random)
        for number, part in enumerate(parts):
            await peer.send(websocket_frame(part, CONTINUATION if number else TEXT, fin=False))
            await asyncio.sleep(0)
        if random.random() < _PING_PROBABILITY:
            await peer.send(websocket_frame(b"ping", PING))
            assert (await read_frame(peer))[1] == b"ping"
        await peer.send(websocket_frame(last, CONTINUATION if parts else TEXT))
    if not isinstance(case.answers, Success):
        await peer.send(close_frame(1000))
    # The upstream waits for the next request, so the client closes the connection.
    assert (await read_frame(peer))[1] == (1000).to_bytes(2, "big")


def _messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a recording, each of which follows its length."""
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        yield data[4:end]
        data = data[end:]


def _head(response: Call | Case) -> bytes:
    """Return the recorded status and headers for a chunked body."""
    headers = {
        name.replace("-", "_"): value
        for name, value in response.lower_headers.items()
        if name not in ("content-length", "transfer-encoding")
    }
    return head(response.status, **headers, transfer_encoding="chunked")


def _pieces(data: bytes, random: Random) -> Iterator[bytes]:
    while data:
        size = random.randint(1, _MAX_PIECE)
        yield data[:size]
        data = data[size:]


def _prefix(case: Case) -> str:
    return f"{case.folder}/{case.name}"
