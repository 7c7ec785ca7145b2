"""The one place where exceptions of aiohttp, TLS and the operating system become UpstreamErrors.

Code at the network catches `NETWORK_ERRORS` and nothing broader. Any other exception is a fault of the
bridge, which ends the request as an internal error that is logged, and never blames the upstream.
"""

from __future__ import annotations

import errno
import ssl
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import aiohttp

from bridge.core.errors import UpstreamError, UpstreamFailure

if TYPE_CHECKING:
    from bridge.routes.rules.transport import TimeoutsSpec

__all__ = [
    "NETWORK_ERRORS",
    "NetworkError",
    "ProtocolError",
    "out_of_descriptors",
    "tls_closed",
    "to_upstream_error",
]


class ProtocolError(Exception):
    """An upstream response that is not valid HTTP/1.1."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


# TimeoutError and ssl.SSLError are OSErrors. UnicodeError comes from the lookup of a host name that IDNA
# cannot encode, such as one with a label of over 63 characters.
NETWORK_ERRORS = (aiohttp.ClientError, OSError, ProtocolError, UnicodeError)
NetworkError: TypeAlias = aiohttp.ClientError | OSError | ProtocolError | UnicodeError


def to_upstream_error(error: NetworkError, url: str, timeouts: TimeoutsSpec) -> UpstreamError:
    """Return a network error as an UpstreamError.

    The text names the upstream by host and port alone, since path, query and user may hold secrets.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    match error:
        case aiohttp.ConnectionTimeoutError():
            message = f"no connection to the upstream {host} within {timeouts.connect:g} s"
            # Nothing was sent: in `retry.on`, that is the same as a refused connection.
            return UpstreamError(UpstreamFailure.TIMEOUT, message, status=504, causes=("connect", "timeout"))
        case TimeoutError():
            message = f"the upstream {host} is too slow: {error}"
            return UpstreamError(UpstreamFailure.TIMEOUT, message, status=504)
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError() | ssl.SSLError():
            reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
            return UpstreamError(UpstreamFailure.CONNECT, f"no connection to the upstream {host}: {reason}")
        case aiohttp.InvalidURL() | UnicodeError():
            message = f"no connection to the upstream {host}: the host or port of its URL is invalid"
            return UpstreamError(UpstreamFailure.CONNECT, message)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | OSError():
            message = f"the upstream {host} closed the connection before its response was complete"
            causes = ("disconnect", "reset") if isinstance(error, ConnectionResetError) else ()
            return UpstreamError(UpstreamFailure.DISCONNECT, message, causes=causes)
        case _:
            message = f"the upstream {host} sent invalid HTTP: {_reason(error)}"
            return UpstreamError(UpstreamFailure.MALFORMED, message)


def tls_closed(error: ssl.SSLError, url: str) -> UpstreamError:
    """Return the error for a TLS connection that ended after its handshake.

    With TLS 1.3, a server rejects the bridge's certificate only then.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    reason = (error.reason or str(error)).replace("_", " ").lower()
    message = f"the upstream {host} closed the connection before its response was complete: {reason}"
    return UpstreamError(UpstreamFailure.DISCONNECT, message)


def out_of_descriptors(error: BaseException) -> bool:
    """Return whether the bridge, or the system, has no descriptor left for a connection."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def _reason(error: Exception) -> str:
    """Return the reason of an error without the URL that aiohttp writes into the texts of its exceptions."""
    message = getattr(error, "message", None)
    return " ".join(str(message or type(error).__name__).split())[:200]
