"""One upstream call's answer: bytes in, deltas out, however it was framed and cut.

    start(status, headers) ─▶ feed(data)* ─▶ close()

`feed` and `close` never raise: the good deltas ahead of a bad frame are returned, and `error` is set.
A whole answer is a stream of one frame. What failed is read whole as well, to say why.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING, Delta
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.decode.frame_document import (
    INVALID_JSON,
    document,
    frame_text,
    is_done_literal,
    parse_json,
)
from bridge.exchange.decode.frame_template import FrameTemplate, make_template
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.expressions.scope import Scope
from bridge.framing import SSE, make_framer
from bridge.openai.error_bodies import excerpt, has_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bridge.core.frames import Frame
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.framing import Framer
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["ResponseDecoder"]


class _State(Enum):
    WHOLE = auto()
    STREAM = auto()
    FAILURE = auto()


class ResponseDecoder:
    """Reads one answer. `finished`: nothing more need be read from the upstream."""

    __slots__ = (
        "_body",
        "_framer",
        "_frames",
        "_headers",
        "_latest",
        "_limit",
        "_options",
        "_plan",
        "_size",
        "_state",
        "_status",
        "_template",
        "_templates_left",
        "_text_path",
        "error",
        "finished",
        "reader",
        "session",
    )  # fmt: skip

    def __init__(self, plan: EndpointPlan, options: ReadOptions, reader: ResponseReader) -> None:
        self._plan = plan
        self._options = options
        self._state = _State.WHOLE
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._limit = plan.route.limits.answer
        self._framer: Framer | None = None
        self._frames = 0
        self._latest: Any = MISSING
        self.reader = reader
        self.session: Any = MISSING
        self.error: UpstreamError | None = None
        self.finished = False
        self._text_path = plan.route.response.fast_text_path  # None: frames are read one by one
        self._template: FrameTemplate | None = None
        self._templates_left = _MAX_TEMPLATES

    @property
    def started(self) -> bool:
        """Whether the head has come."""
        return self._status != 0

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """The head has come. `headers` are keyed in lower case."""
        self._status = status
        self._headers = headers
        if not 200 <= status < 300:
            self._state = _State.FAILURE
            self._limit = _MOST_OF_A_FAILURE
        elif (rule := self._plan.stream_rule) is not None:
            self._state = _State.STREAM
            self._framer = make_framer(rule.framing, rule.inner, self._plan.route.limits.frame)

    def feed(self, data: bytes) -> list[Delta]:
        """Some of the body has come."""
        if self.finished:
            return []
        size, limit = self._size + len(data), self._limit
        if size > limit:
            # What is within the limit counts, so that it does not matter how much came at once.
            data = data[: max(limit - self._size, 0)]
        self._size = size
        deltas: list[Delta] = []
        if self._framer is not None:
            deltas = self._collect(map(self._read, self._framer.feed(data)))
        else:
            self._body.append(data)
        if size > limit and self._state is not _State.FAILURE and not self.finished:
            message = f"the upstream's answer is over {limit} bytes (limits.answer)"
            self._fail(UpstreamError(UpstreamFailure.LIMIT, message))
        return deltas

    def close(self) -> list[Delta]:
        """The body is over."""
        if self.finished:
            return []
        match self._state:
            case _State.FAILURE:
                deltas = self._collect(map(self._read_error_body, [b"".join(self._body)]))
            case _State.WHOLE:
                deltas = self._collect(map(self._whole, [b"".join(self._body)]))
            case _State.STREAM:
                deltas = self._collect(self._flush())
        self.finished = True
        return deltas

    def _flush(self) -> Iterator[list[Delta]]:
        """What the end of a stream brings."""
        assert self._framer is not None
        yield from map(self._read, self._framer.close())
        if not self.finished:
            yield self._end()

    def cut(self, error: UpstreamError) -> None:
        """The connection failed before the body was over."""
        if not self.finished:
            self._fail(error)

    def _fail(self, error: UpstreamError) -> None:
        self.error = error
        self.finished = True

    def _collect(self, steps: Iterable[list[Delta]]) -> list[Delta]:
        """The deltas of all steps up to the one that ends or fails."""
        deltas: list[Delta] = []
        try:
            for step in steps:
                deltas += step
                if self.finished:
                    break
        except UpstreamError as error:
            self._fail(error)
        except (RecursionError, ValueError):
            self._fail(
                UpstreamError(UpstreamFailure.MALFORMED, "the upstream sent JSON that is nested too deeply")
            )
        return deltas

    def _read(self, frame: Frame) -> list[Delta]:
        """One frame: held against `error`, `only` and `skip`, then read, then held against `done`."""
        rule = self._plan.stream_rule
        assert rule is not None
        if frame.bare:
            return self._read_unframed_json(frame)
        template = self._template
        if template is not None and (text := template.match(frame)) is not None:
            texts = self.reader.read_text(text, frame.data)
            if texts is not None:
                return texts + self._end(done=True) if self.reader.ended else texts
        if is_done_literal(frame, rule.done_literal):
            return self._end(done=True)
        doc, data = document(frame, as_text=rule.text_data)
        scope = Scope(MISSING if doc is INVALID_JSON else doc, fields=frame.fields, headers=self._headers)
        self._check(scope, frame)
        self._note_session(scope)
        if (rule.only and not rule.only.holds(scope)) or (rule.skip and rule.skip.holds(scope)):
            # Passed over, its slots are not read; that the server is done can be said here all the same.
            return self._end(done=True) if rule.done and rule.done.holds(scope) else []
        if doc is INVALID_JSON:
            if rule.done and rule.done.holds(scope):
                return self._end(done=True)
            raise UpstreamError(
                UpstreamFailure.MALFORMED,
                f"the upstream sent a frame that is not JSON: {excerpt(frame_text(frame), 200)}",
            )
        self._frames += doc is not MISSING
        self._latest = doc
        deltas = self.reader.read(scope, data)
        path = self._text_path
        if path is not None and data is not None and self.reader.has_only_text(scope, data, deltas):
            self._template = make_template(frame, doc, path) or self._template
            self._templates_left -= 1
            self._text_path = path if self._templates_left else None
        if rule.replace is not None and isinstance(instead := rule.replace.read(scope), str):
            self.finished = True  # what is held back is superseded too
            return [*deltas, self.reader.replace(instead)]
        if self.reader.ended or (rule.done and rule.done.holds(scope)):
            deltas += self._end(done=True)
        return deltas

    def _note_session(self, scope: Scope) -> None:
        if self._plan.route.callouts.session_id is not None and self.session is MISSING:
            self.session = self._plan.route.callouts.session_id.read(scope)

    def _check(self, scope: Scope, frame: Frame) -> None:
        """Raise the failure that a frame reports under HTTP 200."""
        failing = self._plan.route.response.errors
        rule = failing.match(scope)
        if rule is None:
            common = has_error(scope.doc) and not self.reader.has_text(scope)
            if not common and scope.fields.get("event") != "error":
                return
        raise failing.error(_UNDER_200, scope, frame_text(frame), rule)

    def _end(self, *, done: bool = False) -> list[Delta]:
        """The stream is over: was anything said?"""
        self.finished = True
        rule = self._plan.stream_rule
        assert rule is not None
        deltas = self.reader.close()
        if not self.reader.has_output:
            return self._nothing_found()
        if rule.done_promised and not done and not (rule.finish_ends and self.reader.finish_seen):
            self._fail(
                UpstreamError(UpstreamFailure.DISCONNECT, "the upstream's stream ended before it was done")
            )
        return deltas

    def _nothing_found(self) -> list[Delta]:
        """Perhaps the one frame there was is a whole answer; else this is an error, not an empty success."""
        if self._frames == 1 and self._plan.route.response.non_streaming is not None:
            reader = ResponseReader(self._plan.route.response.non_streaming, self._options)
            deltas = reader.read(Scope(self._latest, headers=self._headers))
            if reader.has_output:
                self.reader = reader
                return deltas + reader.close()
        self._fail(UpstreamError(UpstreamFailure.EMPTY, self.reader.no_text_message()))
        return []

    def _read_unframed_json(self, frame: Frame) -> list[Delta]:
        """JSON outside of any event: an error, or a whole answer where a stream was promised."""
        doc, _ = document(frame, as_text=False)
        if doc is INVALID_JSON:
            raise UpstreamError(
                UpstreamFailure.MALFORMED,
                "the upstream sent JSON that is neither an event nor a whole answer (is it ndjson?): "
                + excerpt(frame_text(frame), 200),
            )
        if self._frames:
            self._check(Scope(doc, headers=self._headers), frame)
            raise UpstreamError(
                UpstreamFailure.MALFORMED,
                f"the upstream sent JSON between its events: {excerpt(frame_text(frame), 200)}",
            )
        rule = self._plan.route.response.non_streaming or self._plan.stream_rule.slots  # type: ignore[union-attr]
        self.reader = ResponseReader(rule, self._options)
        return self._whole(frame.data if isinstance(frame.data, bytes) else b"")

    def _whole(self, body: bytes) -> list[Delta]:
        """A whole answer."""
        self.finished = True
        plan, reader = self._plan, self.reader
        doc, data = self._whole_document(body)
        scope = Scope(doc, headers=self._headers)
        failed = plan.route.response.errors.match(scope)
        if failed or (has_error(doc) and not reader.has_text(scope)):
            raise plan.route.response.errors.error(
                self._status, scope, body.decode("utf-8", "replace"), failed
            )
        if plan.is_text_body and not isinstance(doc, str):
            scope.doc = body.decode("utf-8", "replace")
        self._note_session(scope)
        deltas = reader.read(scope, data) + reader.close()
        if not reader.has_output:
            raise UpstreamError(UpstreamFailure.EMPTY, reader.no_text_message())
        return deltas

    def _whole_document(self, body: bytes) -> tuple[Any, bytes | None]:
        doc, data = parse_json(body)
        if doc is MISSING:
            raise UpstreamError(
                UpstreamFailure.EMPTY, f"the upstream answered {self._status} with an empty body"
            )
        if doc is not INVALID_JSON:
            return doc, data
        text = body.decode("utf-8", "replace")
        if self._plan.is_text_body:
            return text, None
        kind = self._headers.get("content-type", "no content type")
        raise UpstreamError(
            UpstreamFailure.MALFORMED,
            f"the upstream answered {self._status} with {kind} that is not JSON: {excerpt(text, 200)}",
        )

    def _read_error_body(self, body: bytes) -> list[Delta]:
        """Raise why the server answered with a status that is no success."""
        doc, _ = parse_json(body)
        if doc is INVALID_JSON and body.startswith(b"data:"):  # some servers keep to SSE even here
            frame = next(iter(SSE.framer(_MOST_OF_A_FAILURE).feed(body + b"\n\n")), None)
            doc, _ = document(frame, as_text=False) if frame else (MISSING, None)
        scope = Scope(MISSING if doc is INVALID_JSON else doc, headers=self._headers)
        raise self._plan.route.response.errors.error(self._status, scope, body.decode("utf-8", "replace"))


_UNDER_200 = 200
_MOST_OF_A_FAILURE = 2**20
_MAX_TEMPLATES = 4  # of one stream: where frames differ in more than their text, none ever matches
