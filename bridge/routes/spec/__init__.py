"""The keys of `routes.yaml`: each is declared once, with its type, a phrase for people, and a default.

The declarations check a file, and make the reference page and the JSON Schema for editors. Slots, templates
and conditions are compiled while they are checked; `routes/compile` puts the results together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.config.container_types import AnyOf, Deferred, ListOf, MapOf, OneOrMany, WithNode
from bridge.config.records import Record, Shorthand, option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import TEXT, Constant, Keyword, Text
from bridge.openai.endpoints import ENDPOINTS
from bridge.prompts import PROMPTS
from bridge.routes.rules.settings import ABSENT, EmulateSpec, LimitsSpec, SampleSpec
from bridge.routes.rules.transport import URL
from bridge.routes.spec.auth import AuthSpec
from bridge.routes.spec.callouts import CallSpec, PollSpec, SessionSpec, ValuesSpec
from bridge.routes.spec.requests import PromptSpec, RequestSpec
from bridge.routes.spec.responses import RESPONSE, STREAM, ErrorSpec
from bridge.routes.spec.server import ServerSpec
from bridge.routes.spec.upstream import UpstreamSpec
from bridge.routes.spec.value_types import HEADERS, QUERY, TEMPLATE
from bridge.tool_formats import TOOL_FORMATS

if TYPE_CHECKING:
    from bridge.config.yaml_tree import Node

__all__ = ["ABSENT", "FILE", "ROUTE", "EmulateSpec", "FileSpec", "RouteSpec", "SampleSpec", "ServerSpec"]

_URL_OR_MAPPING = f"{URL.expected}, or a mapping"


@record
class RouteSpec:
    """A route."""

    models: tuple[str, ...] = option(
        OneOrMany(TEXT), "the model names that clients request: names, or globs such as glm-*"
    )
    lists: tuple[str, ...] | None = option(
        OneOrMany(TEXT),
        "names that /v1/models lists for the globs in `models`; if absent: the names in `models` only",
        default=None,
    )
    models_from: str | None = option(
        Text("a path on the upstream's host, such as /v1/models, or a URL", pattern=r"(/|https?://).*"),
        "the upstream's own list of models, of which /v1/models lists those that the route serves",
        default=None,
    )
    name: str | None = option(
        TEXT, "the route's label in metrics and logs; if absent: the first model", default=None
    )
    model: Any = option(
        TEMPLATE, "the model name sent upstream; if absent: the name that the client requested", default=None
    )
    serves: tuple[str, ...] = option(
        OneOrMany(Keyword(ENDPOINTS)),
        "the endpoints of the route; `chat` includes `responses` and `messages` unless one of them is named",
        default=("chat", "completions"),
    )
    preset: str | None = option(TEXT, "a shipped route to start from", default=None)
    upstream: Any = option(
        Shorthand(Record(UpstreamSpec), "url", URL, _URL_OR_MAPPING),
        "the model server: its URL, or a mapping with `url`",
        default=None,
    )
    path: str | None = option(TEXT, "a path that is joined to the upstream's URL; a template", default=None)
    headers: dict[str, Any] = option(
        HEADERS, "headers to send", default=None, aliases=["customHeaders"], secret=EXTERNAL
    )
    query: dict[str, Any] = option(QUERY, "query parameters to add to the URL", default=None, secret=EXTERNAL)
    auth: Any = option(
        AnyOf(Keyword(("client",)), Record(AuthSpec)),
        "how the bridge authenticates to the upstream; `client` forwards the client's Authorization header",
        default=None,
        secret=True,
    )
    prompt: Any = option(
        AnyOf(Keyword(PROMPTS), Record(PromptSpec)), "how messages become one string", default="plain"
    )
    tools: str | None = option(
        Keyword(TOOL_FORMATS), "the upstream's tool format; if absent: OpenAI's", default=None
    )
    request: RequestSpec | None = option(
        Record(RequestSpec),
        "how the upstream's body is built; if absent: the client's body, unchanged",
        default=None,
    )
    response: Any = option(
        AnyOf(Constant(False, "false"), RESPONSE),
        "how a non-streaming response is read; `false`: the upstream only streams",
        default=ABSENT,
    )
    stream: Any = option(
        AnyOf(Constant(False, "false"), STREAM),
        "how a stream is read; `false`: the upstream cannot stream",
        default=ABSENT,
    )
    error: tuple[ErrorSpec, ...] = option(
        OneOrMany(Record(ErrorSpec)),
        "how the upstream reports failure; the rules of a list are tried in order",
        default=(),
    )
    session: SessionSpec | None = option(
        Record(SessionSpec), "calls that open and close a session around each response", default=None
    )
    calls: dict[str, ValuesSpec] = option(
        MapOf(Record(ValuesSpec)),
        "calls before the response, made in order; the response's request may use their values",
        default=None,
    )
    poll: PollSpec | None = option(
        Record(PollSpec), "a call that is repeated until the response is complete", default=None
    )
    cancel: CallSpec | None = option(
        Record(CallSpec), "a call that is made when the response is no longer required", default=None
    )
    emulate: EmulateSpec = option(
        Record(EmulateSpec), "what the bridge does in place of the upstream", default=EmulateSpec()
    )
    unsupported: str = option(
        Keyword(("drop", "error")),
        "what happens to parameters that are neither sent upstream nor emulated",
        default="drop",
    )
    fallback: str | None = option(
        TEXT,
        "the name of the route that is tried when this one fails before its first output; if absent: none",
        default=None,
    )
    limits: LimitsSpec = option(Record(LimitsSpec), "limits of sizes and numbers", default=LimitsSpec())
    samples: tuple[tuple[Node, SampleSpec], ...] = option(
        ListOf(WithNode(Record(SampleSpec))), "examples that `format-bridge check` runs", default=()
    )


ROUTE: Final = Record(RouteSpec)


@record
class FileSpec:
    """A routes file."""

    routes: tuple[Node, ...] = option(ListOf(Deferred(ROUTE), min_items=1), "the routes")
    server: ServerSpec = option(Record(ServerSpec), "the settings of the bridge itself", default=ServerSpec())


FILE: Final = Record(FileSpec)
