"""The input items of the Responses API as the messages of a chat.

{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
{"type": "reasoning", …}, {"type": "function_call", …}    ─▶  one message of the assistant
{"type": "function_call_output", …}                       ─▶  a message of the role `tool`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.errors import RequestError
from bridge.openai.request_validation import invalid_type
from bridge.openai.translation import member, objects

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.openai.translation import DroppedNames

__all__ = ["input_messages"]


def input_messages(instructions: Any, items: Any, dropped: DroppedNames) -> list[JSONObject]:
    """Return the messages of instructions and input items. Raise RequestError (400)."""
    conversation = _Conversation(dropped)
    if isinstance(instructions, str) and instructions:
        conversation.messages.append({"role": "system", "content": instructions})
    if isinstance(items, str):
        conversation.messages.append({"role": "user", "content": items})
    else:
        for number, item in enumerate(objects(items, "input")):
            conversation.add(item, f"input[{number}]")
    if not conversation.messages:
        raise RequestError(400, "`input` must not be empty", param="input", code="empty_array")
    return conversation.messages


class _Conversation:
    """The messages so far. Neighbouring items of the assistant's turn become one message."""

    def __init__(self, dropped: DroppedNames) -> None:
        self.messages: list[JSONObject] = []
        self._dropped = dropped
        self._reasoning: list[str] = []  # the texts of reasoning items before the message they belong to

    def add(self, item: JSONObject, at: str) -> None:
        """Add an item. Raise RequestError (400)."""
        match item.get("type", "message"):
            case "message":
                self._add_message(item, at)
            case "function_call":
                self._add_call(item, member(item, "arguments", at), at)
            case "custom_tool_call":
                arguments = json.dumps({"input": member(item, "input", at)}).decode()
                self._add_call(item, arguments, at)
            case "function_call_output" | "custom_tool_call_output":
                content = self._content(item.get("output"), f"{at}.output")
                call = member(item, "call_id", at)
                self.messages.append({"role": "tool", "tool_call_id": call, "content": content})
            case "reasoning":
                self._reasoning += _texts(item.get("content")) or _texts(item.get("summary"))
            case "item_reference":
                message = f"`{at}` refers to a stored response, which this route does not keep: send the item"
                raise RequestError(400, message, param=at, code="unsupported_value")
            case kind:
                self._dropped.add(f"input.{kind}")

    def _add_message(self, item: JSONObject, at: str) -> None:
        role = member(item, "role", at)
        content = self._content(item.get("content"), f"{at}.content")
        message: JSONObject = {"role": role, "content": content}
        if role == "assistant":
            self._add_reasoning(message)
        self.messages.append(message)

    def _add_call(self, item: JSONObject, arguments: str, at: str) -> None:
        function = {"name": member(item, "name", at), "arguments": arguments}
        call = {"id": member(item, "call_id", at), "type": "function", "function": function}
        message = self.messages[-1] if self.messages else {}
        if message.get("role") != "assistant" or self._reasoning:
            message = {"role": "assistant", "content": None}
            self._add_reasoning(message)
            self.messages.append(message)
        message.setdefault("tool_calls", []).append(call)

    def _add_reasoning(self, message: JSONObject) -> None:
        if self._reasoning:
            message["reasoning_content"] = "\n".join(self._reasoning)
            self._reasoning = []

    def _content(self, content: Any, at: str) -> Any:
        """Return the content of a message: one text, or parts if there is more than text."""
        if isinstance(content, str):
            return content
        parts = [
            part
            for number, sent in enumerate(objects(content, at))
            if (part := self._part(sent, f"{at}[{number}]")) is not None
        ]
        if all(part["type"] == "text" for part in parts):
            return "".join(part["text"] for part in parts)
        return parts

    def _part(self, part: JSONObject, at: str) -> JSONObject | None:
        match part.get("type"):
            case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
                return {"type": "text", "text": member(part, "text", at)}
            case "refusal":
                return {"type": "text", "text": member(part, "refusal", at)}
            case "input_image":
                url = part.get("image_url")
                if not isinstance(url, str):
                    raise invalid_type(f"{at}.image_url", "a URL: a file of a store cannot be sent", url)
                image = {"url": url} | ({"detail": part["detail"]} if part.get("detail") else {})
                return {"type": "image_url", "image_url": image}
            case "input_file":
                names = ("file_data", "file_id", "filename")
                return {"type": "file", "file": {name: part[name] for name in names if part.get(name)}}
            case "input_audio":
                return {"type": "input_audio", "input_audio": part.get("input_audio")}
            case kind:
                self._dropped.add(f"input.{kind}")
                return None


def _texts(parts: Any) -> list[str]:
    """Return the texts of the parts of a reasoning item."""
    if not isinstance(parts, list):
        return []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
