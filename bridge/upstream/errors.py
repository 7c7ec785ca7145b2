"""The border at which foreign errors become ours: what aiohttp, the system and TLS raise of an upstream."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from bridge.core.errors import Kind, UpstreamError

if TYPE_CHECKING:
    from bridge.routes.rules.settings import TimeoutsSpec

__all__ = ["NotHTTPError", "ours"]


class NotHTTPError(Exception):
    """What came is no answer of HTTP/1.1; `message` says what is wrong with it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def ours(error: BaseException, url: str, timeouts: TimeoutsSpec) -> UpstreamError:
    """What was raised, as ours. The URL's path and query may hold secrets."""
    where = urlsplit(url).netloc.rpartition("@")[2]
    match error:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamError(
                Kind.TIMEOUT, f"no connection to the upstream {where} in {timeouts.connect:g} s", status=504
            )
        case TimeoutError():
            return UpstreamError(Kind.TIMEOUT, f"the upstream {where} is too slow: {error}", status=504)
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError() | ssl.SSLError():
            reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
            return UpstreamError(Kind.CONNECT, f"no connection to the upstream {where}: {reason}")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | OSError():
            return UpstreamError(
                Kind.DISCONNECT, f"the upstream {where} closed the connection before its answer was complete"
            )
        case _:
            return UpstreamError(
                Kind.GARBLED,
                f"the upstream {where} does not speak HTTP: {_reason(error)}",
            )


def _reason(error: BaseException) -> str:
    """What went wrong, without the URL that aiohttp's exceptions write into their texts."""
    message = getattr(error, "message", None)
    return " ".join(str(message or type(error).__name__).split())[:200]
