"""The request document: `$` of a request's rules, the client's body and what is computed from it.

Only what a route's rules look at is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.core.errors import RequestError
from bridge.core.messages import content_text
from bridge.tool_formats import to_format

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["prompt_to_messages", "request_document", "stop_strings"]
Messages = list[dict[str, Any]]


def request_document(
    plan: EndpointPlan, body: JSONObject, messages: Messages, text: str | None, raw: JSONObject, now: float
) -> JSONObject:
    """The document for one upstream request: of what is computed, the members that its plan looks at.

    `body` has the upstream's model, `text` is the one text of a call that is no chat, which has no
    `messages` where it has several; `raw` is the client's own body, `now` in Unix seconds. Where the route
    has a format of tools, tools, their choice, messages and turns are written in it; texts and the prompt
    are of the client's own. Raises RequestError where a text is needed of messages that hold more than text,
    where the prompt refuses them, or where the format cannot say what is asked.
    """
    own, looks = messages, plan.required
    prompt, tools = plan.route.request.prompt, plan.route.request.tools
    are_texts = True
    for message in messages:
        if type(message.get("content")) is not str:
            are_texts = False
            messages = [_flattened(message) for message in messages]
            break
    if None in body.values():
        body = {name: value for name, value in body.items() if value is not None}
    document = {**body, **plan.constants, "messages": messages, "raw": raw, "now": now}
    if plan.endpoint.input_member == "input":
        given = body["input"]
        document["inputs"] = given if isinstance(given, list) else [given]
    if "max_tokens" not in document and "max_completion_tokens" in document:
        document["max_tokens"] = document["max_completion_tokens"]
    renders = text is None and looks.prompt and bool(messages)
    if renders:
        looks = plan.required_with_prompt
    if "stop" in body or (renders and prompt.stop):
        _settle_stops(document, body, prompt.stop if renders else ())
    if looks.text and not are_texts:
        # A format of tools writes images too: beside it, only what is made text here must be.
        some = tools is not None and looks.system_alone
        _check_text([{} if some and not _is_system(message) else message for message in messages])
    if looks.turns:
        document |= _turn_members(messages, looks.names)
    if text is not None:
        document["prompt"] = text
    elif renders:
        document["prompt"] = prompt.render(document)
    if tools is None:
        return document
    document |= to_format(tools, body, own, plan.reads)
    return {name: value for name, value in document.items() if value is not MISSING}


def prompt_to_messages(prompt: str) -> Messages:
    """A legacy prompt as the messages of a chat."""
    return [{"role": "user", "content": prompt}]


def stop_strings(body: JSONObject) -> tuple[str, ...]:
    """The client's stop strings; empty ones stop nothing."""
    stop = body.get("stop")
    listed = [stop] if isinstance(stop, str) else stop or []
    return tuple(string for string in listed if string)


def _settle_stops(document: JSONObject, body: JSONObject, markers: tuple[str, ...]) -> None:
    """A template's turn markers end the answer as the client's own stop strings do."""
    stops = stop_strings(body)
    stops += tuple(marker for marker in markers if marker not in stops)
    document.pop("stop", None)
    if stops:
        document["stop"] = list(stops)


def _turn_members(messages: Messages, named: frozenset[str]) -> JSONObject:
    """`turns`, `system`, `last` and `history`."""
    turns = [message for message in messages if not _is_system(message)]
    found: JSONObject = {"turns": turns}
    if "system" in named:
        said = [text for message in messages if _is_system(message) and (text := _text(message))]
        if said:
            found["system"] = "\n\n".join(said)
    last = max((n for n, message in enumerate(turns) if message["role"] == "user"), default=None)
    if last is None:
        last = len(turns) - 1
    if "last" in named and turns:
        found["last"] = _text(turns[last])
    if "history" in named:
        found["history"] = _pairs(turns[: max(last, 0)])
    return found


def _pairs(turns: Messages) -> list[list[str]]:
    """Turns as [user, assistant]; what one side says in a row is one turn of it."""
    pairs: list[list[str]] = []
    answered = True
    for turn in turns:
        text = _text(turn)
        if turn["role"] == "assistant":
            if not pairs:
                pairs.append(["", ""])
            pairs[-1][1] = f"{pairs[-1][1]}\n\n{text}" if pairs[-1][1] else text
            answered = True
        elif answered:
            pairs.append([text, ""])
            answered = False
        else:
            pairs[-1][0] += f"\n\n{text}"
    return pairs


def _flattened(message: JSONObject) -> JSONObject:
    """A message whose content is a list of text parts, with that content as text."""
    if not isinstance(message.get("content"), list):
        return message
    text = content_text(message)
    return message if text is None else {**message, "content": text}


def _check_text(messages: Messages) -> None:
    for number, message in enumerate(messages):
        if content_text(message) is None:
            raise RequestError(
                400,
                f"this model takes text only: messages[{number}] holds a content part that is no text",
                param=f"messages[{number}].content",
                code="unsupported_content",
            )


def _is_system(message: JSONObject) -> bool:
    return message["role"] in ("system", "developer")


def _text(message: JSONObject) -> str:
    return content_text(message) or ""
