"""Conversations in `seeds/`: bytes recorded from real servers, HTTP heads and chunk framing included.

seeds/NAME.req   the request
seeds/NAME.resp  the response, to its end
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["NAMES", "SEEDS", "Recorded", "parse_response", "read_request", "read_response"]

SEEDS = Path(__file__).with_name("seeds")
NAMES = sorted(path.stem for path in SEEDS.glob("*.req"))


class Recorded(NamedTuple):
    """A recorded response.

    Attributes:
        status: The status.
        headers: The headers, keyed in lower case.
        body: The body, without chunk framing.
        complete: Whether the body is as long as the head declares.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool


def read_request(name: str) -> tuple[str, str, dict[str, str], bytes]:
    """Return method, path, headers (keyed in lower case) and body of a recorded request."""
    first, headers, body = _split((SEEDS / f"{name}.req").read_bytes())
    method, path, _ = first.split(" ")
    assert len(body) == int(headers["content-length"])
    return method, path, headers, body


def read_response(name: str) -> Recorded:
    """Return the recorded response to the request of this name."""
    return parse_response((SEEDS / f"{name}.resp").read_bytes())


def parse_response(data: bytes) -> Recorded:
    """Parse the bytes of a response, received until the connection closed."""
    first, headers, body = _split(data)
    complete = True
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body, complete = _join_chunks(body)
    elif "content-length" in headers:
        complete = len(body) == int(headers["content-length"])
    return Recorded(int(first.split(" ")[1]), headers, body, complete)


def _split(data: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in fields}, body


def _join_chunks(rest: bytes) -> tuple[bytes, bool]:
    """Return the body of the chunks, and whether the last chunk is present."""
    body = b""
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            return body, True
        body += rest[:size]
        rest = rest[size + 2 :]
    return body, False
