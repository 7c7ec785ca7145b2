"""Comments in a client's stream while the upstream is silent (`stream.keepalive`).

Proxies and load balancers close connections on which nothing is sent for 30 to 60 seconds. The head of the
response is sent with the first comment, so a later failure is an event of the stream, not a status.

    keepalive: 15s      a comment at the latest 15 s after the last bytes, whatever the upstream's framing
    keepalive: pass     a comment whenever the upstream sends an SSE comment
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from bridge.openai.encoders import ChunkEncoder
from bridge.proxy.response_pipe import ResponsePipe

if TYPE_CHECKING:
    from bridge.exchange.exchange import Exchange
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.proxy.client_response import ResponseWriter
    from bridge.telemetry.request_log import RequestRecord

__all__ = ["Keepalive"]

_SILENT_CHECKS = 2  # checks without output since a comment, after which the next comment is due


class Keepalive:
    """The comments of one response, as a context manager that runs the timer.

    The timer checks twice in each interval, since a timer for each chunk would cost more than the chunk.

    Attributes:
        wrote: Whether output was written since the last check.
    """

    def __init__(self, exchange: Exchange, response: ResponseWriter, record: RequestRecord) -> None:
        self._exchange = exchange
        self._response = response
        self._record = record
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._checks_left = _SILENT_CHECKS
        self.wrote = False

    def __enter__(self) -> Self:
        self._schedule()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def pipe(self, call: UpstreamCall) -> ResponsePipe:
        """Return the pipe of an upstream call's bytes to the client."""
        return _KeepalivePipe(self, self._exchange, call, self._response, self._record)

    def write_comment(self) -> None:
        """Write a comment, unless the response has ended or the client is slow to read."""
        if self._exchange.ended or self._response.writing_paused:
            return
        with suppress(ConnectionError):  # the client has disconnected, which ends the request
            self._response.write(self._exchange.keep_alive(), ChunkEncoder.content_type)

    def _schedule(self) -> None:
        interval = self._exchange.route.response.keepalive
        if interval is not None:
            self._timer = self._loop.call_later(interval / _SILENT_CHECKS, self._check)

    def _check(self) -> None:
        if self.wrote:
            self.wrote = False
            self._checks_left = 1
        else:
            self._checks_left -= 1
        if self._checks_left == 0:
            self._checks_left = _SILENT_CHECKS
            self.write_comment()
        self._schedule()


class _KeepalivePipe(ResponsePipe):
    """A pipe that reports output, and comments of the upstream, to a `Keepalive`."""

    __slots__ = ("_at_line_start", "_forwards_comments", "_keepalive")

    def __init__(
        self,
        keepalive: Keepalive,
        exchange: Exchange,
        call: UpstreamCall,
        response: ResponseWriter,
        record: RequestRecord,
    ) -> None:
        super().__init__(exchange, call, response, record)
        self._keepalive = keepalive
        self._forwards_comments = exchange.route.response.forwards_comments
        self._at_line_start = True

    def feed(self, data: bytes) -> bool:
        wants_more = super().feed(data)
        if self._forwards_comments and self.call.decoder.succeeded:
            if (self._at_line_start and data.startswith(b":")) or b"\n:" in data or b"\r:" in data:
                self._keepalive.write_comment()
            self._at_line_start = data.endswith((b"\n", b"\r"))
        return wants_more

    def write(self, data: bytes) -> bool:
        if data:
            self._keepalive.wrote = True
            if self.exchange.started:  # the pipe would take a comment for the first output
                self.note_output()
        return super().write(data)
