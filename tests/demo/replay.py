"""Send recorded requests to a demo server, byte for byte, and hold its answers against the records."""

from __future__ import annotations

import asyncio
import re

from yarl import URL

from tests.recordings import SEEDS, Recorded, parse_response, read_response

HEADERS = ("content-type", "transfer-encoding", "cache-control", "x-accel-buffering")
"""What of a head belongs to the format. The rest (date, server, length) is of the day and the library."""

VOLATILE = (
    (rb'("created": ?)\d{10}\.\d+', rb"\1CREATED"),
    (rb'("timestamp":)\d{10}\.\d+', rb"\1TIMESTAMP"),
    (rb'("session":)"(?!0{8})[0-9a-f]{8}"', rb'\1"SESSION"'),
    (rb"(?m)^: ping - \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?\+00:00\r$", b": ping - DATE\r"),
)
"""What changes from one answer to the next; the form of it is held to all the same."""


async def replay(url: str, name: str, *, session: str | None = None) -> Recorded:
    """What the server at `url` answers to a recorded request, `session` in place of the recorded one."""
    request = (SEEDS / f"{name}.req").read_bytes()
    if session:
        request = re.sub(rb'("session": )"(?!0{8})[0-9a-f]{8}"', rb'\1"%b"' % session.encode(), request)
    return parse_response(await exchange(url, request))


async def exchange(url: str, request: bytes) -> bytes:
    """Everything a server answers to these bytes, until it closes."""
    at = URL(url)
    reader, writer = await asyncio.open_connection(at.host, at.port)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def assert_matches_recording(answer: Recorded, name: str) -> None:
    """Assert that an answer is the recorded one, in all that is not volatile."""
    recorded = read_response(name)
    assert without_volatile(answer.body) == without_volatile(recorded.body)
    assert answer.status == recorded.status
    assert {key: answer.headers.get(key) for key in HEADERS} == {
        key: recorded.headers.get(key) for key in HEADERS
    }
    assert answer.complete == recorded.complete


def without_volatile(body: bytes) -> bytes:
    """A body, with names in place of what changes."""
    for volatile, name in VOLATILE:
        body = re.sub(volatile, name, body)
    return body
