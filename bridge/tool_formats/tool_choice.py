"""The tools that a client offers, and which of them it wants called, read once for every format.

tools: [{"type": "function", "function": {"name": "pick", …}}]   ─▶  [Function("pick", …)]
tool_choice: {"type": "function", "function": {"name": "pick"}}  ─▶  Wanted("required", name="pick")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bridge.tool_formats.messages import invalid_parameter

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["Function", "ToolChoice", "parse_tool_choice", "read_functions", "select_functions"]
Mode = Literal["auto", "none", "required"]


class Function(NamedTuple):
    """A tool. `schema` is the JSON Schema of its arguments; `strict` is nothing that these servers know."""

    name: str
    description: str
    parameters: JSONObject
    at: str

    @property
    def schema(self) -> JSONObject:
        """The parameters as servers insist on them: an object's."""
        return {"type": "object", "properties": {}, **self.parameters}

    @property
    def declaration(self) -> JSONObject:
        """Its name, and what it does where that is said: an empty description is refused by some."""
        described = {"description": self.description} if self.description else {}
        return {"name": self.name, **described}

    @property
    def openai(self) -> JSONObject:
        """It in OpenAI's shape."""
        return {"type": "function", "function": {**self.declaration, "parameters": self.schema}}


class ToolChoice(NamedTuple):
    """The client's choice. `mode` None: it said nothing; `name`: this tool; `allowed`: any of these.

    `parallel`: several may be called at once.
    """

    mode: Mode | None = None
    name: str = ""
    allowed: frozenset[str] = frozenset()
    parallel: bool = True


def read_functions(tools: Any) -> list[Function]:
    """The `tools` of a request. Raises RequestError (400) that names the one at fault."""
    return [_function(f"tools[{number}]", tool) for number, tool in enumerate(tools or [])]


def parse_tool_choice(body: JSONObject, functions: list[Function]) -> ToolChoice:
    """What a request says of calling them. Raises RequestError (400) where it is none of these tools."""
    wanted = _wanted(body.get("tool_choice"))
    known = {function.name for function in functions}
    for name in sorted({wanted.name} - {""} | wanted.allowed):
        if name not in known:
            raise invalid_parameter("tool_choice", f"names `{name}`, which is not among `tools`")
    return wanted._replace(parallel=body.get("parallel_tool_calls") is not False)


def select_functions(functions: list[Function], names: frozenset[str]) -> list[Function]:
    """Those of these names; with no names, all."""
    return [function for function in functions if not names or function.name in names]


def _function(at: str, tool: Any) -> Function:
    match tool:
        case {"type": str(kind)} if kind != "function":
            raise invalid_parameter(at, f"is a tool of type `{kind}`: this model calls functions only")
        case {"function": {"name": str(name)} as function} if name:
            description, parameters = function.get("description"), function.get("parameters")
            if not isinstance(description, str | None):
                raise invalid_parameter(f"{at}.function.description", "must be a string")
            if not isinstance(parameters, dict | None):
                raise invalid_parameter(f"{at}.function.parameters", "must be a JSON Schema, an object")
            return Function(name, description or "", parameters or {}, at)
    raise invalid_parameter(at, "must be a function with a `function.name`")


def _wanted(choice: Any) -> ToolChoice:
    match choice:
        case None:
            return ToolChoice()
        case "auto" | "none" | "required":
            return ToolChoice(choice)
        case {"type": "function", "function": {"name": str(name)}} if name:
            return ToolChoice("required", name)
        case {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(some)},
        }:
            names = frozenset(function.name for function in read_functions(some))
            if names:
                return ToolChoice(mode, allowed=names)
    raise invalid_parameter("tool_choice", "must be auto, none, required, or a function by its name")
