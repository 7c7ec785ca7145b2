"""One client's request and its response, without I/O.

    exchange = Exchange(context)                             raises RequestError
    for call in exchange.calls:                              one upstream call each, most often only one
        call.callouts.before() ─▶ commands                   where the route has callouts
        call.request() ─▶ send ─▶ exchange.start(call, …)
        exchange.feed(call, data) ─▶ bytes for the client
        exchange.close(call)      ─▶ bytes for the client    or connection_lost(call, error)
        call.callouts.after() ─▶ commands                    however the call ended

`error` is set when the exchange has failed. While nothing was written (`started`), the client can get the
error's own HTTP status; later, or after `keep_alive`, the bytes contain the error's event and no `[DONE]`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.core import json
from bridge.core.deltas import add_usages
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.decode.completion_fast_path import CompletionFastPath, PassthroughFastPath
from bridge.exchange.decode.completion_passthrough import PassthroughEncoder
from bridge.exchange.decode.stream_passthrough import ChunkPassthrough, PassthroughStreamEncoder
from bridge.exchange.endpoints import EndpointPassthrough
from bridge.exchange.left_out import left_out
from bridge.exchange.request_limits import check_list_lengths
from bridge.exchange.split_calls import check_dropped, split_calls
from bridge.exchange.upstream_calls import UpstreamCalls
from bridge.openai.normalize import upstream_identity
from bridge.openai.response_encoder import ResponseInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.deltas import Delta, Usage
    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.exchange.decode.response_decoder import ResponseDecoder
    from bridge.exchange.request_context import RequestContext
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.openai.response_encoder import ResponseEncoder

__all__ = ["Exchange"]


class Exchange:
    """One request on one route."""

    __slots__ = (
        "_combines",  # deltas are changed or recorded on their way to the encoder
        "_decoder",  # of the only call, once its response has begun
        "_encoder",  # of the client's response; None before its first output
        "_fast_path",  # of the only call's non-streaming completion; None: the call's decoder is used
        "_info",
        "_kept_alive",  # the head of the client's stream was sent before the first output
        "_may_be_fast",  # a successful response is read on the fast path
        "_open_calls",  # calls whose responses have not ended
        "calls",
        "dropped",  # the client's parameters that are neither sent upstream nor emulated
        "endpoint",
        "error",
        "is_stream",  # the client receives a stream
        "route",
    )

    def __init__(self, context: RequestContext) -> None:
        route, endpoint = context.route, context.endpoint
        client_body = body = context.body
        dropped: tuple[str, ...] = ()
        if endpoint.to_chat is not None:
            body, dropped = endpoint.to_chat(body)
            context = replace(context, body=body, data=json.dumps(body))
        check_list_lengths(route.limits, body)
        plan = route.plans[endpoint.plan_name, body.get("stream") is True]
        if unsupported := plan.dropped(body):
            check_dropped(plan, unsupported)
            dropped += unsupported
        self.dropped = dropped
        self.calls = calls = split_calls(plan, context)
        if plan.may_leave_out:
            self.dropped += left_out(plan, body, calls[0].builder.document)
        self.route = route
        self.endpoint = endpoint
        self.is_stream = plan.client_streams
        self.error: BridgeError | None = None
        self._open_calls = len(calls)
        self._decoder: ResponseDecoder | None = None
        self._encoder: ResponseEncoder | None = None
        self._fast_path: CompletionFastPath | None = None
        self._kept_alive = False
        self._info = ResponseInfo(
            endpoint,
            endpoint.id_prefix + context.id,
            int(context.now),
            body["model"],
            "stream_options" in body and _includes_usage(body),
            client_body,
        )
        self._combines = self._open_calls > 1 or plan.keeps_session
        self._may_be_fast = False
        if self._open_calls == 1:  # the responses of several calls are combined delta by delta
            self._choose_path(calls[0])

    def _choose_path(self, call: UpstreamCall) -> None:
        """Choose how the response of the only call becomes the client's."""
        plan = call.plan
        reads_text = call.builder.stop_strings or self.route.emulate.reasoning is not None
        if reads_text or self.endpoint.to_chat is not None:
            return
        if plan.passthrough and not plan.keeps_session:
            call.passthrough_info = self._info
        self._may_be_fast = plan.fast_rule is not None and call.builder.context.client.charge is None

    @property
    def started(self) -> bool:
        """Return whether bytes of a successful response were returned."""
        return self._encoder is not None and self._encoder.started

    @property
    def ended(self) -> bool:
        """Return whether the end of the client's response was returned."""
        return self._open_calls == 0 or self.error is not None

    @property
    def usage(self) -> Usage | None:
        """Return the token counts of all calls, None if no upstream sent any."""
        if self._fast_path is not None:
            return self._fast_path.usage
        if len(self.calls) == 1:
            return self.calls[0].decoder.reader.usage
        counts = [usage for call in self._made_calls if (usage := call.decoder.reader.usage) is not None]
        return add_usages(counts) if counts else None

    @property
    def retries(self) -> int:
        """Return how many times upstream requests were sent again, or to another replica."""
        if len(self.calls) == 1:
            return self.calls[0].retries
        return sum([call.retries for call in self._made_calls])

    @property
    def _made_calls(self) -> Sequence[UpstreamCall]:
        """Return the calls that were used."""
        return self.calls.made if isinstance(self.calls, UpstreamCalls) else self.calls

    def start(self, call: UpstreamCall, status: int, headers: Mapping[str, str]) -> None:
        """Begin the response of a call. `headers` are keyed in lower case."""
        plan = call.plan
        if self._may_be_fast and plan.fast_rule is not None and 200 <= status < 300:
            fast_path = PassthroughFastPath if plan.passthrough else CompletionFastPath
            self._fast_path = fast_path(plan, plan.fast_rule, status, headers)
        else:
            decoder = call.decoder
            decoder.start(status, headers)
            if not self._combines:
                self._decoder = decoder

    def feed(self, call: UpstreamCall, data: bytes) -> bytes:
        """Return the client's bytes for a part of the response's body."""
        fast_path = self._fast_path
        if fast_path is not None:
            return b"" if fast_path.feed(data) else self._leave_fast_path(call, fast_path)
        decoder = self._decoder or call.decoder
        deltas = decoder.feed(data)
        return self._emit(call, decoder, deltas) if deltas or decoder.finished else b""

    def received(self, call: UpstreamCall) -> int:
        """Return the number of bytes of a call's response that `close` is to decode at once."""
        if call.plan.stream_rule is not None:
            return 0  # frames are decoded as they arrive
        return call.decoder.received if self._fast_path is None else self._fast_path.received

    def close(self, call: UpstreamCall, deltas: list[Delta] | None = None) -> bytes:
        """Return the client's bytes for the end of the response's body.

        `deltas` is the result of `call.decoder.close()`, where the caller called that itself.
        """
        out = b""
        fast_path = self._fast_path
        if fast_path is not None:
            completion = fast_path.complete(self._info)
            if completion is not None:
                call.done = True
                return completion
            out = self._leave_fast_path(call, fast_path)
        decoder = call.decoder
        return out + self._emit(call, decoder, decoder.close() if deltas is None else deltas)

    def connection_lost(self, call: UpstreamCall, error: UpstreamError) -> bytes:
        """Return the client's bytes after a call's connection failed, or could not be made."""
        self._fast_path = None
        decoder = call.decoder
        return self._emit(call, decoder, decoder.cut(error))

    def abort(self, error: BridgeError) -> bytes:
        """End the exchange with an error of the bridge. Return the end of a response that has started."""
        self._fail(error, None)
        return self._error_event(error)

    def keep_alive(self) -> bytes:
        """Return a comment for a client's stream that is silent. The head of the response is sent with it."""
        self._kept_alive = True
        return b": keep-alive\n\n"

    def finished(self, call: UpstreamCall) -> bool:
        """Return whether nothing more of a call's response need be read."""
        return self.error is not None or (self._fast_path is None and call.decoder.finished)

    def _leave_fast_path(self, call: UpstreamCall, fast_path: CompletionFastPath) -> bytes:
        """Read a response that the fast path cannot read by the call's decoder."""
        self._fast_path = None
        return self.feed(call, fast_path.replay(call.decoder))

    def _emit(self, call: UpstreamCall, decoder: ResponseDecoder, deltas: list[Delta]) -> bytes:
        """Write deltas. End the response with the last call, or with the first call that fails."""
        if call.done or self.error is not None:
            return b""
        try:
            encoder = self._encoder
            if encoder is None:
                encoder = self._encoder = self._make_encoder(call)
            if self._combines:
                deltas = self._combine(call, deltas)
            out = encoder.write(deltas)
            return self._end(call, decoder, encoder, out) if decoder.finished else out
        except UpstreamError as error:  # the responses of several calls cannot be combined
            self._fail(error, call)
            return self._error_event(error)
        except (RecursionError, ValueError):  # JSON that can be parsed may be nested too deeply to be written
            failure = UpstreamError(
                UpstreamFailure.MALFORMED, "the upstream sent JSON that is nested too deeply"
            )
            self._fail(failure, call)
            return self._error_event(failure)

    def _fail(self, error: BridgeError, call: UpstreamCall | None) -> None:
        """Set the failure of the exchange, without the secrets that an upstream may have repeated."""
        error.upstream = urlsplit(call.url).netloc.rpartition("@")[2] if call is not None else ""
        error.mask(self.route.mask)
        self.error = error

    def _error_event(self, error: BridgeError) -> bytes:
        """Return the end of a stream that has begun; nothing while the error can be the response itself."""
        stream_encoder = self.endpoint.stream_encoder
        if stream_encoder is None or not (self._kept_alive or (self.is_stream and self.started)):
            return b""
        encoder = self._encoder
        return (encoder if encoder is not None else stream_encoder(self._info)).fail(error)

    def _combine(self, call: UpstreamCall, deltas: list[Delta]) -> list[Delta]:
        """Return the deltas of one call as a part of the response, and record them for its session."""
        if call.callouts is not None and call.plan.keeps_session:
            call.callouts.record_output(deltas)
        return call.reindexed(deltas) if len(self.calls) > 1 else deltas

    def _end(
        self, call: UpstreamCall, decoder: ResponseDecoder, encoder: ResponseEncoder, out: bytes
    ) -> bytes:
        """Return the last bytes of a call, and the end of the response after the last call."""
        call.done = True
        if len(self.calls) > 1 and call.callouts is None:
            call.builder.release()
        if decoder.error is not None:
            self._fail(decoder.error, call)
            return out + self._error_event(decoder.error)
        self._open_calls -= 1
        if self._open_calls == 0:
            out += encoder.close(self.usage, self._choice_count)
        return out

    @property
    def _choice_count(self) -> int:
        """Return the smallest number of choices in the response."""
        if len(self.calls) > 1:
            return sum(call.builder.choices for call in self.calls)
        return self.calls[0].decoder.reader.choice_count or 1

    def _make_encoder(self, call: UpstreamCall) -> ResponseEncoder:
        """Return the encoder of the response, whose id and role are known with the first output."""
        reader = call.decoder.reader
        if isinstance(reader, ChunkPassthrough):
            return PassthroughStreamEncoder(reader, include_usage=self._info.include_usage)
        if isinstance(reader, EndpointPassthrough):
            return PassthroughEncoder()
        info = self._info
        if reader.body is not None:
            identity = upstream_identity(info, reader.body)
            info = replace(info, created=identity.created, model=identity.model)
        if (reader.id or reader.role) and self.endpoint.to_chat is None:
            info = replace(info, id=reader.id or info.id, role=reader.role or info.role)
        stream_encoder = self.endpoint.stream_encoder
        return stream_encoder(info) if self.is_stream and stream_encoder else self.endpoint.encoder(info)


def _includes_usage(body: JSONObject) -> bool:
    """Return whether the client requests token counts at the end of a stream."""
    return (body["stream_options"] or {}).get("include_usage") is True
