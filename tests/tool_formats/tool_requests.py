"""Requests with tools, and the upstream bodies of each tool format."""

from __future__ import annotations

from typing import Any

from tests.exchange.single_exchange import request, request_body
from tests.tool_formats.sample_responses import SERVERS

__all__ = [
    "EMPTY",
    "NAMED",
    "NUMBER",
    "PICK",
    "PICK_FUNCTION",
    "PNG",
    "REMOTE",
    "STIR",
    "TALK",
    "call",
    "result",
    "sent_body",
    "sent_messages",
]

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
EMPTY = {"type": "object", "properties": {}}
PICK = {
    "type": "function",
    "function": {"name": "pick", "description": "Picks.", "parameters": NUMBER, "strict": True},
}
STIR = {"type": "function", "function": {"name": "stir"}}
PICK_FUNCTION = {"name": "pick", "description": "Picks."}
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}
REMOTE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def call(call_id: str, name: str = "pick", arguments: str = '{"n":1}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


NAMED = {"type": "function", "function": {"name": "pick"}}

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Pick"}, {"type": "text", "text": "two."}]},
    {"role": "assistant", "content": "I will.", "tool_calls": [call("c1"), call("c2", "stir", "")]},
    result("c2", '{"ok":true}'),
    result("c1", "red"),
    {"role": "user", "content": "And?"},
]


def sent_body(name: str, **members: Any) -> Any:
    """Return the upstream body."""
    return request_body(SERVERS[name].rules, request(**members))


def sent_messages(name: str, *messages: Any) -> Any:
    """Return the messages of the upstream body."""
    body = sent_body(name, messages=list(messages))
    return body["contents" if name == "gemini" else "messages"]
