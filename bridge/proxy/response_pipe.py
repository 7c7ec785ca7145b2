"""The path of one upstream call's bytes to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.openai.encoders import ChunkEncoder

if TYPE_CHECKING:
    import asyncio

    from bridge.exchange.exchange import Exchange
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.proxy.client_response import ResponseWriter
    from bridge.telemetry.request_log import RequestRecord

__all__ = ["ResponsePipe"]

_STREAM_TYPE = ChunkEncoder.content_type


class ResponsePipe:
    """Feeds the bytes of one upstream response to the exchange, and writes what results to the client.

    A ByteSink: the connection to the upstream calls `feed` for every network read.

    until_output: the timeout until the first output of a stream; None: there is none.
    """

    __slots__ = ("_streams", "call", "exchange", "record", "response", "tail", "until_output")

    def __init__(
        self, exchange: Exchange, call: UpstreamCall, response: ResponseWriter, record: RequestRecord
    ) -> None:
        self._streams = exchange.is_stream
        self.exchange = exchange
        self.call = call
        self.response = response
        self.record = record
        # Output of the read that completed the response. The pipe holds the tail back, since the session of
        # the conversation is stored before the client can see the end and send its next turn.
        self.tail = b""
        self.until_output: asyncio.Timeout | None = None

    def feed(self, data: bytes) -> bool:
        """Decode bytes from the upstream and write the output. Return whether more are wanted at once."""
        exchange, call = self.exchange, self.call
        output = exchange.feed(call, data)
        if call.done or exchange.error is not None:
            self.tail = output
            return False
        return self.write(output) if output else True

    def note_output(self) -> None:
        """Note that output is written to the client."""
        self.record.first_byte_sent()
        if self.until_output is not None and not self.until_output.expired():
            self.until_output.reschedule(None)
            self.until_output = None

    def write(self, data: bytes) -> bool:
        """Write bytes to the client. Return whether the client accepts more at once."""
        if not data:
            return True
        response = self.response
        if not self._streams:
            response.set_body(200, data)  # a non-streaming response is encoded in one piece
            return True
        if not response.started:
            self.note_output()
        return response.write(data, _STREAM_TYPE)
