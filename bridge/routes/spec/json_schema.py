"""The JSON Schema of routes files: that of the declarations, as a file may write them.

    declarations ─▶ every value also as `${…}` ─▶ a route over a preset: nothing required, null removes

Editors get names of presets, defaults, and the forms of paths, conditions and templates (`$defs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.routes.spec import FILE
from bridge.routes.spec.schema_definitions import DEFINITIONS, INTERPOLATED

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["json_schema"]

Schema = dict[str, Any]

_NULL: Schema = {"type": "null"}
_ANNOTATIONS = ("title", "description", "default")


def json_schema(presets: Iterable[str]) -> Schema:
    """Return the JSON Schema; `presets` are the names that a route may start from."""
    schema = _interpolated(FILE.schema())
    routes = schema["properties"]["routes"]
    route = routes["items"]
    names = {"enum": list(presets)}
    preset = route["properties"]["preset"]
    kept = {name: preset[name] for name in _ANNOTATIONS if name in preset}
    route["properties"]["preset"] = {"anyOf": [names, INTERPOLATED], **kept}
    overlay = _overlay(route) | {"required": ["models"]}
    routes["items"] = {"if": {"required": ["preset"]}, "then": overlay, "else": route}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:format-bridge:routes",
        **schema,
        "title": "Routes of format-bridge",
        "$defs": DEFINITIONS,
    }


def _interpolated(schema: Schema) -> Schema:
    """Return a schema in which each scalar other than any string may be a text with `${…}`."""
    changed = _mapped(schema, _interpolated)
    kinds = schema.get("type", ())
    scalars = {kinds} if isinstance(kinds, str) else set(kinds)
    is_free_text = "string" in scalars and "pattern" not in schema
    if "enum" not in schema and (is_free_text or not scalars & {"string", "integer", "number", "boolean"}):
        return changed
    notes = {name: changed.pop(name) for name in _ANNOTATIONS if name in changed}
    return {"anyOf": [changed, INTERPOLATED], **notes}


def _overlay(schema: Schema) -> Schema:
    """Return the schema of what is merged over a preset: nothing is required, and null removes a member."""
    changed = _mapped(schema, _overlay)
    changed.pop("required", None)
    if "properties" in changed:
        changed["properties"] = {
            name: {
                "anyOf": [{key: value for key, value in member.items() if key not in _ANNOTATIONS}, _NULL],
                **{key: member[key] for key in _ANNOTATIONS if key in member},
            }
            for name, member in changed["properties"].items()
        }
    if isinstance(changed.get("additionalProperties"), dict):
        changed["additionalProperties"] = {"anyOf": [changed["additionalProperties"], _NULL]}
    return changed


def _mapped(schema: Schema, change: Any) -> Schema:
    """Return a copy of a schema whose direct parts are changed."""
    changed = dict(schema)
    if "properties" in schema:
        changed["properties"] = {name: change(part) for name, part in schema["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            changed[name] = change(schema[name])
    if "anyOf" in schema:
        changed["anyOf"] = [change(part) for part in schema["anyOf"]]
    return changed
