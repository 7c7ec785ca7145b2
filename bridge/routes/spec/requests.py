"""The keys of requests: `request` and `prompt`."""

from __future__ import annotations

from typing import Any

from bridge.config.container_types import ListOf, MapOf
from bridge.config.records import option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import ANY, TEXT, Keyword
from bridge.routes.rules.settings import ABSENT
from bridge.routes.spec.value_types import BODY, HEADERS

__all__ = ["PromptSpec", "RequestSpec"]


@record
class RequestSpec:
    """The building of the upstream's body: edits of the client's body, or a body of its own."""

    keep: tuple[str, ...] | None = option(
        ListOf(TEXT), "only these members of the client's body are sent", default=None
    )
    drop: tuple[str, ...] = option(ListOf(TEXT), "these members are not sent; not beside `keep`", default=())
    rename: dict[str, str] = option(MapOf(TEXT), "top-level members get other names", default=None)
    content: str | None = option(
        Keyword(("text",)),
        "a content of nothing but texts is sent as a string; so without this key too, unless responses are "
        "in OpenAI's format",
        default=None,
    )
    message_keys: dict[str, str] = option(
        MapOf(TEXT),
        "`role` and `content` of every message get other names",
        default=None,
        aliases=["messageKeys"],
    )
    roles: dict[str, str] = option(
        MapOf(TEXT), "values of `role` are translated, such as {assistant: bot}", default=None
    )
    fields: Any = option(
        BODY,
        "members set at top level, after all other edits; `messages` cannot be set",
        default=None,
        aliases=["customFields"],
    )
    headers: dict[str, Any] = option(
        HEADERS,
        "headers, like those of the route",
        default=None,
        aliases=["customHeaders"],
        secret=EXTERNAL,
    )
    body: Any = option(
        BODY, "a body of its own, of any JSON shape, in place of the edits; may be null", default=ABSENT
    )


@record
class PromptSpec:
    """A prompt format that the file contains."""

    template: str | None = option(TEXT, "a Jinja template over the request document", default=None)
    file: str | None = option(
        TEXT, "a file: a Jinja template, or a Hugging Face tokenizer_config.json", default=None
    )
    variables: dict[str, Any] | None = option(
        MapOf(ANY), "variables of the template; the client's `chat_template_kwargs` win", default=None
    )
