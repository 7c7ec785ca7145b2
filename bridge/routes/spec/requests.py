"""How requests are made: the body, and the calls around an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.config.records import Record, key
from bridge.config.shapes import TEXT, Choice, ListOf, MapOf
from bridge.routes.shapes import BODY, SLOT, TEMPLATE
from bridge.routes.spec.transport import METHOD, URL

__all__ = ["ABSENT", "HEADERS", "CallSpec", "OpenSpec", "PromptSpec", "RequestSpec", "SessionSpec"]

ABSENT = "absent"
"""The default of what may be inherited or turned off, and of bodies, which may be null."""

HEADERS = MapOf(TEMPLATE)


@dataclass(frozen=True)
class RequestSpec:
    keep: tuple[str, ...] | None = key(ListOf(TEXT), "only these members of the client's body", default=None)
    drop: tuple[str, ...] = key(ListOf(TEXT), "all but these members", default=())
    rename: dict[str, str] = key(MapOf(TEXT), "members under other names", default=None)
    message_keys: dict[str, str] = key(
        MapOf(TEXT), "names for `role` and `content` in messages", default=None, aliases=["messageKeys"]
    )
    roles: dict[str, str] = key(MapOf(TEXT), "values for roles, such as {assistant: bot}", default=None)
    fields: Any = key(
        BODY, "members set last, at top level; never messages", default=None, aliases=["customFields"]
    )
    headers: dict[str, Any] = key(
        HEADERS, "the same as the route's headers", default=None, aliases=["customHeaders"]
    )
    body: Any = key(BODY, "a body built from nothing, of any shape, in place of the edits", default=ABSENT)


@dataclass(frozen=True)
class PromptSpec:
    template: str | None = key(TEXT, "a Jinja template over the request document", default=None)
    file: str | None = key(
        TEXT, "a file: a Jinja template, or a Hugging Face tokenizer_config.json", default=None
    )


@dataclass(frozen=True)
class CallSpec:
    url: str | None = key(URL, "the whole URL", default=None)
    path: str | None = key(TEXT, "a path on the route's upstream", default=None)
    method: str | None = key(METHOD, "the HTTP method; else POST with a body, GET without", default=None)
    headers: dict[str, Any] = key(HEADERS, "headers", default=None)
    query: dict[str, Any] = key(HEADERS, "query parameters", default=None)
    body: Any = key(BODY, "the body, a template", default=ABSENT)


@dataclass(frozen=True)
class OpenSpec(CallSpec):
    id: Any = key(
        SLOT, "where the session's id is in the answer; the member `session` from then on", default=None
    )


@dataclass(frozen=True)
class SessionSpec:
    open: OpenSpec = key(Record(OpenSpec), "the call that opens a session")
    close: CallSpec | None = key(Record(CallSpec), "the call that closes it", default=None)
    keep: str = key(Choice(("request",)), "how long: opened and closed around each answer", default="request")
