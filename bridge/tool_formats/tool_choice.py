"""The tools of a request and the choice among them, parsed once for all formats.

tools: [{"type": "function", "function": {"name": "pick", …}}]   ─▶  [Function("pick", …)]
tool_choice: {"type": "function", "function": {"name": "pick"}}  ─▶  ToolChoice("required", name="pick")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bridge.core import json
from bridge.tool_formats.messages import invalid_parameter

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = [
    "Function",
    "ToolChoice",
    "called_functions",
    "read_functions",
    "read_tool_choice",
    "select_functions",
]

Mode = Literal["auto", "none", "required"]


class Function(NamedTuple):
    """A function that a client offers as a tool. No format can express OpenAI's `strict`."""

    name: str
    description: str
    parameters: JSONObject  # JSON Schema
    at: str  # the path of the tool in the request

    @property
    def schema(self) -> JSONObject:
        """Return the parameters as the schema of an object, which servers require."""
        return {"type": "object", "properties": {}, **self.parameters}

    @property
    def declaration(self) -> JSONObject:
        """Return the name, and the description unless it is empty: some servers reject an empty one."""
        described = {"description": self.description} if self.description else {}
        return {"name": self.name, **described}

    @property
    def openai(self) -> JSONObject:
        """Return the function in OpenAI's shape."""
        return {"type": "function", "function": {**self.declaration, "parameters": self.schema}}


class ToolChoice(NamedTuple):
    """The `tool_choice` of a request."""

    mode: Mode | None = None  # None: the request has no choice
    name: str = ""  # of the one function to call
    allowed: frozenset[str] = frozenset()  # names of the functions that may be called; empty: all
    parallel: bool = True  # several functions may be called at once


def read_functions(tools: Any) -> list[Function]:
    """Parse `tools`. Raises RequestError (400) about an invalid tool."""
    return [_function(f"tools[{number}]", tool) for number, tool in enumerate(tools or [])]


def called_functions(messages: list[JSONObject]) -> list[Function]:
    """Return the functions that messages have calls of, with unknown parameters."""
    calls = [call for message in messages for call in json.objects(message.get("tool_calls"))]
    functions = [call["function"] for call in calls if isinstance(call.get("function"), dict)]
    names = dict.fromkeys(name for each in functions if isinstance(name := each.get("name"), str) and name)
    return [Function(name, "", {}, "tools") for name in names]


def read_tool_choice(body: JSONObject, functions: list[Function]) -> ToolChoice:
    """Parse `tool_choice` and `parallel_tool_calls`. Raises RequestError (400) about an unknown function."""
    choice = _tool_choice(body.get("tool_choice"))
    known = {function.name for function in functions}
    for name in sorted({choice.name} - {""} | choice.allowed):
        if name not in known:
            raise invalid_parameter("tool_choice", f"names `{name}`, which is not among `tools`")
    return choice._replace(parallel=body.get("parallel_tool_calls") is not False)


def select_functions(functions: list[Function], names: frozenset[str]) -> list[Function]:
    """Return the functions of these names; all functions for no names."""
    return [function for function in functions if not names or function.name in names]


def _function(at: str, tool: Any) -> Function:
    match tool:
        case {"type": str(kind)} if kind != "function":
            raise invalid_parameter(at, f"has the type `{kind}`: this model only calls functions")
        case {"function": {"name": str(name)} as function} if name:
            description, parameters = function.get("description"), function.get("parameters")
            if not isinstance(description, str | None):
                raise invalid_parameter(f"{at}.function.description", "must be a string")
            if not isinstance(parameters, dict | None):
                raise invalid_parameter(f"{at}.function.parameters", "must be a JSON Schema, an object")
            return Function(name, description or "", parameters or {}, at)
    raise invalid_parameter(at, "must be a function with a `function.name`")


def _tool_choice(value: Any) -> ToolChoice:
    match value:
        case None:
            return ToolChoice()
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case {"type": "function", "function": {"name": str(name)}} if name:
            return ToolChoice("required", name)
        case {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(tools)},
        }:
            names = frozenset(function.name for function in read_functions(tools))
            if names:
                return ToolChoice(mode, allowed=names)
    raise invalid_parameter("tool_choice", "must be auto, none, required, or a function by its name")
