"""What can go wrong, by whom: the blame sits in the class.

    ConfigError      the file is wrong; raised at load, with every problem at once
    RequestError     the client's fault: a 4xx
    UpstreamError    the model server's fault: unreachable or garbled 502, timed out 504, refused as mapped

The client's leaving is not an error.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BridgeError", "ConfigError", "RequestError", "UpstreamError", "UpstreamFailure"]


class UpstreamFailure(StrEnum):
    """How an upstream failed: the `kind` label of `bridge_upstream_errors_total`."""

    CONNECT = "connect"  # no connection: refused, unknown host, TLS
    TIMEOUT = "timeout"  # too slow to connect, to begin or to go on
    DISCONNECT = "disconnect"  # closed before its answer was complete
    MALFORMED = "garbled"  # bytes that are not in the promised format
    EMPTY = "empty"  # an answer in which the rule finds nothing to pass on
    REFUSED = "refused"  # the server reported a failure itself
    LIMIT = "limit"  # more than `limits` allow
    TOKEN = "token"  # nothing to show the server: the credential could not be had  # noqa: S105


class ConfigError(Exception):
    """A file of routes that cannot be used. `problems`: printable, in the order of the file."""

    def __init__(self, problems: Sequence[object]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class BridgeError(Exception):
    """An answer that failed: what OpenAI's error envelope needs.

    `status` is the HTTP status for the client, `message` one or more sentences for a person, `type` and
    `code` OpenAI's words for it, `param` the offending member of the request, `retry_after` seconds,
    `headers` more that the answer must carry.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = None,  # noqa: A002
        param: str | None = None,
        code: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type or _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.headers: dict[str, str] = {}

    @property
    def envelope(self) -> dict[str, dict[str, str | None]]:
        """The body of OpenAI's error answers, all four keys always there."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class RequestError(BridgeError):
    """The client asked for something it cannot have."""


class UpstreamError(BridgeError):
    """The model server failed. `kind` says how, for metrics."""

    def __init__(
        self,
        kind: UpstreamFailure,
        message: str,
        *,
        status: int = 502,
        type: str | None = None,  # noqa: A002
        param: str | None = None,
        code: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(
            status,
            message,
            type=type,
            param=param,
            code=code or ("upstream_" + kind if status >= 500 else None),
            retry_after=retry_after,
        )
        self.kind = kind


# OpenAI's `type` by status, as its API reference lists them (July 2025).
_TYPES = {
    401: "invalid_request_error",
    403: "request_forbidden",
    429: "requests",
}
