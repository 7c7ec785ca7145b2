"""A client's request over the network: its upstream calls, and their bytes to the client.

There is no queue between upstream and client: arriving bytes are decoded and written within one call of the
event loop, and while the client is slow nothing is read from the upstream. When the client disconnects, the
server cancels the request's task and with it the upstream call; callouts that cancel or close still go out.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.core.errors import BridgeError, UpstreamError, UpstreamFailure
from bridge.core.json_bounds import MAX_INLINE
from bridge.exchange.exchange import Exchange
from bridge.proxy.callout_runner import CalloutRunner
from bridge.proxy.client_response import ResponseWriter
from bridge.proxy.concurrency import ConcurrencyLimiter, WorkerShare
from bridge.proxy.dispatch import Dispatcher
from bridge.proxy.fallback import BRIDGE_DROPPED, BRIDGE_ROUTE, fallback_context
from bridge.proxy.keepalive import Keepalive
from bridge.proxy.outcomes import fail, finish, shut_down
from bridge.proxy.response_pipe import ResponsePipe
from bridge.routes.rules.route import header_safe
from bridge.sessions.pool import SessionPool
from bridge.telemetry.logging import log
from bridge.telemetry.request_log import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator

    from bridge.exchange.commands import FetchedResponse
    from bridge.exchange.request_context import RequestContext
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.route import Route
    from bridge.telemetry.metrics import Metrics
    from bridge.thread_pool import ThreadPool
    from bridge.upstream.client import UpstreamClient
    from bridge.upstream.response import UpstreamResponse

__all__ = ["Forwarder"]

R = TypeVar("R", bound=ResponseWriter)

_MAX_PARALLEL_CALLS = 8  # upstream calls of one request: a long list of inputs must not flood the upstream
_TRAILER_TIMEOUT = 0.2  # seconds for the end of a stream's connection after the last frame

_MAX_DROPPED_NAMES = 1024  # characters in a header; nginx refuses response heads over 4 KiB


class Forwarder:
    """Forwards requests to their routes' upstreams."""

    def __init__(
        self, upstream: UpstreamClient, metrics: Metrics, share: WorkerShare, threads: ThreadPool
    ) -> None:
        self._metrics = metrics
        self._share = share
        self._threads = threads
        self._limiters: dict[str, ConcurrencyLimiter] = {}  # by the name of the route
        self._dispatcher = Dispatcher(upstream, metrics)
        self._sessions = SessionPool(upstream, metrics)
        self._callouts = CalloutRunner(self._dispatcher, self._sessions, metrics, threads)
        self._running: set[ResponseWriter] = set()  # responses to requests that are being forwarded
        self._shutting_down = False

    async def forward(self, context: RequestContext, response: R) -> R:
        """Answer one request on its route, or on the fallback of the route."""
        record = RequestRecord(
            self._metrics, context.route.name, context.endpoint, context.model, response.id, context.client
        )
        self._running.add(response)
        try:
            while True:
                route = context.route
                if len(context.data) <= route.max_inline:
                    exchange = record.exchange = Exchange(context)
                else:
                    exchange = record.exchange = await self._threads.run(Exchange, context)
                response.add_header(BRIDGE_ROUTE, route.header_name)
                if exchange.dropped:
                    response.add_header(BRIDGE_DROPPED, _dropped_names(exchange.dropped))
                limiter = self._limiters.get(route.name) or self._add_limiter(route)
                if limiter.acquire_at_once() or await _wait_for_slot(limiter, exchange):
                    try:
                        await self._run_calls(exchange, response, record)
                    finally:
                        limiter.release()
                error = exchange.error
                fallback = None if error is None else fallback_context(context, error, response, record)
                if fallback is None:
                    return finish(exchange, response, record)
                context = fallback
        except BaseException as error:
            if self._shutting_down and isinstance(error, asyncio.CancelledError):
                return shut_down(response, record)
            return fail(error, response, record)
        finally:
            self._running.discard(response)
            record.release()

    def abort_all(self) -> None:
        """End every request: the time that a shutdown leaves to running requests is over."""
        self._shutting_down = True
        for response in self._running:
            response.cancel()

    def use_routes(self, routes: Collection[Route]) -> None:
        """Prepare for requests of these routes, those of a table that is loaded."""
        names = {route.name for route in routes}
        self._limiters = {
            name: limiter for name, limiter in self._limiters.items() if name in names or not limiter.is_idle
        }
        for route in routes:
            if route.name in self._limiters:
                self._limiters[route.name].use_route(route, self._share)
            if 0 < route.limits.concurrency < self._share.workers and self._share.number == 0:
                log(
                    "limits.concurrency is below the number of workers, each of which forwards a request",
                    logging.WARNING,
                    route=route.name,
                )
        self._dispatcher.use_routes(routes)

    async def close(self) -> None:
        """Wait for the callouts that are still due, and close the stored sessions."""
        await self._dispatcher.close()
        await self._callouts.close()
        await self._sessions.close()

    def _add_limiter(self, route: Route) -> ConcurrencyLimiter:
        limiter = self._limiters[route.name] = ConcurrencyLimiter(route, self._share, self._metrics)
        return limiter

    # Some methods return the coroutine of another method: each coroutine that waits costs 1,000 instructions.

    def _run_calls(
        self, exchange: Exchange, response: ResponseWriter, record: RequestRecord
    ) -> Coroutine[Any, Any, None]:
        """Run the upstream calls of an exchange. The first call that fails ends the others."""
        if exchange.is_stream and exchange.route.response.sends_comments:
            return self._run_with_comments(exchange, response, record)
        return self._run_pipes(exchange, lambda call: ResponsePipe(exchange, call, response, record))

    async def _run_with_comments(
        self, exchange: Exchange, response: ResponseWriter, record: RequestRecord
    ) -> None:
        with Keepalive(exchange, response, record) as keepalive:
            await self._run_pipes(exchange, keepalive.pipe)

    def _run_pipes(
        self, exchange: Exchange, pipe_of: Callable[[UpstreamCall], ResponsePipe]
    ) -> Coroutine[Any, Any, None]:
        """Run upstream calls, each into its pipe."""
        calls = exchange.calls
        if len(calls) == 1:
            return self._run_call(pipe_of(calls[0]))
        return self._run_in_parallel(exchange, map(pipe_of, calls))

    async def _run_in_parallel(self, exchange: Exchange, queue: Iterator[ResponsePipe]) -> None:
        """Run several calls."""

        async def run_from_queue() -> None:
            for pipe in queue:
                await self._run_call(pipe)
                if exchange.error is not None:
                    return

        tasks = [
            asyncio.ensure_future(run_from_queue())
            for _ in range(min(len(exchange.calls), _MAX_PARALLEL_CALLS))
        ]
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

    async def _run_call(self, pipe: ResponsePipe) -> None:
        """Run one upstream call with the callouts before and after it."""
        exchange, call = pipe.exchange, pipe.call
        try:
            if call.callouts is not None and await self._callouts.run_before(
                call, partial(self._deliver_polled, pipe)
            ):
                await self._end(pipe)
                return
            context = call.builder.context
            if len(context.data) <= context.route.max_inline:
                request = call.request()
            else:
                request = await self._threads.run(call.request)
            upstream_response = await self._dispatcher.dispatch(call, request)
            try:
                if call.plan.first_token is None:
                    await self._relay(upstream_response, pipe)
                else:
                    await self._relay_in_time(upstream_response, pipe, call.sent_at + call.plan.first_token)
            finally:
                await upstream_response.close()
        except UpstreamError as error:
            pipe.write(exchange.connection_lost(call, error))
        finally:
            if call.callouts is not None:
                self._callouts.start_after(call)

    async def _relay(self, upstream_response: UpstreamResponse, pipe: ResponsePipe) -> None:
        """Relay an upstream response to the client. Raise UpstreamError."""
        exchange, call = pipe.exchange, pipe.call
        exchange.start(call, upstream_response.status, upstream_response.headers)
        await upstream_response.read_into(pipe)
        while not (upstream_response.complete or exchange.finished(call)):
            await pipe.response.drain()
            await upstream_response.read_into(pipe)
        await self._end(pipe)
        if exchange.is_stream and len(exchange.calls) == 1 and call.fully_read:
            finish(exchange, pipe.response, pipe.record)  # before the client would wait for the trailer
            await upstream_response.drain(_TRAILER_TIMEOUT)

    async def _relay_in_time(
        self, upstream_response: UpstreamResponse, pipe: ResponsePipe, end: float
    ) -> None:
        """Relay a response whose first output must arrive before `end` (`timeouts.first_token`)."""
        timeout = pipe.until_output = asyncio.timeout_at(end)
        try:
            async with timeout:
                await self._relay(upstream_response, pipe)
        except TimeoutError:
            if not timeout.expired():
                raise
            upstream_response.note_failure()
            message = (
                f"the upstream is too slow: no output within {pipe.call.plan.first_token:g} s "
                "(upstream.timeouts.first_token)"
            )
            raise UpstreamError(UpstreamFailure.TIMEOUT, message, status=504) from None
        finally:
            pipe.until_output = None

    async def _end(self, pipe: ResponsePipe) -> None:
        """Decode the end of a response's body, and write the result to the client."""
        exchange, call = pipe.exchange, pipe.call
        if exchange.received(call) <= MAX_INLINE:
            data = exchange.close(call)
        elif len(exchange.calls) == 1:
            data = await self._threads.run(exchange.close, call)
        else:
            # The other calls of the exchange go on meanwhile: only the decoder is this call's own.
            data = exchange.close(call, await self._threads.run(call.decoder.close))
        if call.callouts is not None:
            await self._write(pipe, pipe.tail + data)
        elif not pipe.write(pipe.tail + data):
            await pipe.response.drain()

    async def _deliver_polled(self, pipe: ResponsePipe, polled: FetchedResponse) -> None:
        """Relay a polled response, or the next part of one."""
        exchange, call = pipe.exchange, pipe.call
        if not call.decoder.started:
            exchange.start(call, polled.status, polled.headers)
        await self._write(pipe, exchange.feed(call, polled.body))

    async def _write(self, pipe: ResponsePipe, data: bytes) -> None:
        """Write bytes to the client, after the session is stored that the client's next turn may need."""
        if pipe.call.callouts is not None and pipe.exchange.finished(pipe.call):
            await self._callouts.store_session(pipe.call)
        if not pipe.write(data):
            await pipe.response.drain()


async def _wait_for_slot(limiter: ConcurrencyLimiter, exchange: Exchange) -> bool:
    """Wait for a slot. Return False, after ending the exchange, if there is none in time."""
    try:
        await limiter.acquire()
    except BridgeError as error:
        exchange.abort(error)
        return False
    return True


def _dropped_names(names: tuple[str, ...]) -> str:
    """Return the names of dropped parameters for a header, cut short where a client sends many."""
    listed = ", ".join([header_safe(name[:_MAX_DROPPED_NAMES]) for name in names[:_MAX_DROPPED_NAMES]])
    return listed if len(listed) <= _MAX_DROPPED_NAMES else listed[:_MAX_DROPPED_NAMES] + "..."
