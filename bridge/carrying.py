"""Carries an exchange out: its calls to the upstream, their bytes to the client, and what is told of it.

Upstream to client there is no queue: read, feed, await write is back-pressure. When the client leaves the
handler is cancelled, and with it the upstream's request; only the call that closes a session still goes.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bridge.errors import BridgeError, Kind, RequestError, UpstreamError
from bridge.exchange.exchange import Exchange
from bridge.logs import log
from bridge.metrics import Observed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from bridge.exchange.legs import Leg
    from bridge.metrics import Metrics
    from bridge.openai.endpoints import Endpoint
    from bridge.replying import Reply
    from bridge.routes.route import Route, UpstreamRequest
    from bridge.upstream import Response, Upstream

__all__ = ["Carrier"]

_SMALL = 2**20  # bytes of the answer of a call beside the main one
_LEFT_OVER = 0.2  # seconds for the end of a stream behind its last word


class Carrier:
    """Carries exchanges out."""

    def __init__(self, upstream: Upstream, metrics: Metrics) -> None:
        self._upstream = upstream
        self._metrics = metrics
        self._turn = 0
        self._gates: dict[str, _Gate] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def carry(
        self,
        route: Route,
        endpoint: Endpoint,
        body: dict[str, Any],
        data: bytes,
        reply: Reply,
        *,
        model: str,
        authorization: str | None,
    ) -> web.StreamResponse:
        """Answer one request on its route; `model` is the table's word for what the client asked for."""
        account = _Account(route, endpoint, model, reply, self._metrics)
        try:
            exchange = Exchange(
                route, endpoint, body, data, id=uuid4().hex, now=time.time(), authorization=authorization
            )
            account.exchange = exchange
            reply.headers["X-Bridge-Route"] = _printable(route.name)
            if exchange.dropped:
                reply.headers["X-Bridge-Dropped"] = ", ".join(map(_printable, exchange.dropped))
            async with self._gate(route).place():
                response = await self._run(exchange, reply, account)
            account.over(exchange.error)
            return response
        except BridgeError as error:
            account.over(error, status=error.status)
            return await reply.failed(error)
        except (asyncio.CancelledError, ConnectionResetError):
            account.left()
            raise
        except Exception as error:
            account.over(_broken(error), status=500)
            if reply.status:
                raise
            return await reply.failed(_broken(error))
        finally:
            account.close()

    async def close(self) -> None:
        """Wait for the calls that close sessions."""
        if self._closing:
            await asyncio.wait(self._closing)

    async def _run(self, exchange: Exchange, reply: Reply, account: _Account) -> web.StreamResponse:
        sink = _Sink(exchange, reply, account)
        match exchange.legs:
            case (leg,):
                await self._run_leg(exchange, leg, sink)
            case legs:
                await self._run_legs(exchange, legs, sink)
        return await sink.end()

    async def _run_legs(self, exchange: Exchange, legs: tuple[Leg, ...], sink: _Sink) -> None:
        """All calls at once; the first that fails ends the others."""
        tasks = [asyncio.ensure_future(self._run_leg(exchange, leg, sink)) for leg in legs]
        try:
            pending: set[asyncio.Future[None]] = set(tasks)
            while pending and exchange.error is None:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_leg(self, exchange: Exchange, leg: Leg, sink: _Sink) -> None:
        transport, limits = exchange.route.transport, exchange.route.limits
        try:
            if opening := leg.opening():
                leg.opened(*await self._upstream.fetch(opening, transport, min(limits.answer, _SMALL)))
            async with self._sent(exchange.route, leg.request()) as response:
                exchange.start(leg, response.status, response.headers)
                async for data in response:
                    out = exchange.feed(leg, data)
                    if out:
                        await sink.write(out)
                    if exchange.finished(leg):
                        break
                await sink.write(exchange.close(leg))
                if exchange.streams and len(exchange.legs) == 1 and leg.whole_read:
                    await sink.end()  # the client need not wait for what follows
                    await response.drain(_LEFT_OVER)
        except UpstreamError as error:
            await sink.write(exchange.cut(leg, error))
        finally:
            if closing := leg.closing():
                self._close_session(closing, exchange.route)

    @asynccontextmanager
    async def _sent(self, route: Route, request: UpstreamRequest) -> AsyncIterator[Response]:
        """The answer of the first replica that gives one worth having, as `retry` says."""
        async with AsyncExitStack() as stack:
            yield await self._chosen(route, request, stack)

    async def _chosen(self, route: Route, request: UpstreamRequest, stack: AsyncExitStack) -> Response:
        retry = route.transport.retry
        attempts = retry.attempts if retry else len(request.urls) - 1
        self._turn += 1
        for attempt in range(attempts):
            sent = self._upstream.send(request, route.transport, replica=self._turn + attempt)
            try:
                response = await stack.enter_async_context(sent)
                if retry is None or str(response.status) not in retry.on:
                    return response
                await stack.aclose()
            except UpstreamError as error:
                if error.kind not in (retry.on if retry else (Kind.CONNECT,)):
                    raise
                self._metrics.failed(route.name, error.kind)
            if retry is not None:
                await asyncio.sleep(retry.backoff * 2**attempt)
        sent = self._upstream.send(request, route.transport, replica=self._turn + attempts)
        return await stack.enter_async_context(sent)

    def _close_session(self, closing: UpstreamRequest, route: Route) -> None:
        """Send the call that closes a session, whatever becomes of the request that opened it."""

        async def send() -> None:
            try:
                status, _, _ = await self._upstream.fetch(closing, route.transport, _SMALL)
                if status >= 400:
                    log("session not closed", 30, route=route.name, status=status)
            except UpstreamError as error:
                self._metrics.failed(route.name, error.kind)
                log("session not closed", 30, route=route.name, error=error.message)

        task = asyncio.ensure_future(send())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _gate(self, route: Route) -> _Gate:
        gate = self._gates.get(route.name)
        if gate is None or gate.limits is not route.limits:
            gate = self._gates[route.name] = _Gate(route)
        return gate


