"""Passthrough of OpenAI's own streams: the upstream's chunks as they arrive, normalized where necessary.

The reader returns events, as bytes, in place of deltas, and the encoder joins them. A response of another
kind than requested is read by the rules, into deltas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.ascii_codes import LF
from bridge.exchange.decode.finish_failure import choice_failure
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.openai.encoders import DONE, sse_event, usage_object
from bridge.openai.normalize import keep_items, normalize_usage, with_members
from bridge.openai.normalize_stream import ChunkNormalizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.deltas import Usage
    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.expressions.scope import Scope
    from bridge.openai.response_encoder import ResponseInfo
    from bridge.routes.rules.response_rules import ResponseSlots

__all__ = ["ChunkPassthrough", "PassthroughStreamEncoder"]


class ChunkPassthrough(ResponseReader):
    """The reader of a stream whose chunks are forwarded.

    Chunks without content are held until content arrives, so that a failure before then keeps its status. A
    chunk that has both text and a finish reason is held until the next chunk shows whether the choice has
    ended.
    """

    __slots__ = (
        "_held",  # before the first content: events, and chunks without choices, which have no identity yet
        "_unsettled",  # a chunk that has both text and a finish reason, and its event
        "_usage",  # the chunk with the token counts, and its bytes
        "normalizer",
    )

    def __init__(self, rule: ResponseSlots, options: ReadOptions, info: ResponseInfo) -> None:
        super().__init__(rule, options, streams=True)
        self.normalizer = ChunkNormalizer(info)
        self._held: list[bytes | JSONObject] = []
        self._unsettled: tuple[JSONObject, bytes] | None = None
        self._usage: tuple[JSONObject, bytes] | None = None

    def has_only_text(self, scope: Scope, data: bytes, deltas: list[Any]) -> bool:
        """Return whether a chunk was forwarded as it is, with a text of the first choice and nothing else."""
        match scope.doc:
            case {"choices": [{"index": 0, "delta": {"content": str(), **more}, **choice}], **rest}:
                others = more or choice.get("finish_reason") or choice.get("usage") or rest.get("usage")
                return not others and deltas == [_event({}, data)]
        return False

    def read_text(self, text: str, data: bytes | str | None) -> list[Any] | None:
        """Return the event of a chunk whose only output is this text; None if the chunk has to be read."""
        if self._held or self._unsettled is not None or 0 in self.normalizer.finished:
            return None
        if type(data) is not bytes or LF in data:
            return None  # an event cannot carry these bytes
        if self._estimator is not None:
            super().read_text(text, data)
        return [b"data: " + data + b"\n\n"]

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """Return the events that can be sent with one chunk."""
        chunk, normalizer = scope.doc, self.normalizer
        if type(chunk) is not dict:
            super().read(scope)
            return []
        self._read_usage(scope, chunk, data)
        if self._estimator is not None:
            super().read(scope)
        normalized = normalizer.normalize(chunk)
        self.has_output = normalizer.has_output
        self.finish_seen = bool(normalizer.finished)
        if normalizer.failed is not None:
            self.failure = choice_failure(normalizer.failed.get("finish_reason"), normalizer.failed)
        if normalized is None:
            if normalizer.annotation(chunk) is not None:
                self._held.append(chunk)
                return self._release() if normalizer.has_content else []
            if not self.has_output and self._estimator is None:
                super().read(scope)  # to name the places of text, should no output follow
                self.has_output = False
            return []
        event = _event(normalized, data if normalized is chunk else None)
        self._hold_unsettled()
        if normalizer.finished_with_content:
            self._unsettled = (normalized, event)
        else:
            self._held.append(event)
        return self._release() if normalizer.has_content else []

    def close(self) -> list[Any]:
        """Return the events that were held. Raises UpstreamError if a tool call is incomplete."""
        self.normalizer.check_calls()
        return self._close()

    def release(self) -> list[Any]:
        """Return the event that was held after the first content."""
        return self._close() if self.normalizer.has_content else []

    def _close(self) -> list[Any]:
        self.normalizer.resumed = frozenset()
        self._hold_unsettled()
        return self._release()

    def usage_event(self, usage: Usage) -> bytes:
        """Return the event of the token counts: the upstream's own chunk, or a new chunk."""
        chunk, data = self._usage or ({}, None)
        counts = normalize_usage(chunk["usage"], usage) if chunk else usage_object(usage)
        choices = keep_items([], chunk.get("choices"))
        normalized = with_members(self.normalizer.with_identity(chunk), {"choices": choices, "usage": counts})
        return _event(normalized, data if normalized is chunk else None)

    def _read_usage(self, scope: Scope, chunk: JSONObject, data: bytes | str | None) -> None:
        choices = chunk.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        sent = chunk.get("usage") or (type(first) is dict and first.get("usage"))
        if sent:
            self.counts.read(self._rule.usage, scope)
            if type(sent) is dict:
                self._usage = (
                    ({"usage": sent}, b"") if first else (chunk, data if type(data) is bytes else b"")
                )

    def _hold_unsettled(self) -> None:
        """Hold the event of the unsettled chunk, without the finish reason of choices that went on."""
        if self._unsettled is not None:
            chunk, event = self._unsettled
            self._held.append(
                sse_event(self.normalizer.reopened(chunk)) if self.normalizer.resumed else event
            )
            self._unsettled = None

    def _release(self) -> list[Any]:
        held, self._held = self._held, []
        return [each if type(each) is bytes else self._annotation_event(each) for each in held]

    def _annotation_event(self, chunk: Any) -> bytes:
        return _event(self.normalizer.annotation(chunk) or chunk, b"")


class PassthroughStreamEncoder:
    """The encoder of a stream whose chunks are forwarded."""

    __slots__ = ("_include_usage", "_reader", "started")

    def __init__(self, reader: ChunkPassthrough, *, include_usage: bool) -> None:
        self._reader = reader
        self._include_usage = include_usage
        self.started = False

    def write(self, events: Sequence[Any]) -> bytes:
        """Return the events."""
        out = b"".join(events)
        self.started = self.started or bool(out)
        return out

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the end of the stream: missing finish chunks, requested token counts, `[DONE]`."""
        out = [sse_event(chunk) for chunk in self._reader.normalizer.finish()]
        if usage is not None and self._include_usage:
            out.append(self._reader.usage_event(usage))
        return b"".join([*out, DONE])

    def fail(self, error: BridgeError) -> bytes:
        """Return the event of an error, after which no `[DONE]` follows."""
        return sse_event(error.envelope)


def _event(chunk: JSONObject, data: bytes | str | None) -> bytes:
    """Return the event of a chunk: of its own bytes `data`, if given and if an event can carry them."""
    if type(data) is bytes and data and LF not in data:
        return b"data: " + data + b"\n\n"
    return sse_event(chunk)
