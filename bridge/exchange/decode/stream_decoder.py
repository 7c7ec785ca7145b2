"""Streaming bodies: bytes are cut into frames, and each frame is checked by the rules and read.

The order of the checks: the literal that ends the stream, `error`, `only` and `skip`, the reader, `replace`,
`done`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING, Delta
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.frames import Frame
from bridge.exchange.decode.body_decoder import MAX_EXCERPT, BodyDecoder
from bridge.exchange.decode.frame_document import (
    INVALID_JSON,
    frame_document,
    frame_text,
    is_done_literal,
    parse_json,
)
from bridge.exchange.decode.frame_template import FrameTemplate
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.expressions.scope import Scope
from bridge.framing import make_framer
from bridge.openai.error_bodies import excerpt, has_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.routes.rules.endpoint_plan import EndpointPlan
    from bridge.routes.rules.response_rules import StreamRule

__all__ = ["StreamDecoder"]

_STATUS = 200  # under which a frame reports a failure


class StreamDecoder:
    """The decoder of a streaming body."""

    __slots__ = (
        "_documents",  # frames with a document that the reader has read
        "_headers",  # keyed in lower case
        "_last_doc",  # the newest of these documents
        "_max_values",  # JSON values of a frame
        "_options",
        "_plan",
        "_rule",
        "_template",  # None: each frame is read by the rules
        "error",  # a failure after the last deltas
        "finished",  # nothing more need be read from the upstream
        "framer",
        "reader",
        "session",  # the id of the upstream's session that the response contains, or MISSING
    )

    def __init__(
        self,
        plan: EndpointPlan,
        rule: StreamRule,
        options: ReadOptions,
        reader: ResponseReader,
        headers: Mapping[str, str],
    ) -> None:
        self._plan = plan
        self._rule = rule
        self._options = options
        self._headers = headers
        self.framer = make_framer(rule.framing, rule.inner, plan.route.limits.frame)
        text_path = plan.route.response.fast_text_path
        self._template = None if text_path is None else FrameTemplate(text_path)
        self._max_values = plan.route.limits.response_values
        self._documents = 0
        self._last_doc: Any = MISSING
        self.reader = reader
        self.session: Any = MISSING
        self.finished = False
        self.error: UpstreamError | None = None

    def end(self) -> list[Delta]:
        """Return the deltas of the end of the body, after the last frame. Raises UpstreamError."""
        return [] if self.finished else self._end()

    def decode(self, frame: Frame) -> list[Delta]:
        """Return the deltas of one frame. Raises UpstreamError."""
        if frame.bare:
            return self._decode_bare_json(frame)
        template = self._template
        if template is not None and (text := template.match(frame)) is not None:
            deltas = self.reader.read_text(text, frame.data)
            if deltas is not None:
                return deltas + self._end(done=True) if self.reader.ended else deltas
        rule = self._rule
        if is_done_literal(frame, rule.done_literal):
            return self._end(done=True)
        doc, data = frame_document(frame, self._max_values, as_text=rule.text_data)
        if doc is INVALID_JSON and (lines := self._json_lines(frame)):
            return self._decode_lines(lines)
        scope = Scope(MISSING if doc is INVALID_JSON else doc, fields=frame.fields, headers=self._headers)
        self._check_error(scope, frame)
        if self._plan.route.callouts.session_id is not None and self.session is MISSING:
            self.session = self._plan.route.callouts.session_id.read(scope)
        if (rule.only and not rule.only.holds(scope)) or (rule.skip and rule.skip.holds(scope)):
            # A frame that is skipped can still say that the stream is done.
            return self._end(done=True) if rule.done and rule.done.holds(scope) else []
        if doc is INVALID_JSON:
            if rule.done and rule.done.holds(scope):
                return self._end(done=True)
            raise _malformed("a frame that is not JSON", frame)
        return self._read(frame, scope, data)

    def _json_lines(self, frame: Frame) -> list[Frame]:
        """Return the lines of an event as frames, if each is JSON or the end of the stream.

        Some servers separate events by one line break instead of two. [] if the lines are one frame.
        """
        data = frame.data
        if type(data) is not bytes or b"\n" not in data:
            return []
        frames = [Frame(line, frame.fields) for line in data.split(b"\n") if line.strip()]
        for each in frames:
            doc, _ = frame_document(each, self._max_values, as_text=False)
            if doc is INVALID_JSON and not is_done_literal(each, self._rule.done_literal):
                return []
        return frames

    def _decode_lines(self, frames: list[Frame]) -> list[Delta]:
        deltas: list[Delta] = []
        try:
            for frame in frames:
                deltas += self.decode(frame)
                if self.finished:
                    break
        except UpstreamError as error:  # the deltas of the lines before are returned
            self.finished, self.error = True, error
            deltas += self.reader.release()
        return deltas

    def _read(self, frame: Frame, scope: Scope, data: bytes | None) -> list[Delta]:
        """Return the deltas of a frame that no rule filters out."""
        rule, reader, template = self._rule, self.reader, self._template
        self._documents += scope.doc is not MISSING
        self._last_doc = scope.doc
        inner = reader.inner_scope(scope)
        deltas = reader.read(inner, data)
        if reader.failure is not None:
            self.finished, self.error = True, reader.failure
            return deltas + reader.release()
        if rule.replace is not None and isinstance(text := rule.replace.read(inner), str):
            replaced = reader.replace(text)
            if replaced is None:
                self.finished = True  # the replacement supersedes held text too
                return [*deltas, Delta(text, finish_reason="content_filter", replaces=True)]
            deltas += replaced
        if reader.ended or (rule.done and rule.done.holds(scope)):
            return deltas + self._end(done=True)
        if template is not None and template.can_learn and data and reader.has_only_text(scope, data, deltas):
            template.learn(frame, scope.doc)
        return deltas

    def _check_error(self, scope: Scope, frame: Frame) -> None:
        """Raise the failure that a frame reports, if it does."""
        errors = self._plan.route.response.errors
        rule = errors.match(scope)
        text = scope.fields.get("error")
        if rule is None and text:  # llama.cpp reports a failure within a stream as a field
            doc, _ = parse_json(text.encode(), self._max_values)
            raise errors.error(_STATUS, Scope({"error": text} if doc is INVALID_JSON else doc), text)
        if rule is None:
            common_shape = has_error(scope.doc) and not self.reader.has_text(self.reader.inner_scope(scope))
            if not common_shape and scope.fields.get("event") != "error":
                return
        raise errors.error(_STATUS, scope, frame_text(frame), rule)

    def _end(self, *, done: bool = False) -> list[Delta]:
        """Return what the reader held back. `done`: the upstream declared the end of the stream."""
        self.finished = True
        rule, reader = self._rule, self.reader
        deltas = reader.close()
        if not reader.has_output:
            return self._read_non_streaming()
        if rule.done_promised and not done and not (rule.finish_ends and reader.finish_seen):
            message = "the upstream's stream ended before it was done"
            self.error = UpstreamError(UpstreamFailure.DISCONNECT, message)
        return deltas

    def _read_non_streaming(self) -> list[Delta]:
        """Read the only frame of a stream without output as a non-streaming response.

        A stream without output is a failure, never an empty success.
        """
        rule = self._plan.route.response.non_streaming
        if self._documents == 1 and rule is not None:
            reader = ResponseReader(rule, self._options)
            deltas = reader.read(Scope(self._last_doc, headers=self._headers))
            if reader.has_output:
                self.reader = reader
                return deltas + reader.close()
        self.error = UpstreamError(UpstreamFailure.EMPTY, self.reader.no_output_message())
        return []

    def _decode_bare_json(self, frame: Frame) -> list[Delta]:
        """Decode JSON outside of events: an error, or a non-streaming response in place of a stream."""
        if is_done_literal(frame, self._rule.done_literal):
            return self._end(done=True)
        doc, _ = frame_document(frame, self._max_values, as_text=False)
        if doc is INVALID_JSON:
            raise _malformed("JSON that is neither an event nor a complete body (is it ndjson?)", frame)
        if self._documents:
            self._check_error(Scope(doc, headers=self._headers), frame)
            raise _malformed("JSON between events", frame)
        self.finished = True
        rule = self._plan.route.response.non_streaming or self._rule.slots
        self.reader = ResponseReader(rule, self._options)
        body = BodyDecoder(self._plan, self.reader, _STATUS, self._headers)
        deltas = body.decode(frame)
        if self.session is MISSING:
            self.session = body.session
        return deltas


def _malformed(subject: str, frame: Frame) -> UpstreamError:
    text = excerpt(frame_text(frame), MAX_EXCERPT)
    reason = f"the upstream sent {subject}"
    return UpstreamError(UpstreamFailure.MALFORMED, f"{reason}: {text}", reason=reason)
