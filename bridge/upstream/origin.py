"""An origin: the scheme, host and port of upstream URLs, with the TLS settings and proxy of their route."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp.client_reqrep import ClientRequest
from yarl import URL

from bridge.core.headers import RequestHeaders
from bridge.routes.rules.proxies import proxy_for

if TYPE_CHECKING:
    from bridge.routes.rules.transport import TransportSpec
    from bridge.upstream.http_connection import HTTPConnection
    from bridge.upstream.tls import SSLContextCache

__all__ = ["Origin", "connector_key"]


def connector_key(url: URL, transport: TransportSpec, contexts: SSLContextCache) -> ClientRequest:
    """Return the description of a connection for aiohttp's connector. Raise ValueError and UpstreamError.

    `TCPConnector.connect` reads URL, TLS context, server name, proxy and the proxy's credentials from a
    ClientRequest. No request is sent with that object. Its constructor is no public interface: in aiohttp
    3.14 all arguments but method and URL have defaults, in aiohttp's main branch 21 are required. Therefore
    pyproject.toml admits 3.14 only, and tests/upstream/test_aiohttp_connector.py checks the constructor.
    """
    address = proxy_for(transport.proxy, str(url))
    proxy = URL(address) if address else None
    return ClientRequest(
        "POST",
        url,
        loop=asyncio.get_running_loop(),
        ssl=contexts.get(transport.tls, url, proxy),
        proxy=proxy,
        server_hostname=transport.tls.server_name,
    )


class Origin:
    """A scheme, host and port, with the idle connections to it."""

    __slots__ = ("_default_headers", "idle", "key", "needs_absolute_target")

    def __init__(self, key: ClientRequest) -> None:
        self.key = key
        self.idle: list[HTTPConnection] = []  # the last one was used most recently
        # A proxy of plain HTTP reads the upstream's origin from the request line (RFC 9112, 3.2.2).
        self.needs_absolute_target = key.proxy is not None and key.url.scheme == "http"
        headers = {"Host": key.headers["Host"], "User-Agent": "bridge"}
        if credentials := key.headers.get("Authorization"):  # of a URL such as http://user:password@host
            headers["Authorization"] = credentials
        self._default_headers = RequestHeaders(headers)

    @property
    def default_headers(self) -> RequestHeaders:
        """The headers of requests that do not set them."""
        # The connector writes the proxy's credentials to the key when it connects.
        if self.needs_absolute_target and (credentials := self.key.headers.get("Proxy-Authorization")):
            return RequestHeaders({**self._default_headers, "Proxy-Authorization": credentials})
        return self._default_headers
