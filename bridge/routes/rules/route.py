"""A route, compiled: everything that a request on it needs, decided when the file was loaded.

route.courses["chat", True] ─▶ Course    what is decided of all requests of one kind, once for them all:
                                         how the server is asked, what its answer should look like
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.openai.endpoints import ENDPOINTS, PARAMETERS, STRUCTURAL_MEMBERS
from bridge.routes.rules.auth_rules import mask
from bridge.routes.rules.body_rules import UnchangedBody
from bridge.routes.rules.request_template import UpstreamRequest, make_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.config.yaml_tree import Node
    from bridge.expressions.extractors import Extractor
    from bridge.expressions.paths import Path
    from bridge.expressions.scope import Scope
    from bridge.expressions.templates import ValueTemplate
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.prompts import Prompt
    from bridge.routes.rules.body_rules import BodyRule
    from bridge.routes.rules.error_mapping import ErrorMapper
    from bridge.routes.rules.request_template import Callout, RequestTemplate, SessionRule
    from bridge.routes.rules.response_rules import ResponseRule, StreamRule
    from bridge.routes.rules.settings import EmulateSpec, LimitsSpec, SampleSpec, TransportSpec
    from bridge.tool_formats import ToolFormat

__all__ = ["EndpointPlan", "RequiredMembers", "Route", "header_safe"]


class RequiredMembers(NamedTuple):
    """What is looked at of the request document: the `names` of its members, "None" where that may be all.

    The others say what of it has to be made: the `prompt`, some `text` of the messages (`system_alone`: no
    other than the operator's), something of their `turns`.
    """

    names: frozenset[str]
    prompt: bool
    text: bool
    turns: bool
    system_alone: bool

    @classmethod
    def at(cls, names: frozenset[str]) -> RequiredMembers:
        """What these names are of."""
        texts, turns = names & _OF_TEXT, names & _OF_TURNS
        return cls(names, "prompt" in names, bool(texts), bool(turns), texts == {"system"})


_OF_TEXT = frozenset({"prompt", "system", "last", "history"})
_OF_TURNS = frozenset({"turns", "system", "last", "history", "None"})


@dataclass(frozen=True)
class Route:
    """One route. `whole` None: the server only streams; `stream` None: it cannot stream.

    `openai_whole`, `openai_stream`: that answer is OpenAI's own, so it is passed on and mended.
    `alone`: the path of the text in a stream, if nothing else that is looked at can lie within it.
    `plain`: there are no rules at all, bodies are OpenAI's own too. `asks` False: the calls have asked for
    the answer already, it is only polled.
    """

    name: str
    models: tuple[str, ...]
    model: ValueTemplate | None
    serves: frozenset[str]
    prompt: Prompt
    tools: ToolFormat | None
    outgoing: RequestTemplate
    streaming: RequestTemplate
    whole: ResponseRule | None
    stream: StreamRule | None
    openai_whole: bool
    openai_stream: bool
    fast_text_path: Path | None
    is_passthrough: bool
    failing: ErrorMapper
    session: SessionRule | None
    calls: tuple[Callout, ...]
    poll: Callout | None
    sends_request: bool
    cancel: Callout | None
    pass_key: bool
    emulate: EmulateSpec
    refuses_unsupported: bool
    limits: LimitsSpec
    transport: TransportSpec
    samples: tuple[tuple[Node, SampleSpec], ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @cached_property
    def plans(self) -> Mapping[tuple[str, bool], EndpointPlan]:
        """How requests take their way, by their endpoint's name and whether a stream is wanted."""
        return {
            (name, wanted): EndpointPlan(self, endpoint, wanted=wanted)
            for name, endpoint in ENDPOINTS.items()
            for wanted in (False, True)
        }

    @cached_property
    def callouts(self) -> tuple[Callout, ...]:
        """All calls around an answer."""
        session = self.session
        opened = (session.open, session.close) if session else ()
        return tuple(call for call in (*opened, *self.calls, self.poll, self.cancel) if call is not None)

    @cached_property
    def extracted_members(self) -> frozenset[str]:
        """The members of the request document that are read from servers' answers."""
        found = frozenset({"session"} if self.session else ())
        return found.union(*({name for name, _ in call.values} for call in self.callouts))

    @cached_property
    def reads_around(self) -> frozenset[str | None]:
        """The members of the request document that they look at."""
        return frozenset[str | None]().union(*(call.reads for call in self.callouts))

    @cached_property
    def printed(self) -> str:
        """Its name as a header takes it."""
        return header_safe(self.name)

    def masked(self, text: str) -> str:
        """A text for people, without the keys of this route."""
        return mask(text, self.secrets)


def header_safe(text: str) -> str:
    """A name as a header takes it."""
    return text.encode("ascii", "backslashreplace").decode().replace("\r", " ").replace("\n", " ")


class EndpointPlan:
    """One endpoint of a route, `wanted` as a stream or not.

    `stream` None: the server is asked to answer whole. `told`: what is the same in all request documents.
    `looks`: what any part of the request or of the calls around it looks at; `prompted`: the same, if the
    prompt has to be rendered. `changes`: the server sees another body than the client sent. `around`: there
    are calls around the answer. `passes`: answers are OpenAI's own, in the way that is wanted. `cuts`: there
    may be stop strings that the server is not told of. `several`: it gives as many answers as are wanted.
    `is_text`: a whole body is the answer itself, so that it need not be JSON. `short`: how answers are read
    that are whole on both sides, if they may be no more than a text with its finish, its counts and a name;
    `beside`: the slots of what else may be there.
    """

    __slots__ = (
        "_bodies",
        "_fixed",
        "_known",
        "answer_limit",
        "body",
        "changes",
        "client_streams",
        "constants",
        "cuts",
        "endpoint",
        "failing",
        "fast_path_excludes",
        "fast_rule",
        "frame_limit",
        "has_callouts",
        "is_text",
        "looks",
        "multiple_choices",
        "outgoing",
        "passes",
        "prompted",
        "reads",
        "route",
        "session",
        "stream",
        "tells_stop",
        "whole",
    )  # fmt: skip

    def __init__(self, route: Route, endpoint: EndpointSpec, *, wanted: bool) -> None:
        texts = endpoint.streams
        # What the server cannot do is made of what it can.
        streams = texts and route.stream is not None and (wanted or route.whole is None)
        self.route = route
        self.endpoint = endpoint
        self.client_streams = wanted and texts
        self.outgoing = route.streaming if streams else route.outgoing
        self.body: BodyRule = self.outgoing.body or UnchangedBody()
        self.reads = self.outgoing.reads | route.reads_around
        self.looks = RequiredMembers.at(frozenset(map(str, self.reads)))
        self.prompted = RequiredMembers.at(self.looks.names | route.prompt.variables)
        self.whole = route.whole
        self.stream = route.stream if streams else None
        self.failing = route.failing
        self.session = route.session.id if route.session else None
        self.frame_limit = route.limits.frame
        timeout = route.transport.timeouts.answer
        self.constants = {"endpoint": endpoint.path, "stream": self.stream is not None, "timeout": timeout}
        self.answer_limit = route.limits.answer
        text = route.whole.text if texts and route.whole else None
        self.is_text = text is not None and text.slot.whole
        sent = [
            *([self.outgoing] if route.sends_request else []),
            *(call.outgoing for call in route.callouts),
        ]
        self._bodies = [one.body for one in sent if one.method != "GET" and one.body is not None]
        self.multiple_choices = self._several()
        self.has_callouts = bool(route.callouts) or route.session is not None
        self.changes = route.model is not None or (texts and streams is not wanted)
        self.passes = self._passes()
        self.fast_rule = None if wanted or streams or not texts else self._short()
        self.fast_path_excludes = () if self.fast_rule is None else _beside(self.fast_rule)
        self.tells_stop = self.outgoing.body is not None and self.outgoing.body.forwards_unchanged("stop")
        self.cuts = route.emulate.stop and (bool(route.prompt.cut) or not self.tells_stop)
        emulated = {name for name in ("stop", "n") if getattr(route.emulate, name)}
        arriving = {name for name in PARAMETERS if self._arrives(name)}
        self._known = STRUCTURAL_MEMBERS | emulated | endpoint.bridge_parameters | arriving
        self._fixed: UpstreamRequest | None = None

    def dropped(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """The client's parameters that reach neither the server nor an emulation."""
        if self._known.issuperset(body):
            return ()
        return tuple(
            name
            for name, value in body.items()
            if name not in self._known
            and value is not None
            and not (name == "n" and value == 1)
            and not self._arrives(name)
        )

    def request(self, scope: Scope, body: bytes | None, own: Mapping[str, str]) -> UpstreamRequest:
        """The request whose answer is the client's. `own`: headers with the client's own key.

        Raises RequestError where a value cannot be part of a header.
        """
        fixed = self._fixed
        if fixed is None or own:
            made = make_request(self.outgoing, scope, body, {"Accept": self._accept} | dict(own))
            if self.outgoing.literal and not own:
                self._fixed = made
            return made
        return UpstreamRequest(fixed.method, fixed.urls, fixed.headers, body, fixed.auth, fixed.websocket)

    def reaches(self, name: str) -> bool:
        """Whether a parameter reaches the server, in the request or in a call around it."""
        return name in self.reads or any(body.forwards(name) for body in self._bodies)

    def _arrives(self, name: str) -> bool:
        """The same of it, or of the member of the request document that says the same."""
        if self.reaches(name):
            return True
        if name == "parallel_tool_calls" and self.route.tools and self.route.tools.choice_sets_parallel:
            return self.reaches("tool_choice")
        return name == "max_completion_tokens" and self.reaches("max_tokens")

    def _several(self) -> bool:
        if not self.endpoint.has_choices:
            return False
        if not self.endpoint.streams:
            return self.reaches("n")
        rule = self.stream.answer if self.stream else self.whole
        return rule is not None and rule.choices is not None

    def _passes(self) -> bool:
        route = self.route
        if (self.stream is not None) is not self.client_streams:
            return False
        return route.openai_stream if self.client_streams else route.openai_whole and self.whole is not None

    def _short(self) -> ResponseRule | None:
        rule = self.whole
        if rule is None or rule.text is None or self.has_callouts or self.route.emulate.usage == "estimate":
            return None
        if self.passes:
            return rule if self.endpoint.has_messages else None
        more = rule.choices or rule.text.parse or rule.text.strip_prompt or rule.text.trim or self.is_text
        return None if more or self.route.openai_whole else rule

    @property
    def _accept(self) -> str:
        if self.stream is None:
            return "application/json, */*;q=0.5"
        return "text/event-stream" if self.stream.framing == "sse" else "*/*"


def _beside(rule: ResponseRule) -> tuple[Extractor, ...]:
    """The slots of what no short answer has."""
    slots = (rule.reasoning and rule.reasoning.slot, rule.tool_calls, rule.logprobs)
    return tuple(slot for slot in slots if slot is not None)
