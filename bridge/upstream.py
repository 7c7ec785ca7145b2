"""Connections to model servers: requests out, bytes in, and the border where foreign errors become ours.

    async with upstream.send(request, transport) as response:    UpstreamError, of what kind ever
        response.status, response.headers
        async for data in response: …                            whatever has arrived, as it arrives

Every wait has a limit of our own: see `patience`.
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
from bridge.patience import Sending, Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bridge.routes.route import UpstreamRequest
    from bridge.routes.spec.transport import TimeoutsSpec, TLSSpec, TransportSpec

__all__ = ["Response", "Upstream"]

_LARGE = 2**20  # aiohttp warns of larger bodies that come as bytes


class Upstream:
    """All connections to all servers, pooled by host."""

    def __init__(self) -> None:
        self._session = _make_session(aiohttp.TCPConnector(limit=0, ttl_dns_cache=30))
        self._unpooled = _make_session(aiohttp.TCPConnector(limit=0, ttl_dns_cache=30, force_close=True))
        self._contexts: dict[TLSSpec, ssl.SSLContext | bool] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
        await self._unpooled.close()

    @asynccontextmanager
    async def send(
        self, request: UpstreamRequest, transport: TransportSpec, *, replica: int = 0
    ) -> AsyncIterator[Response]:
        """Send a request and give its answer, whose connection is closed unless it was read to its end.

        Raises UpstreamError: no connection, no head in time, no HTTP.
        """
        url = request.urls[replica % len(request.urls)]
        begun = asyncio.get_running_loop().time()
        try:
            response = await self._head(self._session, request, url, transport, begun)
            if response is None:
                # The server closed an idle connection just as this request went out on it. Nothing of the
                # answer was seen, so a new connection is tried at once: another idle one may be as dead.
                response = await self._head(self._unpooled, request, url, transport, begun)
            assert response is not None
        except UpstreamError:
            raise
        except Exception as error:
            raise _ours(error, url, transport.timeouts) from error
        try:
            yield Response(response, transport.timeouts, url, begun)
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
        self,
        session: aiohttp.ClientSession,
        request: UpstreamRequest,
        url: str,
        transport: TransportSpec,
        begun: float,
    ) -> aiohttp.ClientResponse | None:
        """Send and wait for the head; None where a reused connection turned out to be closed."""
        timeouts = transport.timeouts
        body = request.body
        sending = Sending(timeouts, begun)
        try:
            async with sending.timer:
                return await session.request(
                    request.method,
                    URL(url, encoded=True),
                    data=io.BytesIO(body) if body is not None and len(body) >= _LARGE else body,
                    headers=request.headers,
                    allow_redirects=False,
                    proxy=transport.proxy,
                    ssl=self._tls(transport.tls),
                    server_hostname=transport.tls.server_name,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect),
                    trace_request_ctx=sending,
                )
        except (aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
            if sending.reused and not _answered(error):
                return None
            raise
        except TimeoutError as error:
            if sending.timer.expired():
                raise TimeoutError(sending.complaint()) from error
            raise
        finally:
            sending.over = True

    def _tls(self, spec: TLSSpec) -> ssl.SSLContext | bool:
        """How a certificate is checked. Made once for each way, since that reads files."""
        if spec not in self._contexts:
            self._contexts[spec] = _make_context(spec)
        return self._contexts[spec]


class Response:
    """An answer that is arriving."""

    __slots__ = ("_begun", "_response", "_timeouts", "_url", "headers", "status")

    def __init__(
        self, response: aiohttp.ClientResponse, timeouts: TimeoutsSpec, url: str, begun: float
    ) -> None:
        self._response = response
        self._timeouts = timeouts
        self._url = url
        self._begun = begun
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises UpstreamError where it stalls or breaks."""
        content = self._response.content
        watch = Watch(self._response, self._timeouts, self._begun)
        try:
            while True:
                watch.waits()
                data = await content.readany()
                watch.rests()
                if not data:
                    return
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


def _make_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    trace.on_connection_create_end.append(_note_progress)
    trace.on_request_chunk_sent.append(_note_progress)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),  # one client's cookies are none of another's business
        timeout=aiohttp.ClientTimeout(total=None),
        skip_auto_headers=["User-Agent"],
        headers={"User-Agent": "bridge"},
        trace_configs=[trace],
    )


async def _note_reuse(session: Any, context: Any, parameters: Any) -> None:
    context.trace_request_ctx.reused = True
    context.trace_request_ctx.goes_on()


async def _note_progress(session: Any, context: Any, parameters: Any) -> None:
    context.trace_request_ctx.goes_on()


def _answered(error: BaseException) -> bool:
    """Whether part of an answer had come when the server closed.

    aiohttp then gives what it had parsed of the head as the error's message, and a text otherwise.
    """
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


def _reason(error: BaseException) -> str:
    """What went wrong, without the URL that aiohttp's exceptions write into their texts."""
    message = getattr(error, "message", None)
    return " ".join(str(message or type(error).__name__).split())[:200]


def _ours(error: BaseException, url: str, timeouts: TimeoutsSpec) -> UpstreamError:
    """The one place where foreign exceptions become ours. The URL's path and query may hold secrets."""
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
