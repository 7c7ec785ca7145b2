"""What has to be done around an answer, step by step, for whoever can do I/O.

Send a request ─▶ Heard        Find a kept session ─▶ Kept or None
Wait so many seconds           Take an answer: it is the client's
Keep a session for the next turn
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.routes.rules.request_template import UpstreamRequest

__all__ = [
    "AcquireSession",
    "Command",
    "DeliverResponse",
    "FetchedResponse",
    "ReleaseSession",
    "SendRequest",
    "Sleep",
    "StoredSession",
]


class FetchedResponse(NamedTuple):
    """The whole answer of a call; `headers` are keyed in lower case, `at` is in seconds of a steady clock."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    at: float


class StoredSession(NamedTuple):
    """A session that a server keeps. `members`: those of the request document that closing it looks at."""

    id: Any
    replica: int
    members: Mapping[str, Any]


class SendRequest(NamedTuple):
    """Send a request, whose answer has at most so many bytes.

    `begins`: the server may begin something for it that has to be ended, so its answer is awaited even when
    nobody wants it any more.
    """

    request: UpstreamRequest
    limit: int
    begins: bool = False


class Sleep(NamedTuple):
    """Let some time pass."""

    seconds: float


class DeliverResponse(NamedTuple):
    """Read this as the answer, or as the next piece of it."""

    heard: FetchedResponse


class AcquireSession(NamedTuple):
    """Take the session that is kept under a key, so that nobody else can."""

    key: str


class ReleaseSession(NamedTuple):
    """Keep a session under a key."""

    key: str
    session: StoredSession


Command = SendRequest | Sleep | DeliverResponse | AcquireSession
