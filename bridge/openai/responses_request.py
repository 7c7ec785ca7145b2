"""Requests of the Responses API as requests for chat completions.

    instructions, input items     ─▶  messages
    function and custom tools     ─▶  function tools; a custom tool takes one text, `input`
    text.format, reasoning, …     ─▶  response_format, reasoning_effort, …

Source: OpenAI's API reference, "Create a model response" (2025). Items and tools that a chat cannot express
are dropped by name: a client such as Codex sends several kinds, and works without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.errors import RequestError
from bridge.openai.responses_messages import input_messages
from bridge.openai.translation import DroppedNames, Translation, member, objects

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["custom_tool_names", "responses_to_chat"]

# Members with the same meaning in both APIs, and the name of each in a chat request.
_RENAMED = {
    "model": "model",
    "max_output_tokens": "max_completion_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stream": "stream",
    "parallel_tool_calls": "parallel_tool_calls",
    "prompt_cache_key": "prompt_cache_key",
    "prompt_cache_retention": "prompt_cache_retention",
    "safety_identifier": "safety_identifier",
    "service_tier": "service_tier",
    "user": "user",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "stop": "stop",
}
# Members that are served here, whatever the upstream does.
_SERVED = frozenset({
    "input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "metadata", "store",
    "top_logprobs", "stream_options",
})  # fmt: skip
_DEFAULTS = {"truncation": "disabled", "background": False}
_CUSTOM_TOOL_PARAMETERS = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def responses_to_chat(body: JSONObject) -> Translation:
    """Return a request as a chat request. Raise RequestError (400) for what is invalid or needs a store."""
    _check_stateless(body)
    dropped = DroppedNames()
    chat: JSONObject = {
        chat_name: body[name] for name, chat_name in _RENAMED.items() if body.get(name) is not None
    }
    chat["messages"] = input_messages(body.get("instructions"), body["input"], dropped)
    if chat.get("stream") is True:
        chat["stream_options"] = {"include_usage": True}
    tools = _tools(body, dropped)
    if tools:
        chat["tools"] = tools
        _add_tool_choice(chat, body.get("tool_choice"), dropped)
    _add_text_options(chat, body)
    known = _RENAMED.keys() | _SERVED
    for name, value in body.items():
        if name not in known and value is not None and _DEFAULTS.get(name, ...) != value:
            dropped.add(name)
    return Translation(chat, dropped.as_tuple())


def custom_tool_names(body: JSONObject) -> frozenset[str]:
    """Return the names of the custom tools of a request, whose calls contain a text instead of arguments."""
    return frozenset(
        str(tool.get("name")) for tool in body.get("tools") or () if tool.get("type") == "custom"
    )


def _check_stateless(body: JSONObject) -> None:
    """Raise RequestError (400) for a request that continues a stored response."""
    for name in ("previous_response_id", "conversation"):
        if body.get(name) is not None:
            message = (
                f"`{name}` needs stored responses, which this route does not keep: send all items in `input`"
            )
            raise RequestError(400, message, param=name, code="unsupported_parameter")
    if body.get("background") is True:
        message = (
            "`background` needs stored responses, which this route does not keep: leave `background` out"
        )
        raise RequestError(400, message, param="background", code="unsupported_parameter")


def _tools(body: JSONObject, dropped: DroppedNames) -> list[JSONObject]:
    """Return the tools that a chat can have."""
    tools = []
    for number, tool in enumerate(objects(body.get("tools"), "tools")):
        at, kind = f"tools[{number}]", tool.get("type")
        if kind == "function":
            function = {
                name: tool[name]
                for name in ("name", "description", "parameters", "strict")
                if tool.get(name) is not None
            }
            member(tool, "name", at)
            tools.append({"type": "function", "function": function})
        elif kind == "custom":
            function = {"name": member(tool, "name", at), "parameters": _CUSTOM_TOOL_PARAMETERS}
            if isinstance(tool.get("description"), str):
                function["description"] = _with_format(tool["description"], tool.get("format"))
            tools.append({"type": "function", "function": function})
        else:
            dropped.add(f"tools.{kind}")
    return tools


def _with_format(description: str, form: Any) -> str:
    """Return the description of a custom tool with the grammar of its input, which no chat can enforce."""
    if isinstance(form, dict) and isinstance(form.get("definition"), str):
        kind = f"{form.get('syntax', '')} grammar".strip()
        return f"{description}\n\nThe input must match this {kind}:\n{form['definition']}"
    return description


def _add_tool_choice(chat: JSONObject, choice: Any, dropped: DroppedNames) -> None:
    match choice:
        case None:
            pass
        case str():
            chat["tool_choice"] = choice
        case {"type": "function" | "custom", "name": str(name)}:
            chat["tool_choice"] = {"type": "function", "function": {"name": name}}
        case {"type": "allowed_tools", "mode": str(mode), "tools": list(allowed)}:
            names = {tool.get("name") for tool in allowed if isinstance(tool, dict)}
            chat["tools"] = [tool for tool in chat["tools"] if tool["function"]["name"] in names]
            chat["tool_choice"] = mode
        case _:
            dropped.add("tool_choice")


def _add_text_options(chat: JSONObject, body: JSONObject) -> None:
    """Add what a request says about the text and its reasoning."""
    text: JSONObject = body.get("text") or {}
    reasoning: JSONObject = body.get("reasoning") or {}
    match text.get("format"):
        case {"type": "json_schema", **form}:
            schema = {name: value for name, value in form.items() if name != "type" and value is not None}
            chat["response_format"] = {"type": "json_schema", "json_schema": schema}
        case {"type": "json_object"}:
            chat["response_format"] = {"type": "json_object"}
    if text.get("verbosity") is not None:
        chat["verbosity"] = text["verbosity"]
    if reasoning.get("effort") is not None:
        chat["reasoning_effort"] = reasoning["effort"]
    if body.get("top_logprobs") or "message.output_text.logprobs" in (body.get("include") or ()):
        chat["logprobs"] = True
        if body.get("top_logprobs"):
            chat["top_logprobs"] = body["top_logprobs"]
