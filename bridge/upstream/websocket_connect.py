"""The opening handshake of WebSockets: one attempt, at the URL of the route and nowhere else.

aiohttp's `ws_connect` tries a handshake twice, follows redirects with all credentials, and drops the body of
a rejection. A middleware of its session stops it where it would do so.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.routes.rules.proxies import proxy_for
from bridge.upstream.keep_alive import set_tcp_keepalive
from bridge.upstream.response import UpstreamResponse

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.transport import TransportSpec
    from bridge.upstream.errors import NetworkError
    from bridge.upstream.resolver import Resolver
    from bridge.upstream.response import ByteSink
    from bridge.upstream.timeouts import Deadline
    from bridge.upstream.tls import SSLContextCache

    WebSocket = aiohttp.ClientWebSocketResponse[bool]

__all__ = ["HandshakeRejected", "WebSocketConnector"]

_CLOSE_TIMEOUT = 0.5  # seconds for the upstream's part of a close, and for each part of a rejection's body
_MAX_MESSAGE_SIZE = 2**32 - 1  # bytes: aiohttp's reader keeps its limit in 32 bits
_MAX_REJECTION_BODY = 2**20  # bytes


class HandshakeRejected(UpstreamResponse):
    """The HTTP response of an upstream that opened no WebSocket: a status that is no success, and a body."""

    __slots__ = ("_body",)

    def __init__(self, response: ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._body = body

    @property
    def complete(self) -> bool:
        return not self._body

    async def read_into(self, sink: ByteSink) -> None:
        body, self._body = self._body, b""
        if body:
            sink.feed(body)

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109
        """Do nothing: the body is complete."""

    async def close(self) -> None:
        """Do nothing: the connection is closed."""


class WebSocketConnector:
    """Opens WebSockets. They are never shared, so their connections are in no pool."""

    def __init__(self, contexts: SSLContextCache, resolver: Resolver) -> None:
        self._contexts = contexts
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30, force_close=True, resolver=resolver),
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
        self, request: UpstreamRequest, url: str, transport: TransportSpec, deadline: Deadline
    ) -> WebSocket | HandshakeRejected:
        """Return an open WebSocket, or the upstream's rejection. Raise UpstreamError."""
        timeouts = transport.timeouts
        message = f"no WebSocket within {timeouts.connect:g} s (upstream.timeouts.connect)"
        try:
            return await deadline.wait_for(
                timeouts.connect,
                self._connect(request, url, transport),
                message,
                causes=("connect", "timeout"),
            )
        except _UnexpectedResponse as unexpected:
            return await _rejection(unexpected.response, deadline)

    async def _connect(self, request: UpstreamRequest, url: str, transport: TransportSpec) -> WebSocket:
        try:
            target = URL(url, encoded=True)
            address = proxy_for(transport.proxy, url)
        except ValueError as error:
            raise aiohttp.InvalidURL(url) from error
        proxy = URL(address) if address else None
        try:
            websocket = await self._session.ws_connect(
                target,
                headers=request.headers,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_TIMEOUT),
                autoclose=False,
                autoping=False,
                proxy=proxy,
                ssl=self._contexts.get(transport.tls, target, proxy),
                server_hostname=transport.tls.server_name,
                max_msg_size=min(
                    (request.websocket_limit or 0) + 1, _MAX_MESSAGE_SIZE
                ),  # the first size that is rejected
                decode_text=False,
            )
            set_tcp_keepalive(websocket, transport.connections.keepalive)
            return websocket
        except aiohttp.WSServerHandshakeError as error:
            raise _no_websocket(error.message.lower()) from error
        except _ConnectionFailed as failed:
            raise failed.error from failed


class _UnexpectedResponse(Exception):  # noqa: N818 - leaves aiohttp, and is no error of the upstream
    """Stops aiohttp where a handshake has another response than 101."""

    def __init__(self, response: ClientResponse) -> None:
        super().__init__(response.status)
        self.response = response


class _ConnectionFailed(Exception):  # noqa: N818 - carries the error
    """Stops aiohttp where it would try a handshake again."""

    def __init__(self, error: NetworkError) -> None:
        super().__init__(str(error))
        self.error = error


async def _no_retry_no_redirect(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Stop aiohttp where it would try again or follow a redirect."""
    try:
        response = await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _ConnectionFailed(error) from error
    if response.status != 101:
        raise _UnexpectedResponse(response)
    return response


async def _rejection(response: ClientResponse, deadline: Deadline) -> HandshakeRejected:
    """Read the body of a rejection, as far as it arrives. Raise UpstreamError for a status of success."""
    body = b""
    try:
        if 200 <= response.status < 300:
            raise _no_websocket(f"the response has status {response.status}")
        with suppress(UpstreamError):
            while len(body) < _MAX_REJECTION_BODY:
                data = await deadline.wait_for(
                    _CLOSE_TIMEOUT, response.content.readany(), "the body of its rejection did not end"
                )
                if not data:
                    break
                body += data
    finally:
        response.close()
    return HandshakeRejected(response, body)


def _no_websocket(reason: str) -> UpstreamError:
    return UpstreamError(UpstreamFailure.MALFORMED, f"the upstream opened no WebSocket: {reason}")
