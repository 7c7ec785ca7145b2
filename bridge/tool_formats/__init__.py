"""Tool calls in the formats of model servers other than OpenAI's: the values of a route's `tools`.

    request    tools, tool_choice, messages   ─▶  members of the request document, in the upstream's format
    response   a frame, or a body             ─▶  fragments of tool calls

This is the only folder with code for one vendor's servers; everything else about a server is YAML. Tool calls
differ in structure, not only in names: results are matched by id, by name or by order, arguments arrive
complete or in fragments, messages have to be merged, and JSON Schema is reduced to a subset. Templates in
YAML cannot express this. To add a format, write a module with a `ToolFormat` and a row of `TOOL_FORMATS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.core.deltas import MISSING
from bridge.tool_formats.anthropic import ANTHROPIC
from bridge.tool_formats.bedrock import BEDROCK
from bridge.tool_formats.cohere import COHERE
from bridge.tool_formats.gemini import GEMINI
from bridge.tool_formats.messages import read_messages, unsent_members
from bridge.tool_formats.ollama import OLLAMA
from bridge.tool_formats.tool_choice import ToolChoice, called_functions, read_functions, read_tool_choice
from bridge.tool_formats.tool_format import ToolFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from bridge.core.json import JSONObject

__all__ = ["TOOL_FORMATS", "ToolFormat", "to_format", "unsent_members"]


def to_format(
    tool_format: ToolFormat, body: JSONObject, messages: list[JSONObject], reads: AbstractSet[str | None]
) -> JSONObject:
    """Return the members of the request document in a format, as far as the rules read them (None: all).

    A member without a value is MISSING. Raises RequestError (400) about a member that the format cannot
    express.
    """
    members: JSONObject = {}
    if reads & {None, "tools", "tool_choice"}:
        functions = read_functions(body.get("tools"))
        choice = read_tool_choice(body, functions)
        if tool_format.calls_need_tools and (called := called_functions(messages)):
            if not functions:
                functions, choice = called, ToolChoice("none")
            if tool_format.write_tools(functions, choice) is MISSING:
                choice = choice._replace(mode=None)  # of these formats, `none` is expressed by no tools
        # Servers reject a choice without tools, and an empty list of tools.
        members["tools"] = tool_format.write_tools(functions, choice) if functions else MISSING
        members["tool_choice"] = tool_format.write_choice(choice) if functions else MISSING
    if reads & {None, "messages", "turns"}:
        parsed = read_messages(messages)
        members["messages"] = tool_format.write_messages(parsed)
        members["turns"] = tool_format.write_messages(
            message for message in parsed if message.role != "system"
        )
    if tool_format.write_schema is not None and reads & {None, "response_format"}:
        members |= _response_format(tool_format.write_schema, body.get("response_format"))
    return members


def _response_format(write: Callable[[JSONObject, str], JSONObject], value: Any) -> JSONObject:
    """Return `response_format` with a schema in the upstream's subset; {} without a schema."""
    match value:
        case {"json_schema": {"schema": dict(schema)} as named}:
            written = write(schema, "response_format.json_schema.schema")
            return {"response_format": {**value, "json_schema": {**named, "schema": written}}}
    return {}


TOOL_FORMATS: Final[Mapping[str, ToolFormat]] = {
    "ollama": OLLAMA,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "bedrock": BEDROCK,
    "cohere": COHERE,
}
"""By the value of `tools`."""
