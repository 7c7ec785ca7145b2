"""How requests are made."""

from __future__ import annotations

from typing import Any

from bridge.config.container_types import ListOf, MapOf
from bridge.config.records import option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import TEXT
from bridge.routes.rules.settings import ABSENT
from bridge.routes.spec.value_types import BODY, TEMPLATE

__all__ = ["HEADERS", "PromptSpec", "RequestSpec"]

HEADERS = MapOf(TEMPLATE)


@record
class RequestSpec:
    keep: tuple[str, ...] | None = option(
        ListOf(TEXT), "only these members of the client's body", default=None
    )
    drop: tuple[str, ...] = option(ListOf(TEXT), "all but these members", default=())
    rename: dict[str, str] = option(MapOf(TEXT), "members under other names", default=None)
    message_keys: dict[str, str] = option(
        MapOf(TEXT), "names for `role` and `content` in messages", default=None, aliases=["messageKeys"]
    )
    roles: dict[str, str] = option(MapOf(TEXT), "values for roles, such as {assistant: bot}", default=None)
    fields: Any = option(
        BODY, "members set last, at top level; never messages", default=None, aliases=["customFields"]
    )
    headers: dict[str, Any] = option(
        HEADERS, "the same as the route's headers", default=None, aliases=["customHeaders"], secret=EXTERNAL
    )
    body: Any = option(BODY, "a body built from nothing, of any shape, in place of the edits", default=ABSENT)


@record
class PromptSpec:
    template: str | None = option(TEXT, "a Jinja template over the request document", default=None)
    file: str | None = option(
        TEXT, "a file: a Jinja template, or a Hugging Face tokenizer_config.json", default=None
    )
