"""`python -m bench.stalls`: how long the largest allowed requests hold the event loop, and their memory.

The bridge runs in this process beside a coroutine that wakes every 10 ms. The longest delay of the coroutine
is how long every other client waits. The client and the upstream run in a process of their own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load
from bridge.server.app import ServerSettings, run_server
from bridge.server.listening import bind, socket_url

if TYPE_CHECKING:
    from collections.abc import Callable

TICK = 0.01  # seconds
MIB = 2**20
VALUES = 998_000  # JSON values, below `limits.values`

ROUTES = """
routes:
  - {models: openai, upstream: URL}
  - {models: mapped, upstream: URL, request: {body: {m: $.messages, p: $.last}}, response: $.text}
  - {models: llama2, upstream: URL, prompt: llama2, request: {body: {p: $.prompt}}, response: $.text}
  - models: history
    upstream: URL
    request: {body: {h: $.history, m: {$each: $.turns, merge: role}, s: $.system}}
    response: $.text
  - models: template
    upstream: URL
    prompt: {template: "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\\n{% endfor %}"}
    request: {body: {p: $.prompt}}
    response: $.text
  - models: gemini
    upstream: URL
    tools: gemini
    request: {body: {m: $.messages, t: $.tools}}
    response: $.text
  - models: session
    upstream: URL
    session: {keep: conversation, open: {path: /open, id: $.text}, close: {path: /close}}
    request: {body: {m: $.turns, s: $.session}}
    response: $.text
  - &vectors
    models: vectors
    serves: embeddings
    upstream: URL
    request: {body: {p: $.inputs}}
    response: {embeddings: $.e}
  - {<<: *vectors, models: batches, emulate: {batch: 512}}
"""

Body = dict[str, Any]


class Case(NamedTuple):
    """A request, and the upstream's response to it."""

    body: Callable[[], bytes]
    response: Callable[[], bytes] = lambda: b'{"text":"hi","choices":[{"message":{"content":"hi"}}]}'
    path: str = "/v1/chat/completions"


def chat(model: str, messages: list[Body] | None = None, **members: Any) -> bytes:
    messages = messages or [{"role": "user", "content": "hi"}]
    return json.dumps({"model": model, "messages": messages, **members}, ensure_ascii=False).encode()


def extended(text: str) -> bytes:
    """Return a chat with one more member of this JSON text."""
    return chat("openai")[:-1] + b',"x":' + text.encode() + b"}"


def turns(number: int, size: int) -> list[Body]:
    return [{"role": ("user", "assistant")[at % 2], "content": "x" * size} for at in range(number)]


def one_side(number: int, size: int) -> list[Body]:
    return [{"role": "user", "content": "x" * size}] * number


