"""One bridge with the routes of all cases, and the one server behind them that plays every recorded part.

    model "tgi_generate/stream"  ─▶  the route of the case  ─▶  POST /tgi_generate/stream/generate
    what a user's client reads   ◀─           …             ◀─  stream.bin, in random pieces

The server is a bare socket: it sends the recorded status, headers and bytes, chunked, flushed piece by
piece, and keeps each request as it came. Where the bridge opens a websocket, it sends the recorded messages
in fragments. Calls ahead of an answer are answered in their order. Both live in a thread, so that a client
may block.
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
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import RouteTable, load
from bridge.server.app import ServerSettings, bind, run_server, socket_url
from tests.case_files import CASES, Success, read_case
from tests.raw_upstream import Request, chunk, head, run_upstream
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

    from tests.case_files import Call, Case
    from tests.raw_upstream import Connection

__all__ = ["PresetBridge", "key_of", "load_with_presets", "run_front", "run_preset_bridge"]

_MOST = 24  # bytes of a piece
_PINGED = 0.3  # of the messages


@dataclass(frozen=True)
class PresetBridge:
    """The URL of the bridge's front, and the requests that came to the server."""

    url: str
    requests: list[Request]

    def requests_of(self, conversation: Case) -> list[Request]:
        """The requests of a conversation, their paths without what tells that they are."""
        begin = f"/{_named(conversation)}"
        return [
            Request(one.method, one.path.removeprefix(begin), one.headers, one.data)
            for one in self.requests
            if one.path.startswith(f"{begin}/")
        ]


@asynccontextmanager
async def run_preset_bridge() -> AsyncIterator[PresetBridge]:
    """Run both."""
    heard: list[Request] = []
    faults: list[str] = []
    play = partial(_play, heard, faults, Counter())
    async with run_upstream(play) as server, run_front(_table(server.url)) as url:
        yield PresetBridge(url, heard)
    assert not faults, faults


@asynccontextmanager
async def run_front(table: RouteTable) -> AsyncIterator[str]:
    """Serve a table in this process, as `format-bridge serve` does; give the URL of its front."""
    front = bind("127.0.0.1:0")
    async with run_server(ServerSettings("", table, front, None, {}, watch=False)):
        yield socket_url(front)


def load_with_presets(text: str) -> RouteTable:
    """The table of a file with the shipped presets and nothing else."""
    return load(text, "routes.yaml", LoadEnvironment({}, _no_file, read_presets()))


def key_of(preset: str) -> str:
    """What a route over this preset says of its key, nothing where it wants none."""
    way = re.search(r"^auth:(?: \{|\n  )(\w+):", read_presets()[preset], flags=re.MULTILINE)
    return f"auth: {_KEYS[way[1]]}" if way else ""


_KEYS = {
    "header": "{value: a-key}",
    "query": "{value: a-key}",
    "jwt": "{jwt: {key: an-id.a-secret}}",
    "hmac": "{hmac: {key: a-key, secret: a-secret}}",
    "oauth2": "{oauth2: {client_id: a-key, client_secret: a-secret}}",
    "aws": "{bearer: a-key}",
}


def _table(url: str) -> RouteTable:
    """The routes of all cases as they stand, but for their models and where they go."""
    routes = []
    for folder in sorted(CASES.iterdir()):
        text = (folder / "route.yaml").read_text(encoding="utf-8").partition("routes:\n")[2]
        text, models = re.subn(r"models: \[demo-model\]", f'models: "{folder.name}/*"', text)
        there = rf'"\1{url.removeprefix("http")}/{{{{ raw.model | path }}}}\3"'
        text, ups = re.subn(r"(http|ws)://upstream(:\d+)?(/\S*)?", there, text)
        assert models == 1 <= ups, folder.name
        routes.append(text)
    return load_with_presets("routes:\n" + "".join(routes))


async def _play(heard: list[Request], faults: list[str], turns: Counter[str], peer: Connection) -> None:
    """Answer what comes on one connection, each by its conversation, which may take several turns."""
    while request := await peer.request():
        case, name = request.path.split("/")[1:3]
        conversation, random = read_case(case, name), Random(f"{case}/{name}")
        answers: list[Call | Case] = [*conversation.calls, conversation]
        answer = answers[turns[f"{case}/{name}"] % len(answers)]
        turns[f"{case}/{name}"] += 1
        if "upgrade" in request.headers and answer.status == 200:
            await peer.send(handshake_response(request))
            heard.append(replace(request, data=(await read_frame(peer))[1]))
            try:
                await _play_websocket(peer, conversation, random)
            except (AssertionError, ValueError) as error:
                faults.append(f"{case}/{name}: {error!r}")
            return
        heard.append(request)
        # A server tells its own address.
        here = f"http://{request.headers['host']}/{case}/{name}".encode()
        await peer.send(_head(answer))
        for piece in _pieces(answer.data.replace(b"http://upstream", here), random):
            await peer.send(chunk(piece))
            await asyncio.sleep(0)
        await peer.send(chunk(b""))


async def _play_websocket(peer: Connection, conversation: Case, random: Random) -> None:
    """Say the recorded messages in fragments, with a ping among these, which the client has to answer."""
    for message in _messages(conversation.data):
        *parts, last = _pieces(message, random)
        for number, part in enumerate(parts):
            await peer.send(websocket_frame(part, CONTINUATION if number else TEXT, fin=False))
            await asyncio.sleep(0)
        if random.random() < _PINGED:
            await peer.send(websocket_frame(b"still there?", PING))
            assert (await read_frame(peer))[1] == b"still there?"
        await peer.send(websocket_frame(last, CONTINUATION if parts else TEXT))
    if not isinstance(conversation.answers, Success):
        await peer.send(close_frame(1000))
    # Who has said all waits for the next request, so it is the client that closes.
    assert (await read_frame(peer))[1] == (1000).to_bytes(2, "big")


def _messages(data: bytes) -> Iterator[bytes]:
    """The messages of a recorded answer, each behind its length."""
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        yield data[4:end]
        data = data[end:]


def _head(answer: Call | Case) -> bytes:
    """The recorded status and headers; the length is that of the chunks."""
    said = {
        name.replace("-", "_"): value
        for name, value in answer.lower_headers.items()
        if name not in ("content-length", "transfer-encoding")
    }
    return head(answer.status, **said, transfer_encoding="chunked")


def _pieces(data: bytes, random: Random) -> Iterator[bytes]:
    while data:
        size = random.randint(1, _MOST)
        yield data[:size]
        data = data[size:]


def _named(conversation: Case) -> str:
    return f"{conversation.case}/{conversation.name}"


def _no_file(name: str) -> str:
    raise FileNotFoundError(name)
