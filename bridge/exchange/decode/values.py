"""Values that extractors find in responses, as the types that readers work with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.expressions.paths import find_text_paths
from bridge.expressions.scope import Scope
from bridge.expressions.transforms import convert
from bridge.openai.normalize import is_thinking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.expressions.extractors import Extractor
    from bridge.routes.rules.response_rules import TextSlot

__all__ = ["as_identifier", "as_list", "no_text_message", "read_text_slot", "scope_inside"]


def scope_inside(slot: Extractor, scope: Scope) -> Scope:
    """Return the scope of the value that a slot finds, parsed if the value is a string of JSON."""
    value = slot.read(scope)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = MISSING
    return Scope(value, fields=scope.fields, headers=scope.headers)


def read_text_slot(slot: TextSlot, scope: Scope) -> Any:
    """Return the text that a slot finds, MISSING if the slot finds none."""
    if slot.match is not None:
        text = _read_text(slot, scope)
        found = slot.match.first_group(text) if isinstance(text, str) else None
        return MISSING if found is None else found
    return _read_text(slot, scope)


def _read_text(slot: TextSlot, scope: Scope) -> Any:
    value = slot.extractor.read(scope)
    if value is MISSING or (type(value) is str and not slot.parse):
        return value
    if slot.parse and isinstance(value, str):
        try:
            value = json.loads_text(value)
        except ValueError:
            return MISSING
    if not isinstance(value, list):
        return _scalar_text(value)
    # Parts without text, such as reasoning and images, lie between those with text.
    texts = [text for item in value if (text := _scalar_text(_part_text(item))) is not MISSING]
    return slot.separator.join(texts) if texts else MISSING


def as_list(value: Any) -> list[Any]:
    """Return what a path found as a list of items."""
    if value is MISSING or value is None:
        return []
    return value if isinstance(value, list) else [value]


def as_identifier(value: Any) -> str | None:
    """Return an upstream's id or role as it can be sent to clients, None of a value that is none."""
    if type(value) is list and len(value) == 1:
        value = value[0]
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text.encode(errors="replace").decode() or None


def _part_text(item: Any) -> Any:
    """Return the text of a content part, MISSING of a part without text; other items as they are."""
    if not isinstance(item, dict):
        return item
    if is_thinking(item):
        return MISSING
    if "text" in item or "type" in item or not isinstance(item.get("content"), list):
        return item.get("text", MISSING)
    # Bedrock's text with citations is a list of parts in a part.
    texts = [text for part in item["content"] if isinstance(text := _part_text(part), str)]
    return "".join(texts) if texts else MISSING


def _scalar_text(value: Any) -> Any:
    """Return a string, number or boolean as text, MISSING of other values."""
    match value:
        case str():
            return value
        case bool() | int() | float():
            return convert(value, "string")
        case _:
            return MISSING


def no_text_message(path: str, samples: Sequence[Any]) -> str:
    """Return the error text for documents in which a path finds no text; the path is empty without a slot."""
    if not path:
        return "the route has no `text` to read from this response"
    if not samples:
        return f"the upstream sent nothing in which `{path}` could find text"
    places = ", ".join(find_text_paths(samples, path))
    return f"`{path}` matched no text in the upstream's response; " + (
        f"text is at {places}" if places else "the response contains no text"
    )
