"""Recorded requests replayed byte by byte, and responses compared with recordings."""

from __future__ import annotations

import asyncio
import re

from yarl import URL

from tests.recordings import SEEDS, Recorded, parse_response, read_response

HEADERS = ("content-type", "transfer-encoding", "cache-control", "x-accel-buffering")
"""Headers that belong to the format, unlike date, server and length."""

VOLATILE = (
    (rb'("created": ?)\d{10}\.\d+', rb"\1CREATED"),
    (rb'("timestamp":)\d{10}\.\d+', rb"\1TIMESTAMP"),
    (rb'("session":)"(?!0{8})[0-9a-f]{8}"', rb'\1"SESSION"'),
    (rb"(?m)^: ping - \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?\+00:00\r$", b": ping - DATE\r"),
)
"""Parts that differ between responses, but whose form is compared."""


async def replay(url: str, name: str, *, session: str | None = None) -> Recorded:
    """Return the response of the server at `url` to a recorded request; `session` replaces the id."""
    request = (SEEDS / f"{name}.req").read_bytes()
    if session:
        request = re.sub(rb'("session": )"(?!0{8})[0-9a-f]{8}"', rb'\1"%b"' % session.encode(), request)
    return parse_response(await exchange(url, request))


async def exchange(url: str, request: bytes) -> bytes:
    """Return everything that a server sends after these bytes, until the connection closes."""
    address = URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def assert_matches_recording(response: Recorded, name: str) -> None:
    """Assert that a response equals the recording, except for volatile parts."""
    recorded = read_response(name)
    assert without_volatile(response.body) == without_volatile(recorded.body)
    assert response.status == recorded.status
    assert {key: response.headers.get(key) for key in HEADERS} == {
        key: recorded.headers.get(key) for key in HEADERS
    }
    assert response.complete == recorded.complete


def without_volatile(body: bytes) -> bytes:
    """Return a body with placeholders for volatile parts."""
    for volatile, name in VOLATILE:
        body = re.sub(volatile, name, body)
    return body
