"""Requests of Anthropic's Messages API as requests for chat completions.

    system, messages of blocks        ─▶  messages; results of tools become messages of the role `tool`
    tools with an `input_schema`      ─▶  function tools
    stop_sequences, thinking, …       ─▶  stop, reasoning_effort, …

Source: Anthropic's API reference, "Messages" (version 2023-06-01, as of 2025). Tools that Anthropic's servers
run are dropped by name, and so are blocks that a chat cannot express.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.errors import RequestError
from bridge.openai.request_validation import invalid_type
from bridge.openai.translation import DroppedNames, Translation, member, objects

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["messages_to_chat"]

_RENAMED = {
    "model": "model",
    "max_tokens": "max_tokens",
    "stop_sequences": "stop",
    "stream": "stream",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
}
_TRANSLATED = frozenset(
    {
        "messages",
        "metadata",
        "output_config",
        "output_format",
        "service_tier",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_EFFORTS = ((4_000, "low"), (16_000, "medium"))  # efforts below these budgets of thinking, in tokens


def messages_to_chat(body: JSONObject) -> Translation:
    """Return a request as a chat request. Raise RequestError (400) for what is invalid."""
    dropped = DroppedNames()
    chat: JSONObject = {
        chat_name: body[name] for name, chat_name in _RENAMED.items() if body.get(name) is not None
    }
    messages = _system(body.get("system"))
    for number, message in enumerate(body["messages"]):
        messages += _Message(message, f"messages[{number}]", dropped).as_chat()
    chat["messages"] = messages
    if chat.get("stream") is True:
        chat["stream_options"] = {"include_usage": True}
    tools = _tools(body, dropped)
    if tools:
        chat["tools"] = tools
        _add_tool_choice(chat, body.get("tool_choice") or {})
    _add_options(chat, body)
    for name, value in body.items():
        if name not in _RENAMED and name not in _TRANSLATED and value is not None:
            dropped.add(name)
    return Translation(chat, dropped.as_tuple())


def _system(system: Any) -> list[JSONObject]:
    """Return the system message: a text, or blocks of text."""
    if system is not None and not isinstance(system, str):
        blocks = objects(system, "system")
        system = "\n\n".join(member(block, "text", f"system[{n}]") for n, block in enumerate(blocks))
    return [{"role": "system", "content": system}] if system else []


class _Message:
    """One message of blocks, as the messages of a chat that say the same."""

    def __init__(self, message: JSONObject, at: str, dropped: DroppedNames) -> None:
        """Read the blocks of a message. Raise RequestError (400)."""
        self._role = member(message, "role", at)
        self._dropped = dropped
        self._results: list[JSONObject] = []
        self._parts: list[JSONObject] = []
        self._calls: list[JSONObject] = []
        self._thinking: list[str] = []
        content = message.get("content")
        if isinstance(content, str):
            self._parts.append({"type": "text", "text": content})
        else:
            for number, block in enumerate(objects(content, f"{at}.content")):
                self._add(block, f"{at}.content[{number}]")

    def as_chat(self) -> list[JSONObject]:
        """Return the results of tools, then what else the message contains."""
        if self._role != "assistant":
            return self._results + (
                [{"role": self._role, "content": _joined(self._parts)}] if self._parts else []
            )
        message: JSONObject = {"role": "assistant", "content": _joined(self._parts) or None}
        if self._thinking:
            message["reasoning_content"] = "\n".join(self._thinking)
        if self._calls:
            message["tool_calls"] = self._calls
        return [message]

    def _add(self, block: JSONObject, at: str) -> None:
        match block.get("type"):
            case "tool_use":
                arguments = json.dumps(block.get("input") or {}).decode()
                function = {"name": member(block, "name", at), "arguments": arguments}
                self._calls.append({"id": member(block, "id", at), "type": "function", "function": function})
            case "tool_result":
                self._results.append(
                    {
                        "role": "tool",
                        "tool_call_id": member(block, "tool_use_id", at),
                        "content": self._result(block, at),
                    }
                )
            case "thinking":
                self._thinking.append(member(block, "thinking", at))
            case "redacted_thinking":  # encrypted: nobody but Anthropic can read it
                pass
            case _:
                part = self._part(block, at)
                if part is not None:
                    self._parts.append(part)

    def _result(self, block: JSONObject, at: str) -> Any:
        content = block.get("content")
        if isinstance(content, str):
            return content
        blocks = objects(content, f"{at}.content")
        parts = [self._part(part, f"{at}.content[{number}]") for number, part in enumerate(blocks)]
        return _joined([part for part in parts if part is not None])

    def _part(self, block: JSONObject, at: str) -> JSONObject | None:
        """Return a block as a part of a chat message; None if a chat cannot express the block."""
        match block:
            case {"type": "text"}:
                return {"type": "text", "text": member(block, "text", at)}
            case {"type": "image", "source": {"type": "url", "url": str(url)}}:
                return {"type": "image_url", "image_url": {"url": url}}
            case {"type": "image", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
                return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
            case {"type": "image"}:
                raise invalid_type(
                    f"{at}.source", "base64 or a URL: a file of a store cannot be sent", block.get("source")
                )
            case {"type": "document", "source": {"type": "text", "data": str(text)}}:
                return {"type": "text", "text": text}
            case {
                "type": "document",
                "source": {"type": "base64", "media_type": str(kind), "data": str(data)},
            }:
                file = {
                    "filename": str(block.get("title") or "document"),
                    "file_data": f"data:{kind};base64,{data}",
                }
                return {"type": "file", "file": file}
            case _:
                self._dropped.add(f"messages.{block.get('type')}")
                return None


def _joined(parts: list[JSONObject]) -> Any:
    """Return parts as one text if they are nothing but text."""
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def _tools(body: JSONObject, dropped: DroppedNames) -> list[JSONObject]:
    tools = []
    for number, tool in enumerate(objects(body.get("tools"), "tools")):
        if "input_schema" not in tool and tool.get("type", "custom") != "custom":
            dropped.add(f"tools.{tool['type']}")
            continue
        function = {
            "name": member(tool, "name", f"tools[{number}]"),
            "parameters": tool.get("input_schema") or {},
        }
        if isinstance(tool.get("description"), str):
            function["description"] = tool["description"]
        tools.append({"type": "function", "function": function})
    return tools


def _add_tool_choice(chat: JSONObject, choice: Any) -> None:
    if not isinstance(choice, dict):
        raise invalid_type("tool_choice", "an object", choice)
    if choice.get("type") == "tool":
        name = member(choice, "name", "tool_choice")
        chat["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif choice:
        kind = choice.get("type")
        if kind not in _CHOICES:
            raise RequestError(
                400,
                "`tool_choice.type` must be `auto`, `any`, `tool` or `none`",
                param="tool_choice",
                code="invalid_value",
            )
        chat["tool_choice"] = _CHOICES[kind]
    if choice.get("disable_parallel_tool_use") is True:
        chat["parallel_tool_calls"] = False


def _add_options(chat: JSONObject, body: JSONObject) -> None:
    config = body.get("output_config") or {}
    form = config.get("format") or body.get("output_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {"name": "output", "schema": form.get("schema"), "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    thinking = body.get("thinking") or {}
    if isinstance(config.get("effort"), str):
        chat["reasoning_effort"] = config["effort"]
    elif thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int):
            raise invalid_type("thinking.budget_tokens", "an integer", budget)
        chat["reasoning_effort"] = next((effort for limit, effort in _EFFORTS if budget < limit), "high")
    user = (body.get("metadata") or {}).get("user_id")
    if isinstance(user, str):
        chat["user"] = user
