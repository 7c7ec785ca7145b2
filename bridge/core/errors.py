"""Exceptions by who is to blame.

    ConfigError      the file of routes is invalid; raised at load, with every problem at once
    RequestError     the client's request is at fault: a 4xx
    UpstreamError    the upstream failed: 502, 504 for a timeout, or as the route maps an error

A client that disconnects is not an error.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["BridgeError", "ConfigError", "RequestError", "TLSFileError", "UpstreamError", "UpstreamFailure"]


class UpstreamFailure(StrEnum):
    """The kinds of upstream failures: the `kind` label of `bridge_upstream_errors_total`."""

    CONNECT = "connect"  # no connection: refused, unknown host, TLS
    TIMEOUT = "timeout"  # too slow to connect, to begin or to continue the response
    DISCONNECT = "disconnect"  # the connection closed before the response was complete
    MALFORMED = "garbled"  # the bytes are not in the declared format
    EMPTY = "empty"  # the rules find no output in the response
    REFUSED = "refused"  # the upstream reported an error
    LIMIT = "limit"  # the response exceeds `limits`
    TOKEN = "token"  # no credential for the upstream could be obtained  # noqa: S105


class ConfigError(Exception):
    """An invalid file of routes."""

    def __init__(self, problems: Sequence[object], warnings: Sequence[object] = ()) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)  # printable, in the order of the file
        self.warnings = tuple(warnings)


class TLSFileError(ValueError):
    """A certificate file that cannot be used; `key` is the key below `tls` at fault."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class BridgeError(Exception):
    """A request that failed, with the contents of OpenAI's error envelope."""

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
        self.status = status  # of the response to the client
        self.message = message  # for the client
        self.reason = message  # for the log: without content of requests and responses
        self.type = type or _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        self.param = param  # the member of the request at fault
        self.code = code
        self.retry_after = retry_after  # seconds, or an HTTP date
        self.upstream = ""  # host and port of the server that failed
        self.headers: dict[str, str] = {}  # further headers of the response
        self.more: Mapping[str, Any] = {}  # further members of the envelope, of an upstream's own error

    def mask(self, mask: Callable[[str], str]) -> None:
        """Replace every text of the error by what `mask` returns for the text."""
        self.message = mask(self.message)
        self.reason = mask(self.reason)
        self.type = mask(self.type)
        self.param, self.code, self.retry_after = (
            None if text is None else mask(text) for text in (self.param, self.code, self.retry_after)
        )
        self.more = _masked(self.more, mask)

    @property
    def envelope(self) -> dict[str, dict[str, Any]]:
        """Return the body of an error response, in which OpenAI's clients expect all four keys."""
        members = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": {**members, **self.more}}


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    """Return a JSON value with every text replaced by what `mask` returns for the text."""
    match value:
        case str():
            return mask(value)
        case list():
            return [_masked(item, mask) for item in value]
        case dict():
            return {mask(name): _masked(item, mask) for name, item in value.items()}
    return value


class RequestError(BridgeError):
    """A request that the bridge rejects."""


class UpstreamError(BridgeError):
    """A failure of the upstream."""

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
        causes: tuple[str, ...] = (),
        reason: str | None = None,
    ) -> None:
        """Make an error. `reason` is the message for the log, if `message` contains text of the upstream."""
        super().__init__(
            status,
            message,
            type=type,
            param=param,
            code=code or ("upstream_" + kind if status >= 500 else None),
            retry_after=retry_after,
        )
        self.kind = kind
        self.reason = message if reason is None else reason
        self.causes = causes or (str(kind),)  # by which `upstream.retry.on` names the failure


# OpenAI's `type` by status, as its API reference lists them (July 2025).
_TYPES = {
    401: "invalid_request_error",
    403: "request_forbidden",
    429: "requests",
}
