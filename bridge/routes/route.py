"""A route, compiled: everything that a request on it needs, decided when the file was loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from bridge.routes.signing import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.config.nodes import Node
    from bridge.prompts import Prompt
    from bridge.routes.answers import AnswerRule, StreamRule
    from bridge.routes.bodies import BodyRule
    from bridge.routes.failing import Failing
    from bridge.routes.signing import Made
    from bridge.routes.spec import EmulateSpec, SampleSpec
    from bridge.routes.spec.transport import LimitsSpec, TransportSpec
    from bridge.rules.builder import Asked, Builder
    from bridge.rules.paths import Path
    from bridge.rules.scope import Scope
    from bridge.rules.slots import Slot
    from bridge.tools import ToolFormat

__all__ = ["Call", "Outgoing", "Route", "Session", "UpstreamRequest", "origin"]


class UpstreamRequest(NamedTuple):
    """One HTTP request to send. `urls`: the same at each replica; header names as they were written.

    `auth`: the credential that is made for it when it is sent. `websocket`: it is the first message on one,
    whose messages have at most so many bytes.
    """

    method: str
    urls: tuple[str, ...]
    headers: Mapping[str, str]
    body: bytes | None
    auth: Made | None = None
    websocket: int | None = None


def origin(url: str) -> str | None:
    """Scheme, host and port of a URL; None where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname and port else None


_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Outgoing:
    """How a request is made: templates of its parts over the request document.

    `keys` and `key_query` show the server's key, `auth` makes one. Where a URL comes from a server's answer
    they go to `origins` alone, those of the route's own upstream; None: the file says where the request goes.
    `websocket`: see `UpstreamRequest`.
    """

    method: str
    urls: tuple[Builder, ...]
    headers: Mapping[str, Builder]
    query: Mapping[str, Builder]
    body: BodyRule | None
    keys: Mapping[str, Builder] = field(default_factory=dict)
    key_query: Mapping[str, Builder] = field(default_factory=dict)
    auth: Made | None = None
    origins: frozenset[str | None] | None = None
    websocket: int | None = None

    @cached_property
    def reads(self) -> frozenset[str | None]:
        """The members of the request document that any part looks at."""
        parts = [*self.urls, *self.headers.values(), *self.query.values(), *self.keys.values()]
        names = frozenset[str | None]().union(*(part.reads for part in parts))
        return names | (self.body.reads if self.body else frozenset())

    def shows_keys(self, url: str) -> bool:
        """Whether the keys may go to a URL."""
        return self.origins is None or origin(url) in self.origins - {None}


@dataclass(frozen=True, slots=True)
class Call:
    """A call around an answer. `at` is where in the file it stands.

    `url` reads its URL from the newest answer, where its own are none. With `until` it is made again, every
    so many seconds, for at most `timeout` seconds; `values` are then read from its last answer.
    """

    at: str
    outgoing: Outgoing
    when: Asked | None = None
    url: Slot | None = None
    values: tuple[tuple[str, Slot], ...] = ()
    until: Callable[[Scope], bool] | None = None
    every: float = 0.5
    timeout: float = 300.0

    @property
    def reads(self) -> frozenset[str | None]:
        """The members of the request document that it looks at."""
        return self.outgoing.reads | (self.when.reads if self.when else frozenset())


@dataclass(frozen=True, slots=True)
class Session:
    """What a server keeps between calls. `id`: where the answer itself names it, if nothing opens it.

    `conversation`: it is kept for the next turn, and found `by` the transcript, `user` or a header of the
    client; at `most` so many are kept in `store`, each for `ttl` seconds.
    """

    open: Call | None
    id: Slot | None
    close: Call | None
    conversation: bool
    by: str
    header: str | None
    ttl: float
    most: int
    store: str


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
    model: Builder | None
    serves: frozenset[str]
    prompt: Prompt
    tools: ToolFormat | None
    outgoing: Outgoing
    streaming: Outgoing
    whole: AnswerRule | None
    stream: StreamRule | None
    openai_whole: bool
    openai_stream: bool
    alone: Path | None
    plain: bool
    failing: Failing
    session: Session | None
    calls: tuple[Call, ...]
    poll: Call | None
    asks: bool
    cancel: Call | None
    pass_key: bool
    emulate: EmulateSpec
    refuses_unsupported: bool
    limits: LimitsSpec
    transport: TransportSpec
    samples: tuple[tuple[Node, SampleSpec], ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @cached_property
    def around(self) -> tuple[Call, ...]:
        """All calls around an answer."""
        session = self.session
        opened = (session.open, session.close) if session else ()
        return tuple(call for call in (*opened, *self.calls, self.poll, self.cancel) if call is not None)

    @cached_property
    def finds(self) -> frozenset[str]:
        """The members of the request document that are read from servers' answers."""
        found = frozenset({"session"} if self.session else ())
        return found.union(*({name for name, _ in call.values} for call in self.around))

    @cached_property
    def reads_around(self) -> frozenset[str | None]:
        """The members of the request document that they look at."""
        return frozenset[str | None]().union(*(call.reads for call in self.around))

    def masked(self, text: str) -> str:
        """A text for people, without the keys of this route."""
        return mask(text, self.secrets)
