"""What may stand in `routes.yaml`: every key once, with its shape and a sentence for people.

These declarations check the file, make the reference page and the JSON Schema for editors. Slots,
templates and conditions are compiled as they are checked; the compiler puts them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.config.container_types import AnyOf, Deferred, ListOf, MapOf, OneOrMany, WithNode
from bridge.config.quantities import DURATION
from bridge.config.records import Record, Shorthand, option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import TEXT, Integer, Keyword, Text
from bridge.openai.endpoints import ENDPOINTS
from bridge.prompts import PROMPTS
from bridge.routes.rules.settings import ABSENT, URL, EmulateSpec, LimitsSpec, SampleSpec, TransportSpec
from bridge.routes.spec.auth import AuthSpec
from bridge.routes.spec.callouts import CallSpec, PollSpec, SessionSpec, ValuesSpec
from bridge.routes.spec.requests import HEADERS, PromptSpec, RequestSpec
from bridge.routes.spec.responses import RESPONSE, STREAM, ErrorSpec
from bridge.routes.spec.value_types import TEMPLATE, Constant
from bridge.tool_formats import TOOL_FORMATS

if TYPE_CHECKING:
    from bridge.config.yaml_tree import Node

__all__ = ["ABSENT", "FILE", "ROUTE", "EmulateSpec", "FileSpec", "RouteSpec", "SampleSpec", "ServerSpec"]

_ADDRESS = Text("HOST:PORT, such as 127.0.0.1:8080", pattern=r".*:\d{1,5}")
_ADDRESS_OR_OFF = Text("HOST:PORT, or off", pattern=r".*:\d{1,5}|off")


@record
class RouteSpec:
    models: tuple[str, ...] = option(
        OneOrMany(TEXT), "the models it answers for: names, or globs such as glm-*"
    )
    name: str | None = option(
        TEXT, "the route's label in metrics and logs; else its first model", default=None
    )
    model: Any = option(TEMPLATE, "the name sent upstream; else the one the client asked for", default=None)
    serves: tuple[str, ...] = option(
        OneOrMany(Keyword(ENDPOINTS)), "the endpoints it answers", default=("chat", "completions")
    )
    preset: str | None = option(TEXT, "a shipped route to build on", default=None)
    upstream: Any = option(
        Shorthand(Record(TransportSpec), "url", URL, f"{URL.expected}, or a mapping"),
        "the model server: a URL, or more about it",
        default=None,
    )
    path: str | None = option(TEXT, "joined to the upstream, which is a base then", default=None)
    headers: dict[str, Any] = option(
        HEADERS, "headers to send", default=None, aliases=["customHeaders"], secret=EXTERNAL
    )
    query: dict[str, Any] = option(
        HEADERS, "query parameters to add to the URL", default=None, secret=EXTERNAL
    )
    auth: Any = option(
        AnyOf(Keyword(("client",)), Record(AuthSpec)),
        "the key that the server wants; `client` passes theirs",
        default=None,
        secret=True,
    )
    prompt: Any = option(
        AnyOf(Keyword(PROMPTS), Record(PromptSpec)), "how messages become one string", default="plain"
    )
    tools: str | None = option(
        Keyword(TOOL_FORMATS), "the server's own shape of tools and calls; else OpenAI's", default=None
    )
    request: RequestSpec | None = option(
        Record(RequestSpec), "how the upstream's body is made; else the client's, passed on", default=None
    )
    response: Any = option(
        AnyOf(Constant(False, "false"), RESPONSE),
        "how a whole answer is read; `false`: the server only streams",
        default=ABSENT,
    )
    stream: Any = option(
        AnyOf(Constant(False, "false"), STREAM),
        "how a streamed answer is read; `false`: the server cannot stream",
        default=ABSENT,
    )
    error: tuple[ErrorSpec, ...] = option(
        OneOrMany(Record(ErrorSpec)), "how the server reports failure; a list is tried in order", default=()
    )
    session: SessionSpec | None = option(Record(SessionSpec), "calls around each answer", default=None)
    calls: dict[str, ValuesSpec] = option(
        MapOf(Record(ValuesSpec)),
        "calls ahead of the answer, in order; it may use their values",
        default=None,
    )
    poll: PollSpec | None = option(
        Record(PollSpec), "the answer is asked for until it is there", default=None
    )
    cancel: CallSpec | None = option(
        Record(CallSpec), "sent when nobody waits for the answer any more", default=None
    )
    emulate: EmulateSpec = option(
        Record(EmulateSpec), "what the bridge does for the server", default=EmulateSpec()
    )
    unsupported: str = option(
        Keyword(("drop", "error")),
        "what becomes of parameters that reach neither server nor emulation",
        default="drop",
    )
    limits: LimitsSpec = option(Record(LimitsSpec), "bounds", default=LimitsSpec())
    samples: tuple[tuple[Node, SampleSpec], ...] = option(
        ListOf(WithNode(Record(SampleSpec))), "examples that `format-bridge check` runs", default=()
    )


@record
class ServerSpec:
    listen: str = option(_ADDRESS, "the OpenAI front", default="127.0.0.1:8080")
    admin: str = option(
        _ADDRESS_OR_OFF, "/metrics, /healthz and /readyz; `off` for none", default="127.0.0.1:9090"
    )
    keys: tuple[str, ...] = option(
        OneOrMany(TEXT, min_items=0),
        "bearer keys that clients must show; none: open",
        default=(),
        secret=True,
    )
    workers: int = option(Integer(1, 128), "processes that share the front", default=1)
    cors: tuple[str, ...] = option(
        OneOrMany(TEXT), "origins whose pages may call the front, or `*`; none: no page may", default=()
    )
    drain: float = option(DURATION, "how long answers in flight may go on at shutdown", default=30.0)


ROUTE: Final = Record(RouteSpec)


@record
class FileSpec:
    routes: tuple[Node, ...] = option(ListOf(Deferred(ROUTE), min_items=1), "the table of routes")
    server: ServerSpec = option(Record(ServerSpec), "where and how the bridge serves", default=ServerSpec())


FILE: Final = Record(FileSpec)
