"""Commands of callouts, for the caller that does I/O, and the results that the caller sends back.

SendRequest      ─▶ FetchedResponse          AcquireSession ─▶ StoredSession, or None
Sleep            ─▶ None                     ReleaseSession ─▶ None
DeliverResponse  ─▶ None
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
    """The complete response to a callout."""

    status: int
    headers: Mapping[str, str]  # keyed in lower case
    body: bytes
    at: float  # seconds of a monotonic clock


class StoredSession(NamedTuple):
    """An upstream's session that is kept between turns."""

    id: Any
    replica: int  # that holds the session
    members: Mapping[str, Any]  # of the request document, which the request that closes the session reads


class SendRequest(NamedTuple):
    """Send a request, and return the response."""

    request: UpstreamRequest
    limit: int  # bytes of the response's body
    begins: bool = False  # the response must be awaited even if the client disconnects: the upstream may
    #                       begin something that has to be ended


class Sleep(NamedTuple):
    """Wait."""

    seconds: float


class DeliverResponse(NamedTuple):
    """Read a response as the client's, or as the next part of the client's stream."""

    response: FetchedResponse


class AcquireSession(NamedTuple):
    """Take the session that is stored under a key, so that no other request can take the session."""

    key: str


class ReleaseSession(NamedTuple):
    """Store a session under a key."""

    key: str
    session: StoredSession


Command = SendRequest | Sleep | DeliverResponse | AcquireSession
"""The commands before and during a response."""
