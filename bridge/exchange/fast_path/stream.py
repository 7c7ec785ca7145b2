"""The fast lane of a stream: what fits the mould of an earlier frame goes over without being read.

    feed(data)  ─▶ the reply to what fitted, and what did not
    next(data)  ─▶ what is to be read of that, and the rest
    learn(some):   a mould of the newest frame

A stream whose frames differ in more than their texts never makes a mould that fits, so that is not tried for
long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.exchange.fast_path.frame_template import (
    FRAME_DELIMITERS,
    CumulativeFrameTemplate,
    FrameTemplate,
    split_frame,
)
from bridge.expressions.scope import Scope
from bridge.openai.encoders import ChunkEncoder

if TYPE_CHECKING:
    from bridge.exchange.decode.response_decoder import ResponseDecoder
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["StreamFastPath"]

_TRIES = 4  # moulds made
_MISSES = 3  # in a row, until another mould is made


class StreamFastPath:
    """The fast lane of one call's answer."""

    __slots__ = ("_answering", "_course", "_ends", "_left", "_mould", "_open", "_tries")

    def __init__(self, course: EndpointPlan, answering: ResponseDecoder, ends: tuple[bytes, ...]) -> None:
        self._course = course
        self._answering = answering
        self._ends = ends
        self._mould: FrameTemplate | None = None
        self._tries = _TRIES
        self._open = self._left = 0  # bytes that may be cast since the latest reading, and those left of them

    @classmethod
    def for_call(cls, course: EndpointPlan, answering: ResponseDecoder) -> StreamFastPath | None:
        """The fast lane of an answer that can have one."""
        route, stream = course.route, course.stream_rule
        if (
            stream is None
            or route.response.fast_text_path is None
            or stream.framing.name not in FRAME_DELIMITERS
        ):
            return None
        if course.route.callouts.session_id is not None or (
            route.response.openai_streaming and not course.endpoint.has_messages
        ):
            return None
        return cls(course, answering, FRAME_DELIMITERS[stream.framing.name][1])

    @property
    def is_exhausted(self) -> bool:
        """Whether no frame fits a mould, so that all are read from now on."""
        return self._mould is None and not self._tries

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The reply to the frames that data begins with, and the rest, which is to be read."""
        mould = self._mould
        if mould is None or len(data) > self._left:
            return b"", data
        out, taken = mould.transcode(data)
        if taken == len(data):
            self._left -= taken
            return out, b""
        if taken:
            self._left -= taken
            return out, data[taken:]
        if mould.misses > _MISSES:
            self._mould = None
        return b"", data

    def split_next_frame(self, data: bytes) -> tuple[bytes, bytes]:
        """What is to be read now, and what may fit a mould behind it: all, or one frame as long as it may."""
        self._settle()
        if self.is_exhausted:
            return data, b""
        ends = [at + len(end) for end in self._ends if (at := data.find(end)) >= 0]
        at = min(ends, default=len(data))
        return data[:at], data[at:]

    def _settle(self) -> None:
        """Account for what was cast, before something is read."""
        if self._open != self._left:
            text = self._mould.text if isinstance(self._mould, CumulativeFrameTemplate) else ""
            self._answering.skip(self._open - self._left, text)
            self._open = self._left

    def update_template(self, piece: bytes, reply: Any) -> None:
        """Make a mould of the newest frame, which came in this piece, if it can be one."""
        answering = self._answering
        frame = answering.last_text_frame
        self._open = self._left = answering.skippable_bytes
        if self._mould is not None and not self._mould.still_matches(frame):
            self._mould = None
        if self._mould is not None or not self._tries or frame is None:
            return
        stream, path = self._course.stream_rule, self._course.route.response.fast_text_path
        assert stream is not None
        assert path is not None
        self._tries -= 1
        doc = json.loads(frame)
        if any(part.slot.read(Scope(doc)) is not MISSING for _, part in stream.answer.usage):
            return  # its counts must be noted
        around = reply.text_template(0) if isinstance(reply, ChunkEncoder) else _passed(doc, frame)
        found = split_frame(frame, piece, stream.framing.name, path)
        if around is not None and found is not None:
            make = CumulativeFrameTemplate if stream.cumulative else FrameTemplate
            self._mould = make(found, around, self._course.route.limits.frame)


def _passed(doc: Any, frame: bytes) -> tuple[bytes, bytes] | None:
    """What stands around the text of a chunk that goes on as it is, if it does nothing but speak."""
    match doc:
        case {"choices": [{"delta": {"content": str(text), **more}, **choice}]} if not more:
            if choice.get("finish_reason") is None and choice.get("index") == 0:
                front, _, back = frame.partition(json.dumps(text))
                return b"data: " + front, back + b"\n\n"
    return None
