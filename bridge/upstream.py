"""Connections to model servers: requests out, bytes in, and the border where foreign errors become ours.

    async with upstream.send(request, transport) as response:    UpstreamError, of what kind ever
        response.status, response.headers
        async for data in response: …                            whatever has arrived, as it arrives

aiohttp's client bounds neither a head that does not come nor a body that stalls, and waits for ever on
some broken chunks though the server has closed. So every wait here has a limit of our own.
"""

from __future__ import annotations

import asyncio
import io
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from bridge.errors import Kind, UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bridge.routes.route import UpstreamRequest
    from bridge.routes.spec.transport import TimeoutsSpec, TLSSpec, TransportSpec

__all__ = ["Response", "Upstream"]

_TICK = 1.0  # seconds between two looks at a stalled connection
_LARGE = 2**20  # aiohttp warns of larger bodies that come as bytes


class Upstream:
    """All connections to all servers, pooled by host."""

    def __init__(self) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30),
            cookie_jar=aiohttp.DummyCookieJar(),  # one client's cookies are none of another's business
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=["User-Agent"],
            headers={"User-Agent": "bridge"},
            trace_configs=[trace],
        )
        self._contexts: dict[TLSSpec, ssl.SSLContext | bool] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    @asynccontextmanager
    async def send(
        self, request: UpstreamRequest, transport: TransportSpec, *, replica: int = 0
    ) -> AsyncIterator[Response]:
        """Send a request and give its answer, whose connection is closed unless it was read to its end.

        Raises UpstreamError: no connection, no head in time, no HTTP.
        """
        url = request.urls[replica % len(request.urls)]
        context: dict[str, bool] = {}
        try:
            response = await self._head(request, url, transport, context)
            if response is None:
                # The server closed an idle connection just as this request went out on it. Nothing of the
                # answer was seen, so a new connection is tried at once.
                response = await self._head(request, url, transport, {"fresh": True})
            assert response is not None
        except UpstreamError:
            raise
        except Exception as error:
            raise _ours(error, url, transport.timeouts) from error
        try:
            yield Response(response, transport.timeouts, url)
        finally:
            response.close() if not response.content.at_eof() else response.release()

    async def fetch(
        self, request: UpstreamRequest, transport: TransportSpec, limit: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The whole answer of a small call: status, headers, body. Raises UpstreamError."""
        async with self.send(request, transport) as response:
            body = b""
            async for data in response:
                body += data
                if len(body) > limit:
                    raise UpstreamError(Kind.LIMIT, f"the upstream's answer is over {limit} bytes")
            return response.status, response.headers, body

    async def _head(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, context: dict[str, bool]
    ) -> aiohttp.ClientResponse | None:
        """Send and wait for the head; None where a reused connection turned out to be closed."""
        timeouts = transport.timeouts
        body = request.body
        try:
            async with asyncio.timeout(timeouts.connect + timeouts.first_byte):
                return await self._session.request(
                    request.method,
                    URL(url, encoded=True),
                    data=io.BytesIO(body) if body is not None and len(body) >= _LARGE else body,
                    headers=request.headers,
                    allow_redirects=False,
                    proxy=transport.proxy,
                    ssl=self._tls(transport.tls),
                    server_hostname=transport.tls.server_name,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect),
                    trace_request_ctx=context,
                )
        except (aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
            if context.get("reused") and not _answered(error):
                return None
            raise

    def _tls(self, spec: TLSSpec) -> ssl.SSLContext | bool:
        """How a certificate is checked. Made once for each way, since that reads files."""
        if spec not in self._contexts:
            self._contexts[spec] = _make_context(spec)
        return self._contexts[spec]


class Response:
    """An answer that is arriving."""

    __slots__ = ("_idle", "_response", "_timeouts", "_url", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, timeouts: TimeoutsSpec, url: str) -> None:
        self._response = response
        self._timeouts = timeouts
        self._url = url
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises UpstreamError where it stalls or breaks."""
        content = self._response.content
        watch = _Watch(self._response, self._timeouts)
        try:
            while True:
                data = await content.readany()
                if not data:
                    return
                watch.touch()
                yield data
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _ours(error, self._url, self._timeouts) from error
        finally:
            watch.stop()

    async def drain(self, seconds: float) -> None:
        """Read what little may be left, so that the connection can be used again."""
        try:
            async with asyncio.timeout(seconds):
                while await self._response.content.readany():
                    pass
        except (aiohttp.ClientError, OSError, TimeoutError):
            return


class _Watch:
    """Ends a read that waits too long, or for a connection that is gone.

    One timer a second for each answer, and nothing but a clock reading for each piece of it.
    """

    __slots__ = ("_begun", "_gone", "_handle", "_latest", "_loop", "_response", "_timeouts")

    def __init__(self, response: aiohttp.ClientResponse, timeouts: TimeoutsSpec) -> None:
        self._response = response
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._begun = self._latest = self._loop.time()
        self._gone = False
        self._handle = self._loop.call_later(min(_TICK, timeouts.idle), self._look)

    def touch(self) -> None:
        """Something has arrived."""
        self._latest = self._loop.time()

    def stop(self) -> None:
        """The answer is over."""
        self._handle.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        timeouts = self._timeouts
        content = self._response.content
        if content.at_eof() or content.exception() is not None:
            return
        if now - self._latest >= timeouts.idle:
            content.set_exception(TimeoutError(f"nothing arrived for {timeouts.idle:g} s"))
        elif timeouts.total is not None and now - self._begun >= timeouts.total:
            content.set_exception(TimeoutError(f"the answer took more than {timeouts.total:g} s"))
        elif self._gone:
            content.set_exception(aiohttp.ClientPayloadError("the connection is gone"))
        else:
            connection = self._response.connection
            # Seen twice, since what has arrived before the end may still be on its way to the reader.
            self._gone = (
                connection is None or connection.transport is None or connection.transport.is_closing()
            )
            left = self._latest + timeouts.idle - now
            self._handle = self._loop.call_later(max(min(_TICK, left), 0.001), self._look)


async def _note_reuse(session: Any, context: Any, parameters: Any) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx["reused"] = True


def _answered(error: BaseException) -> bool:
    """Whether part of an answer had come when the server closed."""
    message = getattr(error, "message", None)
    return message is not None and not isinstance(message, str)


def _make_context(spec: TLSSpec) -> ssl.SSLContext | bool:
    if not spec.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif spec.ca is None and spec.cert is None:
        return True
    else:
        context = ssl.create_default_context(cafile=spec.ca)
    if spec.cert is not None:
        context.load_cert_chain(spec.cert, spec.private_key)
    return context


def _ours(error: BaseException, url: str, timeouts: TimeoutsSpec) -> UpstreamError:
    """The one place where foreign exceptions become ours. The URL's path and query may hold secrets."""
    where = urlsplit(url).netloc.rpartition("@")[2]
    match error:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamError(
                Kind.TIMEOUT, f"no connection to the upstream {where} in {timeouts.connect:g} s", status=504
            )
        case TimeoutError():
            said = str(error) or f"no answer began in {timeouts.first_byte:g} s"
            return UpstreamError(Kind.TIMEOUT, f"the upstream {where} is too slow: {said}", status=504)
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
                f"the upstream {where} does not speak HTTP: {type(error).__name__}: {error}"[:300],
            )
