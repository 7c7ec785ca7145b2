"""The request document: `$` of the rules of requests, made of the client's body and of computed members.

Only the members that the rules of a route read are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.core.errors import RequestError
from bridge.core.messages import content_text
from bridge.exchange.tool_names import with_tool_names
from bridge.exchange.turns import is_system, turn_members
from bridge.tool_formats import to_format

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.json import JSONObject
    from bridge.exchange.request_context import RequestContext
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["prompt_to_messages", "request_document"]

Messages = list[dict[str, Any]]


def request_document(
    plan: EndpointPlan, body: JSONObject, messages: Messages, text: str | None, context: RequestContext
) -> JSONObject:
    """Return the document of one upstream call.

    `body` is the body with the upstream's model. `messages` is empty for several texts in one call, and
    `text` is the one text of a call that is not a chat. With a tool format, tools and messages are written in
    that format, while texts and the prompt are made of the client's own messages.

    Raises RequestError if text is required and the messages contain other content, if the prompt format
    rejects the messages, or if the tool format cannot express the tools.
    """
    if None in body.values():
        body = {name: value for name, value in body.items() if value is not None}
    texts = with_tool_names(_with_text_content(messages))
    document = {**body, **plan.constants, "messages": texts, "raw": context.body, "now": context.now}
    _add_aliases(document, plan)
    prompt, tools = plan.route.request.prompt, plan.route.request.tools
    renders_prompt = text is None and plan.required.prompt and bool(messages)
    required = plan.required_with_prompt if renders_prompt else plan.required
    if "stop" in body or (renders_prompt and prompt.stop):
        _set_stop(document, prompt.stop if renders_prompt else ())
    if required.text and texts is not messages:
        # A tool format can express images. Beside a tool format, only the system text must be text.
        system_only = tools is not None and required.system_alone
        _check_text(texts, system_only=system_only)
    if required.turns:
        document |= turn_members(texts, required.names)
    if text is not None:
        document["prompt"] = text
    elif renders_prompt:
        document["prompt"] = prompt.render(document)
    if tools is None:
        return document
    document |= to_format(tools, body, messages, plan.reads)
    return {name: value for name, value in document.items() if value is not MISSING}


def prompt_to_messages(prompt: str) -> Messages:
    """Return a legacy prompt as the messages of a chat."""
    return [{"role": "user", "content": prompt}]


def _add_aliases(document: JSONObject, plan: EndpointPlan) -> None:
    """Add members whose name or shape differs among the client's bodies: `inputs`, `max_tokens`."""
    if plan.endpoint.input_member == "input":
        value = document["input"]
        document["inputs"] = value if isinstance(value, list) else [value]
    if "max_tokens" not in document and "max_completion_tokens" in document:
        document["max_tokens"] = document["max_completion_tokens"]


def _set_stop(document: JSONObject, turn_markers: Iterable[str]) -> None:
    """Set the stop strings: the client's own, without empty strings, and the turn markers of the prompt."""
    stop = document.pop("stop", None)
    strings = [string for string in ([stop] if isinstance(stop, str) else stop or []) if string]
    strings += [marker for marker in turn_markers if marker not in strings]
    if strings:
        document["stop"] = strings


def _with_text_content(messages: Messages) -> Messages:
    """Return the messages with lists of text parts as text; the same list if every content is text."""
    for message in messages:
        if type(message.get("content")) is not str:
            return [_with_text(message) for message in messages]
    return messages


def _with_text(message: JSONObject) -> JSONObject:
    if not isinstance(message.get("content"), list):
        return message
    text = content_text(message)
    return message if text is None else {**message, "content": text}


def _check_text(messages: Messages, *, system_only: bool) -> None:
    for number, message in enumerate(messages):
        if content_text(message) is None and (is_system(message) or not system_only):
            raise RequestError(
                400,
                f"messages[{number}] contains a content part that is not text: this model takes text only",
                param=f"messages[{number}].content",
                code="unsupported_content",
            )
