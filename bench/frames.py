"""The cost of one frame of a stream within the bridge, without sockets.

python -m bench.frames        a table in microseconds: medians of many streams, which are fed frame by frame

`alike`: frames differ only in their texts, so that they match a template (`exchange/decode`). `read`: each
has a counter as well, so that every frame is read. `floor`: the time that the JSON library alone takes to
read the frame and to write a chunk.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import TYPE_CHECKING, Any

import orjson

from bench.proxies import HERE
from bench.upstream import FORMATS, word
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import CHAT
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.routes.rules.route import Route

__all__ = ["main", "measure"]

FRAMES = 200
STREAMS = 60
_SETTLED = 20  # frames before the decoder has its template


def _frames(form: str, *, counter: bool) -> list[bytes]:
    """Return the frames of one stream; with a counter, no two frames are alike."""
    made = [FORMATS[form].frame(word(number), number) for number in range(FRAMES)]
    if not counter:
        return made
    return [frame.replace(b"{", b'{"at":%d,' % number, 1) for number, frame in enumerate(made)]


def _of_stream(route: Route, form: str, frames: list[bytes]) -> float:
    """Return the seconds for each frame of one stream."""
    body: dict[str, Any] = {
        "model": f"{form}-burst",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
    }
    exchange = Exchange(RequestContext(route, CHAT, body, json.dumps(body).encode(), id="0" * 32, now=0.0))
    (call,) = exchange.calls
    exchange.start(call, 200, {})
    for frame in frames[:_SETTLED]:
        exchange.feed(call, frame)
    rest = frames[_SETTLED:]
    began = time.perf_counter()
    for frame in rest:
        exchange.feed(call, frame)
    return (time.perf_counter() - began) / len(rest)


def _floor(frames: list[bytes]) -> float:
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0}],
    }
    datas = [frame.strip(b"\n\0").removeprefix(b"data: ") for frame in frames]
    began = time.perf_counter()
    for data in datas:
        orjson.loads(data)
        orjson.dumps(chunk)
    return (time.perf_counter() - began) / len(datas)


def measure() -> dict[str, tuple[float, float, float]]:
    """Return the seconds of a frame by format: of frames alike, of frames that are read, and the floor."""
    text = (HERE / "routes.yaml").read_text(encoding="utf-8").replace("@UPSTREAM@", "1")
    routes = load(text, "routes.yaml", LoadEnvironment({}, _no_file, {}))
    seconds = {}
    for form in FORMATS:
        route, _ = routes.find(f"{form}-burst", CHAT)
        alike, counted = _frames(form, counter=False), _frames(form, counter=True)
        seconds[form] = (
            _median(lambda: _of_stream(route, form, alike)),  # noqa: B023 - called at once
            _median(lambda: _of_stream(route, form, counted)),  # noqa: B023
            _median(lambda: _floor(counted)),  # noqa: B023
        )
    return seconds


def _median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(STREAMS))


def _no_file(name: str) -> str:
    raise OSError(name)


def main() -> None:
    """Print the table."""
    print("\n### a frame, in process\n\n|  | alike, µs | read, µs | floor, µs |\n| --- | --- | --- | --- |")
    for form, seconds in measure().items():
        print(f"| {form} | {' | '.join(f'{one * 1e6:.1f}' for one in seconds)} |")


if __name__ == "__main__":
    main()
