"""Carries an exchange out: its calls to the upstream, their bytes to the client, and what is told of it.

Upstream to client there is no queue: what arrives is fed and written within one call of the event loop, and
while the client is slow nothing is read. When it leaves the handler is cancelled, and with it the upstream's
request; only the call that closes a session still goes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.core.errors import BridgeError, UpstreamError
from bridge.exchange.exchange import Exchange
from bridge.openai.encoders import ChunkEncoder
from bridge.proxy.callout_runner import CalloutRunner
from bridge.proxy.client_response import ResponseWriter
from bridge.proxy.concurrency import ConcurrencyLimiter
from bridge.proxy.dispatch import Dispatcher
from bridge.routes.rules.route import header_safe
from bridge.sessions.pool import SessionPool
from bridge.telemetry.logging import log
from bridge.telemetry.request_log import RequestLog

if TYPE_CHECKING:
    from bridge.exchange.commands import FetchedResponse
    from bridge.exchange.request_context import RequestContext
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.route import Route
    from bridge.telemetry.metrics import Metrics
    from bridge.telemetry.request_log import RequestRecord
    from bridge.upstream.client import UpstreamClient

__all__ = ["Forwarder", "log_internal_error"]

R = TypeVar("R", bound=ResponseWriter)

_MAX_PARALLEL_CALLS = 8  # calls of one client's request: a list of inputs must not be a flood
_TRAILER_TIMEOUT = 0.2  # seconds for the end of a stream behind its last word


class Forwarder:
    """Carries exchanges out."""

    def __init__(self, upstream: UpstreamClient, metrics: Metrics) -> None:
        self._metrics = metrics
        self.accounts = RequestLog(metrics)
        self._gates: dict[str, ConcurrencyLimiter] = {}
        self._sender = Dispatcher(upstream, metrics)
        self._sessions = SessionPool(upstream, metrics)
        self._calls = CalloutRunner(self._sender, self._sessions, metrics)
        self._running: set[asyncio.Task[Any]] = set()
        self._interrupted = False

    async def forward(self, context: RequestContext, reply: R) -> R:
        """Answer one request on its route."""
        route = context.route
        account = self.accounts.start(
            self._metrics.series(route.name, context.endpoint, context.model), reply.id
        )
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)  # while an exchange is carried, it can be interrupted
        gate: ConcurrencyLimiter | None = None
        try:
            exchange = Exchange(context)
            account.exchange = exchange
            reply.add_header("X-Bridge-Route", route.header_name)
            if exchange.dropped:
                reply.add_header("X-Bridge-Dropped", ", ".join(map(header_safe, exchange.dropped)))
            if route.limits.concurrency:
                entered = self._gate(route)
                if not entered.try_acquire():
                    await entered.acquire()
                gate = entered
            flows = [_ResponsePipe(exchange, leg, reply, account) for leg in exchange.legs]
            if len(flows) == 1:
                await self._run(flows[0])
            else:
                await self._run_several(exchange, flows)
            return _finish(exchange, reply, account)
        except BridgeError as error:
            account.finish(error, error.status)
            return reply.set_error(error)
        except asyncio.CancelledError:
            if not self._interrupted:
                account.client_disconnected()
                raise
            return self._abort_response(account, reply)
        except ConnectionResetError:
            account.client_disconnected()
            raise
        except Exception as error:
            fault = log_internal_error(error)
            account.finish(fault, 500)
            if reply.started:  # that it ends here is all that can still be said
                raise ConnectionAbortedError from error
            return reply.set_error(fault)
        finally:
            if gate is not None:
                gate.release()
            self._running.discard(task)
            account.release()

    def abort_all(self) -> None:
        """End every exchange: the time for those in flight at shutdown is over."""
        self._interrupted = True
        for task in self._running:
            task.cancel()

    def _abort_response(self, account: RequestRecord, reply: R) -> R:
        """The honest end of an exchange that was interrupted."""
        error = BridgeError(503, "the bridge is shutting down", code="shutting_down")
        exchange = account.exchange
        out = exchange.abort(error) if exchange else b""
        account.finish(error, reply.status or error.status)
        if not reply.status or exchange is None:
            return reply.set_error(error)
        return reply.write_eof(out)

    async def close(self) -> None:
        """Wait for the calls that are still to be made, close what was kept, tell what is left to tell."""
        await self._calls.finish()
        await self._sessions.close()
        self.accounts.flush()

    async def _run_several(self, exchange: Exchange, flows: list[_ResponsePipe]) -> None:
        """A few calls at once; the first that fails ends the others."""
        waiting = iter(flows)

        async def run() -> None:
            for flow in waiting:
                await self._run(flow)
                if exchange.error is not None:
                    return

        tasks = [asyncio.ensure_future(run()) for _ in flows[:_MAX_PARALLEL_CALLS]]
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

    async def _run(self, flow: _ResponsePipe) -> None:
        """One call and what surrounds it."""
        exchange, leg = flow.exchange, flow.leg
        try:
            if leg.callouts is not None and await self._calls.before(
                leg, partial(self._deliver_polled, flow)
            ):
                await self._write_to_client(flow, exchange.close(leg))
                return
            response = await self._sender.dispatch(leg, leg.request())
            try:
                exchange.start(leg, response.status, response.headers)
                while not await response.pump(flow.feed) and not exchange.finished(leg):
                    await flow.reply.drain()
                await self._write_to_client(flow, flow.rest + exchange.close(leg))
                if exchange.is_stream and len(exchange.legs) == 1 and leg.fully_read:
                    _finish(exchange, flow.reply, flow.account)  # the client need not wait for what follows
                    await response.drain(_TRAILER_TIMEOUT)
            finally:
                await response.close()
        except UpstreamError as error:
            flow.put(exchange.connection_lost(leg, error))
        finally:
            if leg.callouts is not None:
                self._calls.after(leg)

    async def _deliver_polled(self, flow: _ResponsePipe, heard: FetchedResponse) -> None:
        """Read what was polled, or the next piece of it."""
        exchange, leg = flow.exchange, flow.leg
        if not leg.answering.started:
            exchange.start(leg, heard.status, heard.headers)
        await self._write_to_client(flow, exchange.feed(leg, heard.body))

    async def _write_to_client(self, flow: _ResponsePipe, out: bytes) -> None:
        """Bytes for the client. Its end may bring the next turn: what that looks for is kept before."""
        if flow.leg.callouts is not None and flow.exchange.finished(flow.leg):
            await self._calls.keep(flow.leg)
        if not flow.put(out):
            await flow.reply.drain()

    def _gate(self, route: Route) -> ConcurrencyLimiter:
        gate = self._gates.get(route.name)
        if gate is None or gate.limits is not route.limits:
            gate = self._gates[route.name] = ConcurrencyLimiter(route.limits)
        return gate


class _ResponsePipe:
    """What arrives of one call's answer, on its way to the client. `rest`: what its end brought."""

    __slots__ = ("_streams", "account", "exchange", "leg", "reply", "rest")

    def __init__(
        self, exchange: Exchange, leg: UpstreamCall, reply: ResponseWriter, account: RequestRecord
    ) -> None:
        self._streams = exchange.is_stream
        self.exchange = exchange
        self.leg = leg
        self.reply = reply
        self.account = account
        self.rest = b""

    def feed(self, data: bytes) -> bool:
        """Some has arrived; whether more is wanted at once."""
        exchange, leg = self.exchange, self.leg
        out = exchange.feed(leg, data)
        if leg.done or exchange.error is not None:
            self.rest = out
            return False
        return self.put(out) if out else True

    def put(self, data: bytes) -> bool:
        """Bytes for the client; whether it takes more at once."""
        if not data:
            return True
        if not self._streams:
            self.reply.set_body(200, data)  # they come all at once
            return True
        if not self.reply.status:
            self.account.first_byte_sent()
        return self.reply.write(data, ChunkEncoder.content_type)


def _finish(exchange: Exchange, reply: R, account: RequestRecord) -> R:
    """The reply is over, and told of."""
    if exchange.is_stream and reply.status:
        reply.write_eof()
    elif exchange.error is not None:
        reply.set_error(exchange.error)
    account.finish(exchange.error, reply.status)
    return reply


def log_internal_error(error: Exception) -> BridgeError:
    """A fault of our own: told to the log whole, to the client in words that hold nothing of it."""
    log("internal error", 40, error=f"{type(error).__name__}: {error}"[:500])
    return BridgeError(500, "the bridge failed to carry this request out", code="internal_error")
