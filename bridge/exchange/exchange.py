"""One client's request and its reply, without I/O: what the handlers of floor 3 carry out.

    exchange = Exchange(context)                           raises RequestError
    for call in exchange.calls:                              one upstream call each, most often one
        call.around.before() ─▶ steps                       its session, calls ahead of it, polling
        call.request() ─▶ send ─▶ exchange.start(call, …)
        exchange.feed(call, data) ─▶ bytes for the client
        exchange.close(call)      ─▶ bytes                  or cut(call, error), where the connection failed
        call.around.after() ─▶ steps                        on every way out

`error` is set when it failed. While nothing has been written (`started`) the client can still be given
the error's own HTTP status; later the honest end was among the bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridge.core.deltas import add_usages
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.decode.completion_fast_path import CompletionFastPath, PassthroughFastPath
from bridge.exchange.decode.completion_passthrough import PassthroughEncoder
from bridge.exchange.decode.stream_passthrough import ChunkPassthrough, PassthroughStreamEncoder
from bridge.exchange.endpoints import EXCHANGE_PARTS, EndpointPassthrough
from bridge.exchange.split_calls import split_calls
from bridge.exchange.upstream_call import UpstreamCall
from bridge.openai.response_encoder import ResponseInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.deltas import Delta, Usage
    from bridge.core.errors import BridgeError
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.exchange.request_context import RequestContext
    from bridge.openai.response_encoder import ResponseEncoder

__all__ = ["Exchange"]


class Exchange:
    """One request on one route."""

    __slots__ = (
        "_completion_fast_path",
        "_head",
        "_reply",
        "_unsettled",
        "calls",
        "dropped",
        "endpoint",
        "error",
        "is_stream",
        "route",
    )  # fmt: skip

    def __init__(self, context: RequestContext) -> None:
        route, endpoint, body = context.route, context.endpoint, context.body
        plan = route.plans[endpoint.name, body.get("stream") is True]
        builders, self.dropped = split_calls(plan, body, context.data, context.now, context.authorization)
        self.route = route
        self.endpoint = endpoint
        self.is_stream = plan.client_streams
        self.error: BridgeError | None = None
        self.calls = tuple([UpstreamCall(builder, context.id, context.conversation) for builder in builders])
        self._unsettled = len(builders)
        self._reply: ResponseEncoder | None = None
        named, counts = endpoint.id_prefix + context.id, "stream_options" in body and _counts(body)
        self._head = ResponseInfo(endpoint, named, int(context.now), body["model"], "assistant", counts, body)
        self._completion_fast_path: CompletionFastPath | None = None
        if len(builders) == 1:  # what goes among other answers is read delta by delta
            (call,) = self.calls
            if plan.passthrough and not (call.local_stop_strings or call.keeps_session):
                call.passing = self._passing
            if plan.fast_rule is not None and not call.local_stop_strings:
                self._completion_fast_path = (
                    PassthroughFastPath if plan.passthrough else CompletionFastPath
                )(plan, plan.fast_rule)

    @property
    def started(self) -> bool:
        """Whether bytes of a good answer were given."""
        return self._reply is not None and self._reply.started

    @property
    def usage(self) -> Usage | None:
        """The token counts of all calls; None where no server told any."""
        if self._completion_fast_path is not None:
            return self._completion_fast_path.usage
        if len(self.calls) == 1:
            return self.calls[0].decoder.reader.usage
        counts = [usage for call in self.calls if (usage := call.decoder.reader.usage) is not None]
        return add_usages(counts) if counts else None

    def start(self, call: UpstreamCall, status: int, headers: Mapping[str, str]) -> None:
        """The head of an answer has come; `headers` are keyed in lower case."""
        if self._completion_fast_path is not None:
            if self._completion_fast_path.start(status, headers):
                return
            self._completion_fast_path = None
        call.decoder.start(status, headers)

    def feed(self, call: UpstreamCall, data: bytes) -> bytes:
        """Some of an answer's body has come: what the client gets of it."""
        if self._completion_fast_path is not None:
            return (
                b""
                if self._completion_fast_path.feed(data)
                else self._fall_back(call, self._completion_fast_path)
            )
        deltas = call.decoder.feed(data)
        return self._emit(call, deltas) if deltas or call.decoder.finished else b""

    def close(self, call: UpstreamCall) -> bytes:
        """An answer's body is over."""
        out = b""
        if self._completion_fast_path is not None:
            completion = self._completion_fast_path.complete(self._head)
            if completion is not None:
                call.done = True
                return completion
            out = self._fall_back(call, self._completion_fast_path)
        return out + self._emit(call, call.decoder.close())

    def connection_lost(self, call: UpstreamCall, error: UpstreamError) -> bytes:
        """An answer's connection failed, or could not be made."""
        self._completion_fast_path = None
        call.decoder.cut(error)
        return self._emit(call, [])

    def abort(self, error: BridgeError) -> bytes:
        """The bridge itself ends the exchange: the honest end of a reply that has begun."""
        self.error = error
        return self._reply.fail(error) if self._reply is not None and self._reply.started else b""

    def finished(self, call: UpstreamCall) -> bool:
        """Whether nothing more of this call's answer need be read."""
        return self.error is not None or (self._completion_fast_path is None and call.decoder.finished)

    def _fall_back(self, call: UpstreamCall, shortcut: CompletionFastPath) -> bytes:
        """What has come of an answer is no plain text: it is read by all the rules."""
        self._completion_fast_path = None
        return self._emit(call, call.decoder.feed(shortcut.replay(call.decoder)))

    def _passing(self, options: ReadOptions) -> ChunkPassthrough | EndpointPassthrough:
        """What passes an OpenAI-speaking server's answer on."""
        plan = self.calls[0].plan
        if plan.stream_rule is not None:
            return ChunkPassthrough(plan.stream_rule.slots, options, self._head)
        assert plan.route.response.non_streaming is not None
        return EXCHANGE_PARTS[self.endpoint.name].passthrough(
            plan.route.response.non_streaming, options, self._head
        )

    def _emit(self, call: UpstreamCall, deltas: list[Delta]) -> bytes:
        """Write what was read; end the reply with the last call, or with the first that fails."""
        if call.done or self.error is not None:
            return b""
        try:
            return self._write(call, deltas)
        except UpstreamError as error:  # the answers of several calls do not go together
            self.error = error
            return b""
        except (RecursionError, ValueError):  # what can be read may be nested too deeply to be written
            self.error = UpstreamError(
                UpstreamFailure.MALFORMED, "the upstream sent JSON that is nested too deeply"
            )
            return self._reply.fail(self.error) if self._reply and self.started else b""

    def _write(self, call: UpstreamCall, deltas: list[Delta]) -> bytes:
        decoder = call.decoder
        if not deltas and not decoder.finished:
            return b""
        reply = self._reply
        if reply is None:
            reply = self._reply = self._begin(call)
        if call.callouts is not None and call.keeps_session:
            call.callouts.record_output(deltas)
        if len(self.calls) > 1:  # these are always read, never passed on, so these are deltas
            deltas = call.reindexed(deltas)
        out = reply.write(deltas)
        if not decoder.finished:
            return out
        call.done = True
        if decoder.error is not None:
            self.error = decoder.error
            return out + (reply.fail(self.error) if reply.started else b"")
        self._unsettled -= 1
        if self._unsettled == 0:
            out += reply.close(self.usage, self._choices)
        return out

    @property
    def _choices(self) -> int:
        """How many choices the reply has at least."""
        if len(self.calls) > 1:
            return sum(call.builder.answers for call in self.calls)
        return self.calls[0].decoder.reader.choice_count or 1

    def _begin(self, call: UpstreamCall) -> ResponseEncoder:
        """Make the reply, now that its id and role can be known."""
        reader = call.decoder.reader
        if isinstance(reader, ChunkPassthrough):
            return PassthroughStreamEncoder(reader, include_usage=self._head.include_usage)
        if isinstance(reader, EndpointPassthrough):
            return PassthroughEncoder()
        head = self._head
        if reader.id or reader.role:
            head = replace(head, id=reader.id or head.id, role=reader.role or head.role)
        stream_encoder = self.endpoint.stream_encoder
        return stream_encoder(head) if self.is_stream and stream_encoder else self.endpoint.encoder(head)


def _counts(body: Mapping[str, Any]) -> bool:
    """Whether a stream shall end with the token counts."""
    return (body["stream_options"] or {}).get("include_usage") is True
