"""Bodies that are decoded as a whole: non-streaming responses, and the bodies of HTTP errors."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.frames import Frame
from bridge.exchange.decode.frame_document import INVALID_JSON, frame_document, parse_json
from bridge.expressions.scope import Scope
from bridge.framing import SSE
from bridge.openai.error_bodies import excerpt, has_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

    from bridge.core.deltas import Delta
    from bridge.exchange.decode.response_reader import ResponseReader
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["MAX_ERROR_BODY", "MAX_EXCERPT", "BodyDecoder"]

MAX_ERROR_BODY = 2**20  # bytes of an HTTP error's body that are read
MAX_EXCERPT = 200  # characters of an invalid body or frame in an error text


class BodyDecoder:
    """The decoder of a body that is one document, or the text itself."""

    __slots__ = (
        "_headers",  # keyed in lower case
        "_plan",
        "_status",
        "error",  # None: `close` raises every failure
        "finished",  # nothing more need be read from the upstream
        "framer",
        "reader",
        "session",  # the id of the upstream's session that the response contains, or MISSING
    )

    def __init__(
        self, plan: EndpointPlan, reader: ResponseReader, status: int, headers: Mapping[str, str]
    ) -> None:
        self._plan = plan
        self._status = status
        self._headers = headers
        self.framer = BodyFramer()
        self.reader = reader
        self.session: Any = MISSING
        self.finished = False
        self.error: UpstreamError | None = None

    def end(self) -> list[Delta]:
        """Return nothing: the only frame has all deltas."""
        return []

    def decode(self, frame: Frame) -> list[Delta]:
        """Return the deltas of a frame that is the whole body. Raises UpstreamError."""
        body = frame.data if isinstance(frame.data, bytes) else b""
        if not 200 <= self._status < 300:
            self._raise_error(body)
        reader, response = self.reader, self._plan.route.response
        doc, data = self._document(body)
        scope = Scope(doc, headers=self._headers)
        rule = response.errors.match(scope)
        if rule or (has_error(doc) and not reader.has_text(reader.inner_scope(scope))):
            raise response.errors.error(self._status, scope, _beginning(body), rule)
        if self._plan.is_text_body and not isinstance(doc, str):
            scope.doc = body.decode("utf-8", "replace")
        if self._plan.route.callouts.session_id is not None:
            self.session = self._plan.route.callouts.session_id.read(scope)
        inner = reader.inner_scope(scope)
        if inner is not scope and has_error(inner.doc) and not reader.has_text(inner):
            raise response.errors.error(self._status, inner, _beginning(body))
        deltas = reader.read(inner, data) + reader.close()
        if reader.failure is not None:
            raise reader.failure
        if not reader.has_output:
            raise UpstreamError(UpstreamFailure.EMPTY, reader.no_output_message())
        return deltas

    def _document(self, body: bytes) -> tuple[Any, bytes | None]:
        """Return the document of a body, and the body if it is strict JSON."""
        if self._plan.is_image_body and body[:1] not in (b"", b"{", b"["):
            return b64encode(body).decode(), None
        doc, data = parse_json(body, self._plan.route.limits.response_values, in_steps=True)
        if doc is MISSING:
            message = f"the upstream responded {self._status} with an empty body"
            raise UpstreamError(UpstreamFailure.EMPTY, message)
        if doc is not INVALID_JSON:
            return doc, data
        if self._plan.is_text_body:
            return body.decode("utf-8", "replace"), None
        kind = self._headers.get("content-type", "no content type")
        reason = f"the upstream responded {self._status} with {kind} that is not JSON"
        message = f"{reason}: {excerpt(_beginning(body), MAX_EXCERPT)}"
        raise UpstreamError(UpstreamFailure.MALFORMED, message, reason=reason)

    def _raise_error(self, body: bytes) -> NoReturn:
        """Raise the failure that the body of an HTTP error reports."""
        doc, _ = parse_json(body, MAX_ERROR_BODY)
        if doc is INVALID_JSON and body.startswith(b"data:"):  # some upstreams send even errors as SSE
            frame = next(iter(SSE.framer(MAX_ERROR_BODY).feed(body + b"\n\n")), None)
            doc, _ = frame_document(frame, MAX_ERROR_BODY, as_text=False) if frame else (MISSING, None)
        scope = Scope(MISSING if doc is INVALID_JSON else doc, headers=self._headers)
        errors = self._plan.route.response.errors
        raise errors.error(self._status, scope, body.decode("utf-8", "replace"))


class BodyFramer:
    """Cuts no frames: the whole body is one."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[Frame]:
        self._parts.append(data)
        return ()

    def close(self) -> Iterable[Frame]:
        body = b"".join(self._parts)
        self._parts.clear()  # a decoder is kept until all calls of its exchange are over
        return (Frame(body),)


def _beginning(body: bytes) -> str:
    """Return the text of a body, up to the length of which an error text is made."""
    return body[:MAX_ERROR_BODY].decode("utf-8", "replace")
