"""The border at which foreign errors become ours: what aiohttp, the system and TLS raise of an upstream."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from bridge.core.errors import UpstreamError, UpstreamFailure

if TYPE_CHECKING:
    from bridge.routes.rules.settings import TimeoutsSpec

__all__ = ["ProtocolError", "to_upstream_error"]


class ProtocolError(Exception):
    """What came is no answer of HTTP/1.1; `message` says what is wrong with it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def to_upstream_error(error: BaseException, url: str, timeouts: TimeoutsSpec) -> UpstreamError:
    """What was raised, as ours. The URL's path and query may hold secrets."""
    where = urlsplit(url).netloc.rpartition("@")[2]
    match error:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamError(
                UpstreamFailure.TIMEOUT,
                f"no connection to the upstream {where} in {timeouts.connect:g} s",
                status=504,
            )
        case TimeoutError():
            return UpstreamError(
                UpstreamFailure.TIMEOUT, f"the upstream {where} is too slow: {error}", status=504
            )
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError() | ssl.SSLError():
            reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
            return UpstreamError(UpstreamFailure.CONNECT, f"no connection to the upstream {where}: {reason}")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | OSError():
            return UpstreamError(
                UpstreamFailure.DISCONNECT,
                f"the upstream {where} closed the connection before its answer was complete",
            )
        case _:
            return UpstreamError(
                UpstreamFailure.MALFORMED,
                f"the upstream {where} does not speak HTTP: {_reason(error)}",
            )


def _reason(error: BaseException) -> str:
    """What went wrong, without the URL that aiohttp's exceptions write into their texts."""
    message = getattr(error, "message", None)
    return " ".join(str(message or type(error).__name__).split())[:200]
