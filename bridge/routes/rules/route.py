"""A compiled route: everything that a request needs of it, decided when the file is loaded.

    Route ─┬─ request    the building of upstream requests
           ├─ response   the reading of upstream responses
           ├─ callouts   the calls besides the one for the response
           └─ limits, transport, emulate, samples: settings of the file, used as declared

`Route.plans` holds one `EndpointPlan` for each endpoint, with and without streaming.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from bridge.core.json_bounds import MAX_INLINE
from bridge.core.masking import mask, mask_values
from bridge.openai.endpoints import ENDPOINTS
from bridge.routes.rules.body_rules import UnchangedBody
from bridge.routes.rules.endpoint_plan import EndpointPlan
from bridge.routes.rules.model_list import ModelList
from bridge.routes.rules.openai_defaults import OPENAI_RESPONSE, OPENAI_STREAM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.config.yaml_tree import Node
    from bridge.expressions.extractors import Extractor
    from bridge.expressions.paths import Path
    from bridge.expressions.templates import ValueTemplate
    from bridge.prompts import Prompt
    from bridge.routes.rules.error_mapping import ErrorMapper
    from bridge.routes.rules.health import HealthRule
    from bridge.routes.rules.request_template import Callout, RequestTemplate, SessionRule
    from bridge.routes.rules.response_rules import ResponseSlots, StreamRule
    from bridge.routes.rules.settings import EmulateSpec, LimitsSpec, SampleSpec
    from bridge.routes.rules.transport import TransportSpec
    from bridge.tool_formats import ToolFormat

_MAX_INLINE_LOOPS = 16 * 2**10  # bytes: a template may loop over the messages for each message

__all__ = ["CalloutRules", "RequestRules", "ResponseRules", "Route", "header_safe"]


@dataclass(frozen=True)
class RequestRules:
    """The rules by which a route builds upstream requests."""

    model: ValueTemplate | None  # the model name sent upstream; None: the client's
    prompt: Prompt
    tools: ToolFormat | None  # None: OpenAI's own format
    non_streaming: RequestTemplate
    streaming: RequestTemplate
    forwards_client_key: bool  # the client's Authorization header goes upstream
    rejects_unsupported: bool  # parameters that nothing handles are an error, not dropped


@dataclass(frozen=True)
class ResponseRules:
    """The rules by which a route reads upstream responses."""

    non_streaming: ResponseSlots | None  # None: the upstream only streams
    streaming: StreamRule | None  # None: the upstream cannot stream
    errors: ErrorMapper
    fast_text_path: Path | None  # the text's path in a frame, if no other rule reads it or a part of it
    keepalive: float | None = None  # seconds of silence towards the client, after which a comment is sent
    forwards_comments: bool = False  # a comment of the upstream sends a comment to the client

    @cached_property
    def sends_comments(self) -> bool:
        """Return whether streams to clients may contain comments."""
        return self.keepalive is not None or self.forwards_comments

    @cached_property
    def openai_non_streaming(self) -> bool:
        """Return whether non-streaming responses are OpenAI's own, to be normalized and passed through."""
        return self.non_streaming is OPENAI_RESPONSE

    @cached_property
    def openai_streaming(self) -> bool:
        """Return whether streams are OpenAI's own, to be normalized and passed through."""
        rule = self.streaming
        if rule is None or rule.slots is not OPENAI_STREAM.slots:
            return False
        return not (rule.cumulative or rule.text_data or rule.replace is not None)


@dataclass(frozen=True)
class CalloutRules:
    """The calls of a route besides the one for the response."""

    session: SessionRule | None
    calls: tuple[Callout, ...]
    poll: Callout | None
    cancel: Callout | None
    sends_request: bool  # False: `calls` have requested the response, which is only polled

    @cached_property
    def all(self) -> tuple[Callout, ...]:
        """Return every callout of the route, those of the session too."""
        session = self.session
        of_session = (session.open, session.close) if session else ()
        return tuple(call for call in (*of_session, *self.calls, self.poll, self.cancel) if call is not None)

    @cached_property
    def session_id(self) -> Extractor | None:
        """Return the extractor of a session id that the upstream response itself carries."""
        return self.session.id if self.session else None

    @cached_property
    def extracted_members(self) -> frozenset[str]:
        """Return the members of the request document that are read from callouts' responses."""
        names = frozenset({"session"} if self.session else ())
        return names.union(*({name for name, _ in call.values} for call in self.all))

    @cached_property
    def reads(self) -> frozenset[str | None]:
        """Return the members of the request document that callouts read; None: possibly every member."""
        return frozenset[str | None]().union(*(call.reads for call in self.all))


@dataclass(frozen=True)
class Route:
    """One route."""

    name: str
    models: tuple[str, ...]  # names and globs, as written
    serves: frozenset[str]  # names of endpoints
    request: RequestRules
    response: ResponseRules
    callouts: CalloutRules
    emulate: EmulateSpec
    limits: LimitsSpec
    transport: TransportSpec
    health: HealthRule | None = None
    model_list: ModelList = field(default_factory=ModelList)
    samples: tuple[tuple[Node, SampleSpec], ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)
    fallback_name: str | None = None
    fallback: Route | None = field(default=None, repr=False)  # tried when this route fails

    @cached_property
    def plans(self) -> Mapping[tuple[str, bool], EndpointPlan]:
        """Return the endpoint plans, by the endpoint's name and whether the client requests a stream."""
        return {
            (name, streaming): EndpointPlan(self, endpoint, streaming=streaming)
            for name, endpoint in ENDPOINTS.items()
            if endpoint.to_chat is None
            for streaming in (False, True)
        }

    @cached_property
    def is_passthrough(self) -> bool:
        """Return whether requests and responses are OpenAI's own, with and without streaming."""
        unchanged = isinstance(self.request.non_streaming.body, UnchangedBody)
        return unchanged and self.response.openai_non_streaming and self.response.openai_streaming

    @cached_property
    def header_name(self) -> str:
        """Return the route's name, safe to send in a header."""
        return header_safe(self.name)

    @cached_property
    def max_inline(self) -> int:
        """Return the size in bytes of a body above which requests are built in a thread."""
        return _MAX_INLINE_LOOPS if self.request.prompt.is_template else MAX_INLINE

    def mask(self, text: str) -> str:
        """Return a text with the secrets of this route replaced by asterisks."""
        return mask(text, self.secrets)

    def mask_values(self, text: str) -> str:
        """Return a URL, a header or JSON with secrets replaced by asterisks, short ones too."""
        return mask_values(text, self.secrets)


def header_safe(text: str) -> str:
    """Return a text that a header can carry: ASCII, on one line."""
    escaped = text.encode("ascii", "backslashreplace").decode()
    return "".join([character if character.isprintable() else " " for character in escaped])
