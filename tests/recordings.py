"""The conversations in `seeds/`: bytes recorded from the servers themselves, HTTP heads and chunks included.

seeds/NAME.req   what the client sent
seeds/NAME.resp  what the server answered, to its end
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["NAMES", "SEEDS", "Recorded", "parse_response", "read_request", "read_response"]

SEEDS = Path(__file__).with_name("seeds")
NAMES = sorted(path.stem for path in SEEDS.glob("*.req"))


class Recorded(NamedTuple):
    """An answer. Header names are in lower case; the body is without its chunk framing.

    `complete` is whether the body came to the end that its head promised.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool


def read_request(name: str) -> tuple[str, str, dict[str, str], bytes]:
    """Method, path, headers (names in lower case) and body of a recorded request."""
    first, headers, body = _parted((SEEDS / f"{name}.req").read_bytes())
    method, path, _ = first.split(" ")
    assert len(body) == int(headers["content-length"])
    return method, path, headers, body


def read_response(name: str) -> Recorded:
    """The recorded answer to the request of that name."""
    return parse_response((SEEDS / f"{name}.resp").read_bytes())


def parse_response(data: bytes) -> Recorded:
    """Read a whole answer, as it came until the connection closed."""
    first, headers, body = _parted(data)
    complete = True
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body, complete = _unchunked(body)
    elif "content-length" in headers:
        complete = len(body) == int(headers["content-length"])
    return Recorded(int(first.split(" ")[1]), headers, body, complete)


def _parted(data: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in fields}, body


def _unchunked(rest: bytes) -> tuple[bytes, bool]:
    """The body of the chunks that are there, and whether the last chunk is among them."""
    body = b""
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            return body, True
        body += rest[:size]
        rest = rest[size + 2 :]
    return body, False
