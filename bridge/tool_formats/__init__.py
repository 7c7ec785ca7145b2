"""Calls of tools for servers that have them in a shape of their own: what `tools: NAME` of a route names.

    tools, tool_choice, messages   ─▶  in the server's shape, members of the request document
    a frame, or a whole answer     ─▶  pieces of calls

The client's own body is read once, into functions, a choice and turns; each format writes these. A new format
is a file and a word in the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.deltas import MISSING
from bridge.tool_formats.anthropic import ANTHROPIC
from bridge.tool_formats.bedrock import BEDROCK
from bridge.tool_formats.cohere import COHERE
from bridge.tool_formats.gemini import GEMINI
from bridge.tool_formats.messages import read_turns
from bridge.tool_formats.ollama import OLLAMA
from bridge.tool_formats.tool_choice import parse_tool_choice, read_functions
from bridge.tool_formats.tool_format import ToolFormat

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from bridge.core.json import JSONObject

__all__ = ["TOOL_FORMATS", "ToolFormat", "to_format"]


def to_format(
    tools: ToolFormat, body: JSONObject, messages: list[JSONObject], reads: AbstractSet[str | None]
) -> JSONObject:
    """The members of the request document that this format writes, of those read; MISSING is left out.

    Raises RequestError (400), naming the member at fault, where the server cannot be told what is asked.
    """
    found: JSONObject = {}
    if reads & {None, "tools", "tool_choice"}:
        functions = read_functions(body.get("tools"))
        wanted = parse_tool_choice(body, functions)
        # A choice, or a list of tools, without any tool is refused by servers.
        found["tools"] = tools.tools(functions, wanted) if functions else MISSING
        found["tool_choice"] = tools.choice(wanted) if functions else MISSING
    if reads & {None, "messages", "turns"}:
        turns = read_turns(messages)
        found["messages"] = tools.messages(turns)
        found["turns"] = tools.messages(turn for turn in turns if turn.role != "system")
    return found


TOOL_FORMATS = {
    "ollama": OLLAMA,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "bedrock": BEDROCK,
    "cohere": COHERE,
}