def photo(size: int) -> list[Body]:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * size}}
    return [*turns(24, 400), {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]


def tools(number: int, members: int) -> list[Body]:
    schema = {"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(members)}}
    return [
        {"type": "function", "function": {"name": f"f{at}", "parameters": schema}} for at in range(number)
    ]


def vectors(number: int, length: int) -> bytes:
    return json.dumps({"e": [[0.0123456] * length] * number}).encode()


def inputs(model: str, number: int) -> bytes:
    return json.dumps({"model": model, "input": ["hi"] * number}).encode()


CASES = {
    "an ordinary chat": Case(lambda: chat("mapped", turns(20, 400))),
    "vision, 4 MB": Case(lambda: chat("openai", photo(4 * MIB), tools=tools(10, 5))),
    "vision, 4 MB, gemini": Case(lambda: chat("gemini", photo(4 * MIB), tools=tools(10, 5))),
    "a string of 30 MiB": Case(lambda: chat("openai", turns(1, 30 * MIB))),
    "a string of 30 MiB, mapped": Case(lambda: chat("mapped", turns(1, 30 * MIB))),
    "a string of 30 MiB, llama2": Case(lambda: chat("llama2", turns(1, 30 * MIB))),
    "15 Mi of é": Case(lambda: chat("mapped", [{"role": "user", "content": "é" * 15 * MIB}])),
    "15 Mi of quotes": Case(lambda: chat("mapped", [{"role": "user", "content": '"' * 15 * MIB}])),
    "empty lists": Case(lambda: extended("[" + "[]," * (VALUES // 2) + "0]")),
    "objects": Case(lambda: extended("[" + '{"a":""},' * (VALUES // 2) + "0]")),
    "names": Case(lambda: extended("{" + ",".join(f'"k{at}":""' for at in range(VALUES)) + "}")),
    "numbers": Case(lambda: extended("[" + "0.25," * VALUES + "0]")),
    "levels": Case(lambda: b"[" * 900_000),
    "invalid JSON": Case(lambda: chat("openai", turns(1, 30 * MIB))[:-1]),
    "10,000 messages, openai": Case(lambda: chat("openai", turns(9_999, 3_000))),
    "10,000 messages, mapped": Case(lambda: chat("mapped", turns(9_999, 3_000))),
    "10,000 messages, llama2": Case(lambda: chat("llama2", turns(9_999, 3_000))),
    "10,000 messages, history": Case(lambda: chat("history", turns(9_999, 3_000))),
    "10,000 messages, one side": Case(lambda: chat("history", one_side(9_999, 3_000))),
    "10,000 messages, template": Case(lambda: chat("template", turns(9_999, 3_000))),
    "10,000 messages, session": Case(lambda: chat("session", turns(9_999, 3_000))),
    "9,999 short messages, gemini": Case(lambda: chat("gemini", turns(9_999, 2))),
    "4,000 messages, 128 KiB": Case(lambda: chat("gemini", turns(3_100, 1))),
    "500 messages, 16 KiB, template": Case(lambda: chat("template", turns(430, 1))),
    "1,024 tools, gemini": Case(lambda: chat("gemini", tools=tools(1_024, 200))),
    "a response of 60 MiB": Case(lambda: chat("mapped"), lambda: b'{"text":"' + b"x" * 60 * MIB + b'"}'),
    "a response of 60 MiB, openai": Case(
        lambda: chat("openai"),
        lambda: b'{"choices":[{"message":{"content":"' + b"x" * 60 * MIB + b'"}}]}',
    ),
    "objects in a response": Case(
        lambda: chat("mapped"), lambda: b'{"text":"x","o":[' + b'{"a":1},' * (4 * VALUES // 2) + b"0]}"
    ),
    "1,900 vectors of 1,536": Case(
        lambda: inputs("vectors", 1_900), lambda: vectors(1_900, 1_536), "/v1/embeddings"
    ),
    "4 calls of 512 vectors": Case(
        lambda: inputs("batches", 2_048), lambda: vectors(512, 1_536), "/v1/embeddings"
    ),
}


def main() -> None:
    """Measure the cases, or act as the client and the upstream of one."""
    if sys.argv[1:2] == ["case"]:
        _run_client(*sys.argv[2:])
    else:
        asyncio.run(_measure(sys.argv[1:] or list(CASES)))


async def _measure(names: list[str]) -> None:
    print("| case | status | stall, ms | took, ms | peak, MiB |\n| --- | --: | --: | --: | --: |")
    for name in names:
        await _measure_case(name)


async def _measure_case(name: str) -> None:
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.stalls", "case", name,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert client.stdin is not None
    assert client.stdout is not None
    url = (await client.stdout.readline()).decode().strip()
    table = load(ROUTES.replace("URL", url), "routes.yaml", LoadEnvironment({}, str, {}))
    front = bind("127.0.0.1:0")
    async with run_server(ServerSettings("routes.yaml", table, front, [], {}, watch=False)):
        ticker = asyncio.ensure_future(_longest_tick(stop := asyncio.Event()))
        before = _reset_peak()
        client.stdin.write(socket_url(front[0]).encode() + b"\n")
        status, took = (await client.stdout.readline()).split()
        stop.set()
        longest = await ticker
    await client.wait()
    print(f"| {name} | {status.decode()} | {longest * 1000:.0f} | {took.decode()} | {_peak() - before:.0f} |")


async def _longest_tick(stop: asyncio.Event) -> float:
    """Return the most processor time that passes while a coroutine sleeps for a tick, again and again.

    Unlike the delay itself, the processor time of this process does not depend on other processes.
    """
    longest, last = 0.0, time.process_time()
    while not stop.is_set():
        await asyncio.sleep(TICK)
        now = time.process_time()
        longest, last = max(longest, now - last), now
    return longest


def _run_client(name: str) -> None:
    """Serve the upstream's response, send the request, and print the status and the time."""
    case = CASES[name]
    response = case.response()

    class Upstream(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            while length:
                length -= len(self.rfile.read(min(length, MIB)))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

        do_GET = do_POST  # noqa: N815 - a name of http.server

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/api", flush=True)
    body = case.body()
    request = Request(sys.stdin.readline().strip() + case.path, body)
    begin = time.perf_counter()
    try:
        with urlopen(request) as answer:
            answer.read()
            status = answer.status
    except HTTPError as error:
        status = error.code
        sys.stderr.write(error.read().decode()[:300] + "\n")
    print(status, f"{(time.perf_counter() - begin) * 1000:.0f}", flush=True)


def _reset_peak() -> float:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float:
    """Return the largest resident memory of this process since the last reset, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
