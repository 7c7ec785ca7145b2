"""Opens websockets: one handshake, at the route's URL and nowhere else.

    await handshakes.shake(request, transport, waiting)  ─▶  a websocket, or the Refusal that came instead

What aiohttp would do by itself is the route's to say: it tries a handshake twice, follows a redirect with all
its keys, and drops the reason of a refusal.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from yarl import URL

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.upstream.errors import to_upstream_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.settings import TransportSpec
    from bridge.upstream.timeouts import Deadline
    from bridge.upstream.tls import SSLContextCache

    WebSocket = aiohttp.ClientWebSocketResponse[bool]

__all__ = ["HandshakeRejected", "WebSocketConnector"]

_CLOSING = 0.5  # seconds for the server's part in closing, and for the rest of a refusal
_MOST = 2**32 - 1  # bytes of a message: aiohttp's reader keeps its limit in 32 bits
_MAX_REJECTION_BODY = 2**20  # bytes


class HandshakeRejected(NamedTuple):
    """What the server said instead of opening a websocket: a status that is no success, and why."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class WebSocketConnector:
    """Shakes hands. Websockets are never shared, so their connections are in no pool."""

    def __init__(self, contexts: SSLContextCache) -> None:
        self._contexts = contexts
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=["User-Agent"],
            headers={"User-Agent": "bridge"},
            middlewares=(_no_retry_no_redirect,),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def connect(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, waiting: Deadline
    ) -> WebSocket | HandshakeRejected:
        """A websocket, or what the server said instead. Raises UpstreamError."""
        timeouts = transport.timeouts
        late = f"no websocket in {timeouts.connect:g} s (upstream.timeouts.connect)"
        try:
            return await waiting.wait_for(timeouts.connect, self._connect(request, url, transport), late)
        except _Refused as refused:
            return await _refusal(refused.response, waiting)
        except aiohttp.WSServerHandshakeError as error:
            message = f"the upstream opened no websocket: {error.message.lower()}"
            raise UpstreamError(UpstreamFailure.MALFORMED, message) from error
        except UpstreamError:
            raise
        except Exception as error:
            raise to_upstream_error(
                error.error if isinstance(error, _Failed) else error, url, timeouts
            ) from error

    async def _connect(self, request: UpstreamRequest, url: str, transport: TransportSpec) -> WebSocket:
        target = URL(url, encoded=True)
        proxy = URL(transport.proxy) if transport.proxy else None
        return await self._session.ws_connect(
            target,
            headers=request.headers,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSING),
            autoclose=False,
            autoping=False,
            proxy=proxy,
            ssl=self._contexts.get(transport.tls, target, proxy),
            server_hostname=transport.tls.server_name,
            max_msg_size=min((request.websocket_limit or 0) + 1, _MOST),  # the first size that is refused
            decode_text=False,
        )


class _Refused(Exception):  # noqa: N818 - an answer like any other
    """The server gave another answer than a websocket."""

    def __init__(self, response: ClientResponse) -> None:
        super().__init__(response.status)
        self.response = response


class _Failed(Exception):  # noqa: N818 - it has the error
    """The connection failed by this."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


async def _no_retry_no_redirect(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Stop at what aiohttp would try again or follow."""
    try:
        response = await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Failed(error) from error
    if response.status != 101:
        raise _Refused(response)
    return response


async def _refusal(response: ClientResponse, waiting: Deadline) -> HandshakeRejected:
    """Read why, as far as it comes: the status is what counts. Raises UpstreamError where it is a success."""
    said = b""
    try:
        if 200 <= response.status < 300:
            message = f"the upstream opened no websocket but answered {response.status}"
            raise UpstreamError(UpstreamFailure.MALFORMED, message)
        with suppress(UpstreamError):
            while len(said) < _MAX_REJECTION_BODY:
                reading = response.content.readany()
                data = await waiting.wait_for(_CLOSING, reading, "its refusal did not end")
                if not data:
                    break
                said += data
    finally:
        response.close()
    return HandshakeRejected(response.status, response.headers, said)