class _Gate:
    """Lets so many requests of a route through at once, and so many wait."""

    def __init__(self, route: Route) -> None:
        self.limits = route.limits
        self._free = asyncio.Semaphore(route.limits.concurrency)
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among those let through. Raises RequestError (429) when too many wait already."""
        if not self.limits.concurrency:
            yield
            return
        if self._free.locked() and self._waiting >= self.limits.queue:
            raise RequestError(
                429,
                "too many requests are waiting for this model",
                code="rate_limit_exceeded",
                retry_after="1",
            )
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()


class _Sink:
    """Where the bytes of an exchange go: on at once, or into one body."""

    def __init__(self, exchange: Exchange, reply: Reply, account: _Account) -> None:
        self._exchange = exchange
        self._reply = reply
        self._account = account
        self._body = b""
        self._response: web.StreamResponse | None = None

    async def write(self, data: bytes) -> None:
        """Bytes for the client."""
        if not data:
            return
        self._account.output()
        if self._exchange.streams:
            await self._reply.write(data, self._exchange.content_type)
        else:
            self._body += data

    async def end(self) -> web.StreamResponse:
        """The reply is over, once."""
        if self._response is None:
            exchange, reply = self._exchange, self._reply
            if exchange.streams and reply.status:
                self._response = await reply.end()
            elif exchange.error is not None:
                self._response = await reply.failed(exchange.error)
            else:
                self._response = await reply.whole(200, self._body, exchange.content_type)
        return self._response


class _Account:
    """What is told of one request: metrics and a log line."""

    def __init__(self, route: Route, endpoint: Endpoint, model: str, reply: Reply, metrics: Metrics) -> None:
        self._route = route
        self._endpoint = endpoint
        self._model = model
        self._reply = reply
        self._metrics = metrics
        self._begun = time.perf_counter()
        self._first: float | None = None
        self.exchange: Exchange | None = None
        metrics.began(route.name)

    def output(self) -> None:
        """Bytes are about to leave for the client."""
        if self._first is None:
            self._first = time.perf_counter() - self._begun

    def over(self, error: BridgeError | None, *, status: int | None = None) -> None:
        """The reply is over."""
        kind = ""
        if isinstance(error, UpstreamError):
            kind = str(error.kind)
            self._metrics.failed(self._route.name, kind)
        elif error is not None:
            kind = str(error.status)
        self._tell(status or self._reply.status or 200, kind, error)

    def left(self) -> None:
        """The client left before it was."""
        self._metrics.left(self._route.name)
        self._tell(499, "client_disconnect", None)

    def close(self) -> None:
        """In any case."""
        self._metrics.ended(self._route.name)

    def _tell(self, status: int, kind: str, error: BridgeError | None) -> None:
        exchange, duration = self.exchange, time.perf_counter() - self._begun
        usage = exchange.usage if exchange else None
        dropped = exchange.dropped if exchange else ()
        streams = bool(exchange and exchange.streams)
        self._metrics.dropped(self._route.name, dropped)
        self._metrics.observe(
            Observed(
                route=self._route.name,
                endpoint=self._endpoint.name,
                operation=self._endpoint.operation,
                model=self._model,
                code=status,
                error=kind,
                duration=duration,
                first=self._first if streams else None,
                usage=usage,
            )
        )
        log(
            "request",
            id=self._reply.id,
            route=self._route.name,
            endpoint=self._endpoint.name,
            status=status,
            stream=streams,
            ms=round(duration * 1000, 1),
            first_ms=round(self._first * 1000, 1) if self._first is not None and streams else None,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            dropped=len(dropped) or None,
            error=kind or None,
            code=error.code if error else None,
        )


def _broken(error: Exception) -> BridgeError:
    """A fault of our own: told to the log whole, to the client in words that hold nothing of it."""
    log("internal error", 40, error=f"{type(error).__name__}: {error}"[:500])
    return BridgeError(500, "the bridge failed to carry this request out", code="internal_error")


def _printable(text: str) -> str:
    """A name as a header takes it."""
    return text.encode("ascii", "backslashreplace").decode().replace("\r", " ").replace("\n", " ")
