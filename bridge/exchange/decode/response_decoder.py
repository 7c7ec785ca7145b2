"""The decoder of one upstream response: bytes in, deltas out, however the network cut the bytes.

    start(status, headers) ─▶ feed(data)* ─▶ close(), or cut(error)

The decoder never raises: deltas before a fault are returned, and `error` is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.decode.body_decoder import MAX_ERROR_BODY, BodyDecoder
from bridge.exchange.decode.stream_decoder import StreamDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.deltas import Delta
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.exchange.decode.response_reader import ResponseReader
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["ResponseDecoder"]


class ResponseDecoder:
    """The decoder of one response, streaming or not, successful or not."""

    __slots__ = (
        "_body",  # decodes the body
        "_bytes_left",  # of the body that are decoded
        "_options",
        "_plan",
        "error",  # the failure of the response
        "finished",  # nothing more need be read from the upstream
        "started",  # the head of the response has arrived
        "succeeded",  # the status is 2xx
    )

    def __init__(self, plan: EndpointPlan, options: ReadOptions, reader: ResponseReader) -> None:
        self._plan = plan
        self._options = options
        self._body: BodyDecoder | StreamDecoder = BodyDecoder(plan, reader, 0, {})  # until `start`
        self._bytes_left = plan.route.limits.answer
        self.succeeded = True
        self.started = False
        self.finished = False
        self.error: UpstreamError | None = None

    @property
    def reader(self) -> ResponseReader:
        """Return the reader of the response, which a response of another kind than requested replaces."""
        return self._body.reader

    @property
    def received(self) -> int:
        """Return the number of bytes of a successful response so far."""
        return self._plan.route.limits.answer - self._bytes_left if self.succeeded else 0

    @property
    def session(self) -> Any:
        """Return the id of the upstream's session that the response contains, or MISSING."""
        return self._body.session

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Prepare for the body of a response. `headers` are keyed in lower case."""
        self.started = True
        plan, reader, rule = self._plan, self._body.reader, self._plan.stream_rule
        self.succeeded = 200 <= status < 300
        if not self.succeeded:
            self._bytes_left = MAX_ERROR_BODY
        if self.succeeded and rule is not None:
            self._body = StreamDecoder(plan, rule, self._options, reader, headers)
        else:
            self._body = BodyDecoder(plan, reader, status, headers)

    def feed(self, data: bytes) -> list[Delta]:
        """Return the deltas of a part of the body."""
        if self.finished:
            return []
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            return self._feed_end(data)
        return self._decode(data)

    def close(self) -> list[Delta]:
        """Return the deltas that the end of the body completes."""
        if self.finished:
            return []
        deltas = self._decode(None)
        self.finished = True
        return deltas

    def cut(self, error: UpstreamError) -> list[Delta]:
        """Set the failure of a connection that ended before the body. Return the output that was held."""
        return [] if self.finished else self._fail(error)

    def _feed_end(self, data: bytes) -> list[Delta]:
        """Return the deltas of the data up to the limit, where a successful response fails."""
        # The part within the limit counts, so that the output does not depend on how bytes were cut.
        deltas = self._decode(data[: self._bytes_left])
        self._bytes_left = 0
        if self.succeeded and not self.finished:
            message = (
                f"the upstream's response is over {self._plan.route.limits.answer} bytes (limits.answer)"
            )
            deltas += self._fail(UpstreamError(UpstreamFailure.LIMIT, message))
        return deltas

    def _fail(self, error: UpstreamError) -> list[Delta]:
        self.error = error
        self.finished = True
        return self._body.reader.release()

    def _decode(self, data: bytes | None) -> list[Delta]:
        """Return the deltas of a part of the body, or of its end (None), up to the first failure."""
        deltas: list[Delta] = []
        body = self._body
        framer = body.framer
        try:
            for frame in framer.close() if data is None else framer.feed(data):
                deltas += body.decode(frame)
                if body.finished:
                    break
            else:
                if data is None:
                    deltas += body.end()
            if body.finished:
                self.finished = True
                self.error = body.error
        except UpstreamError as error:
            deltas += self._fail(error)
        except (RecursionError, ValueError):
            message = "the upstream sent JSON that is nested too deeply"
            deltas += self._fail(UpstreamError(UpstreamFailure.MALFORMED, message))
        return deltas
