"""A route, compiled: everything that a request on it needs, decided when the file was loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.config.nodes import Node
    from bridge.prompts import Prompt
    from bridge.routes.answers import AnswerRule, StreamRule
    from bridge.routes.bodies import BodyRule
    from bridge.routes.failing import Failing
    from bridge.routes.spec import EmulateSpec, SampleSpec
    from bridge.routes.spec.transport import LimitsSpec, TransportSpec
    from bridge.rules.builder import Builder
    from bridge.rules.slots import Slot

__all__ = ["Outgoing", "Route", "Session", "UpstreamRequest"]


class UpstreamRequest(NamedTuple):
    """One HTTP request to send. `urls`: the same at each replica; header names as they were written."""

    method: str
    urls: tuple[str, ...]
    headers: Mapping[str, str]
    body: bytes | None


_SHORTEST_SECRET = 4  # characters; a shorter text occurs everywhere


@dataclass(frozen=True)
class Outgoing:
    """How a request is made: templates of its parts over the request document."""

    method: str
    urls: tuple[Builder, ...]
    headers: Mapping[str, Builder]
    query: Mapping[str, Builder]
    body: BodyRule | None

    @cached_property
    def reads(self) -> frozenset[str | None]:
        """The members of the request document that any part looks at."""
        parts = [*self.urls, *self.headers.values(), *self.query.values()]
        names = frozenset[str | None]().union(*(part.reads for part in parts))
        return names | (self.body.reads if self.body else frozenset())


@dataclass(frozen=True, slots=True)
class Session:
    """Calls around an answer: opened before it, closed after it on every way out."""

    open: Outgoing
    id: Slot
    close: Outgoing | None


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `whole` None: the server only streams; `stream` None: it cannot stream.

    `openai_whole`, `openai_stream`: that answer is OpenAI's own, so it is passed on and mended.
    `plain`: there are no rules at all, bodies are OpenAI's own too.
    """

    name: str
    models: tuple[str, ...]
    model: Builder | None
    serves: frozenset[str]
    prompt: Prompt
    outgoing: Outgoing
    streaming: Outgoing
    whole: AnswerRule | None
    stream: StreamRule | None
    openai_whole: bool
    openai_stream: bool
    plain: bool
    failing: Failing
    session: Session | None
    pass_key: bool
    emulate: EmulateSpec
    refuses_unsupported: bool
    limits: LimitsSpec
    transport: TransportSpec
    samples: tuple[tuple[Node, SampleSpec], ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def masked(self, text: str) -> str:
        """A text for people, without the keys of this route."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text
