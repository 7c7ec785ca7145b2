"""JSON Schema to the subset of it that Gemini takes for the parameters of a function.

    {"type": ["string", "null"], "minLength": 1}   ─▶  {"type": "string", "nullable": true, "minLength": 1}
    {"$ref": "#/$defs/Colour"}                     ─▶  what is defined there, in its place
    {"oneOf": [{"const": "a"}, …]}                 ─▶  {"anyOf": [{"type": "string", "enum": ["a"]}, …]}

Gemini's Schema is a message of protobuf: a request with a keyword it does not know is refused as a whole. So
what it knows is kept by name, what it has another word for is said in that, and the rest is left out. So the
schema allows more than the client's, never less; clients check arguments anyway, since models err.
Only schemas are looked at so: a property may well be called `$schema`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.tool_formats.messages import invalid_parameter

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["subset"]


def subset(schema: JSONObject, at: str) -> JSONObject:
    """The schema as Gemini takes it. Raises RequestError where it is too large with references resolved."""
    return _Subset(schema, at).of(schema)


class _Subset:
    """Translates one schema; `_left` bounds what references that fan out can make of a small one."""

    def __init__(self, root: JSONObject, at: str) -> None:
        self._root = root
        self._at = at
        self._left = _MOST
        self._resolving: list[str] = []

    def of(self, schema: Any, depth: int = 0) -> JSONObject:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise invalid_parameter(
                self._at,
                f"is too large: a schema of at most {_MOST} parts, nested {_DEEPEST} deep, is expected",
            )
        if not isinstance(schema, dict):
            return {}  # `true`: anything
        if isinstance(ref := schema.get("$ref"), str):
            return self._referred(ref, schema, depth)
        if isinstance(every := schema.get("allOf"), list):
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            return self.of(_all_of([*every, rest], self._find), depth + 1)
        return self._plain(schema, depth)

    def _referred(self, ref: str, schema: JSONObject, depth: int) -> JSONObject:
        if ref in self._resolving:
            return {"type": "object"}  # it holds itself, which has no end without references
        self._resolving.append(ref)
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        found = self.of({**self._find(ref), **beside}, depth + 1)
        self._resolving.pop()
        return found

    def _find(self, ref: str) -> JSONObject:
        """What a reference within the schema refers to; what lies elsewhere is anything."""
        found: Any = self._root if ref.startswith("#") else None
        for step in ref.lstrip("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def _plain(self, schema: JSONObject, depth: int) -> JSONObject:
        some = schema.get("anyOf", schema.get("oneOf"))
        types = schema.get("type")
        if isinstance(some, list):
            return self._any_of(some, schema, depth)
        if isinstance(types, list):
            return self._any_of([{**schema, "type": kind} for kind in types], {}, depth)
        kept = {key: schema[key] for key in _KEPT if schema.get(key) is not None}
        if "const" in schema:
            kept["enum"] = [schema["const"]]
        if isinstance(values := kept.get("enum"), list):
            kept["enum"] = [value for value in values if value is not None]
        kind = _kind(schema, kept)
        if kind:
            kept["type"] = kind
        # Only of strings does it enumerate values, and it knows few formats.
        if not _is_strings(kept.get("enum")) or kind != "string":
            kept.pop("enum", None)
        if kept.get("format") not in _FORMATS:
            kept.pop("format", None)
        if kind == "array":
            # An array must say of what.
            kept["items"] = self.of(schema.get("items"), depth + 1) or {"type": "string"}
        if kind == "object":
            kept |= self._members(schema, depth)
        return kept

    def _members(self, schema: JSONObject, depth: int) -> JSONObject:
        """An object's properties, and which of them are required: one that it does not have is refused."""
        found = schema.get("properties")
        if not isinstance(found, dict) or not found:
            return {}
        properties = {name: self.of(below, depth + 1) for name, below in found.items()}
        listed = schema.get("required")
        required = [name for name in properties if isinstance(listed, list) and name in listed]
        return {"properties": properties, **({"required": required} if required else {})}

    def _any_of(self, some: list[Any], schema: JSONObject, depth: int) -> JSONObject:
        """Alternatives, of which null is a word of its own; beside `anyOf` nothing else may stand."""
        shared = {key: schema[key] for key in _SHARED if key in schema}
        beside = {key: value for key, value in schema.items() if key in _OF_OBJECTS}
        given = [{**shared, **beside, **one} for one in some if isinstance(one, dict)]
        others = [self.of(one, depth + 1) for one in given if one.get("type") != "null"]
        nullable = {"nullable": True} if len(others) < len(given) else {}
        if len(others) == 1:
            return {**others[0], **nullable}
        return {"anyOf": [{**one, **nullable} for one in others]} if others else {**shared, **nullable}


def _all_of(every: list[Any], find: Any) -> JSONObject:
    """One schema of those that must all hold: members together, of the rest the last word."""
    merged: JSONObject = {}
    for one in every:
        if not isinstance(one, dict):
            continue
        one = {**find(one["$ref"]), **one} if isinstance(one.get("$ref"), str) else one
        for key, value in one.items():
            if key == "$ref":
                continue
            before = merged.get(key)
            if isinstance(before, dict) and isinstance(value, dict):
                value = {**before, **value}
            elif key == "required" and isinstance(before, list) and isinstance(value, list):
                value = before + value
            merged[key] = value
    return merged


def _kind(schema: JSONObject, kept: JSONObject) -> str:
    """The type, which Gemini wants said where JSON Schema lets it be guessed."""
    if isinstance(kind := schema.get("type"), str):
        return kind
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    return "string" if _is_strings(kept.get("enum")) else ""


def _is_strings(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(item, str) for item in found)


_KEPT = (
    "title", "description", "nullable", "default", "format", "enum", "example",
    "minItems", "maxItems", "minLength", "maxLength", "pattern", "minimum", "maximum",
    "minProperties", "maxProperties", "propertyOrdering",
)  # fmt: skip
_SHARED = ("title", "description")
_OF_OBJECTS = ("properties", "required")
_FORMATS = ("date-time", "enum", "int32", "int64", "float", "double")
_MOST = 5_000  # schemas; a toolbox of a hundred tools has fewer, and a bridge must not be made to write more
_DEEPEST = 60  # levels; the body itself may have 100
