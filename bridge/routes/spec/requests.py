"""How requests are made."""

from __future__ import annotations

from typing import Any

from bridge.config.records import key, record
from bridge.config.value_types import TEXT, ListOf, MapOf
from bridge.routes.rules.settings import ABSENT
from bridge.routes.spec.value_types import BODY, TEMPLATE

__all__ = ["HEADERS", "PromptSpec", "RequestSpec"]

HEADERS = MapOf(TEMPLATE)


@record
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


@record
class PromptSpec:
    template: str | None = key(TEXT, "a Jinja template over the request document", default=None)
    file: str | None = key(
        TEXT, "a file: a Jinja template, or a Hugging Face tokenizer_config.json", default=None
    )
