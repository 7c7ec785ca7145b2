"""The slot of tool calls: the path of calls in a known shape, or a slot for each member of a call.

$.message.tool_calls
{each: $.calls, id: $item.call_id, name: $item.tool, arguments: $item.parameters}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.expressions.extractors import Extractor, compile_slot
from bridge.expressions.paths import compile_path, is_path

if TYPE_CHECKING:
    from bridge.expressions.scope import RuleErrors, Scope

__all__ = ["compile_tool_calls"]

_MEMBERS = ("id", "index", "name", "arguments")


def compile_tool_calls(value: Any, errors: RuleErrors) -> Extractor:
    """Compile a slot of the file."""
    if not isinstance(value, dict) or "each" not in value:
        return compile_slot(value, errors)
    errors.check_keys(value, ("each", *_MEMBERS))
    for name in ("name", "arguments"):
        if name not in value:
            errors.add(f"`{name}` is missing", expected="each, name, arguments, and optionally id and index")
    members = [(name, compile_slot(value[name], errors.below(name))) for name in _MEMBERS if name in value]
    return _each(value["each"], members, errors.below("each"))


def _each(value: Any, members: list[tuple[str, Extractor]], errors: RuleErrors) -> Extractor:
    try:
        path = compile_path(value if is_path(value) else str(value))
    except ValueError as error:
        errors.add(str(error), expected="the path of a list, such as $.calls")
        return Extractor(lambda scope: MISSING, ())

    def read(scope: Scope) -> Any:
        found = path.find(scope)
        if found is MISSING or found is None:
            return MISSING
        items = found if isinstance(found, list) else [found]
        return [call for item in items if (call := _call(members, item, scope.with_item(item)))] or MISSING

    paths = tuple(source for _, slot in members for source in slot.sources)
    return Extractor(read, (path, *paths))


def _call(members: list[tuple[str, Extractor]], item: Any, scope: Scope) -> dict[str, Any]:
    """Return a call with the members that were found; without arguments, with all members of the item."""
    found = {name: value for name, slot in members if (value := slot.read(scope)) is not MISSING}
    if "arguments" in found or not isinstance(item, dict):
        return found
    # Members that may be the arguments are an error: see `bridge.openai.tool_call_shapes`.
    return {**item, **found}
