"""JSON Schema to the subset that Gemini accepts for the parameters of a function.

    {"type": ["string", "null"], "minLength": 1}   ─▶  {"type": "string", "nullable": true, "minLength": 1}
    {"$ref": "#/$defs/Color"}                      ─▶  the definition, in place of the reference
    {"oneOf": [{"const": "a"}, …]}                 ─▶  {"anyOf": [{"type": "string", "enum": ["a"]}, …]}

Gemini's Schema is a protobuf message: a request with an unknown keyword is rejected. So known keywords are
kept, keywords with an equivalent are translated, and the others are left out. The result allows more than the
client's schema, never less; clients have to check arguments anyway, since models make mistakes. Keywords are
only interpreted in schemas, not among the names of properties: a property may be called `$schema`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.tool_formats.messages import invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.core.json import JSONObject

__all__ = ["Copies", "subset"]


class Copies:
    """The number of copies that the schemas of one request may still take.

    References and lists of types are written out, so that a small body can describe an enormous one.
    """

    __slots__ = ("remaining",)

    def __init__(self) -> None:
        self.remaining = _MAX_COPIES


def subset(schema: JSONObject, at: str, copies: Copies | None = None) -> JSONObject:
    """Return a schema as Gemini accepts it. Raises RequestError if the expanded schema is too large.

    `copies` is shared by the schemas of one request.
    """
    return _Translator(schema, at, copies or Copies()).translate(schema)


class _Translator:
    """Translates one schema."""

    def __init__(self, root: JSONObject, at: str, copies: Copies) -> None:
        self._root = root
        self._at = at  # the path of the schema in the request
        self._copies = copies
        self._copying = 0  # references and lists of types around the current schema
        self._remaining = _MAX_SCHEMAS
        self._resolving: list[str] = []  # references, from the outermost

    def translate(self, schema: Any, depth: int = 0) -> JSONObject:
        self._remaining -= 1
        if self._remaining < 0 or depth > _MAX_DEPTH:
            raise invalid_parameter(
                self._at,
                f"is too large: expected up to {_MAX_SCHEMAS} schemas in up to {_MAX_DEPTH} levels",
            )
        if self._copying:
            self._copy(1)
        if not isinstance(schema, dict):
            return {}  # `true` allows every value
        if isinstance(ref := schema.get("$ref"), str):
            return self._resolve(ref, schema, depth)
        if isinstance(parts := schema.get("allOf"), list):
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            return self.translate(_merge_all([*parts, rest], self._find), depth + 1)
        return self._plain(schema, depth)

    def _resolve(self, ref: str, schema: JSONObject, depth: int) -> JSONObject:
        if ref in self._resolving:
            return {"type": "object"}  # a recursive schema cannot be expanded
        self._resolving.append(ref)
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        self._copying += 1
        translated = self.translate({**self._find(ref), **beside}, depth + 1)
        self._copying -= 1
        self._resolving.pop()
        return translated

    def _copy(self, size: int) -> None:
        """Count copies. Raises RequestError beyond the limit."""
        self._copies.remaining -= size
        if self._copies.remaining < 0:
            fault = f"is too large: expected up to {_MAX_COPIES} schemas by references and lists of types"
            raise invalid_parameter(self._at, fault)

    def _find(self, ref: str) -> JSONObject:
        """Return the target of a reference; {}, which allows every value, for other documents."""
        target: Any = self._root if ref.startswith("#") else None
        for step in ref.lstrip("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            return {}
        self._copy((len(target) + len(ref)) // _COPIED_MEMBERS)
        return target

    def _plain(self, schema: JSONObject, depth: int) -> JSONObject:
        alternatives = schema.get("anyOf", schema.get("oneOf"))
        types = schema.get("type")
        if isinstance(alternatives, list):
            return self._any_of(alternatives, schema, depth)
        if isinstance(types, list):
            self._copy(len(types) * len(schema) // _COPIED_MEMBERS)
            self._copying += 1
            translated = self._any_of([{**schema, "type": kind} for kind in types], {}, depth)
            self._copying -= 1
            return translated
        kept = {key: schema[key] for key in _KEPT if schema.get(key) is not None}
        if "const" in schema:
            kept["enum"] = [schema["const"]]
        if isinstance(values := kept.get("enum"), list):
            kept["enum"] = [value for value in values if value is not None]
        kind = _kind(schema, kept)
        if kind:
            kept["type"] = kind
        # Gemini only accepts `enum` of strings, and few formats.
        if not _is_strings(kept.get("enum")) or kind != "string":
            kept.pop("enum", None)
        if kept.get("format") not in _FORMATS:
            kept.pop("format", None)
        if kind == "array":
            # Gemini requires the `items` of an array.
            kept["items"] = self.translate(schema.get("items"), depth + 1) or {"type": "string"}
        if kind == "object":
            kept |= self._members(schema, depth)
        return kept

    def _members(self, schema: JSONObject, depth: int) -> JSONObject:
        """Return `properties` and `required` of an object, as Gemini rejects a `required` unknown name."""
        members = schema.get("properties")
        if not isinstance(members, dict) or not members:
            return {}
        properties = {name: self.translate(member, depth + 1) for name, member in members.items()}
        listed = set(_strings(schema.get("required")))
        required = [name for name in properties if name in listed]
        return {"properties": properties, **({"required": required} if required else {})}

    def _any_of(self, alternatives: list[Any], schema: JSONObject, depth: int) -> JSONObject:
        """Return `anyOf`, with `nullable` in place of null. Gemini allows no keyword beside `anyOf`."""
        shared = {key: schema[key] for key in _SHARED if key in schema}
        beside = {key: value for key, value in schema.items() if key in _OF_OBJECTS}
        schemas = [{**shared, **beside, **item} for item in alternatives if isinstance(item, dict)]
        translated = [self.translate(item, depth + 1) for item in schemas if item.get("type") != "null"]
        nullable = {"nullable": True} if len(translated) < len(schemas) else {}
        if len(translated) == 1:
            return {**translated[0], **nullable}
        if not translated:
            return {**shared, **nullable}
        return {"anyOf": [{**item, **nullable} for item in translated]}


def _merge_all(schemas: list[Any], find: Callable[[str], JSONObject]) -> JSONObject:
    """Merge the schemas of `allOf`: join objects and `required`; otherwise the last value wins."""
    merged: JSONObject = {}
    copied: set[str] = set()  # members that are not the client's own objects any more
    for schema in schemas:
        if not isinstance(schema, dict):
            continue
        ref = schema.get("$ref")
        members = {**find(ref), **schema} if isinstance(ref, str) else schema
        for key, value in members.items():
            if key != "$ref":
                _merge_member(merged, copied, key, value)
    return merged


def _merge_member(merged: JSONObject, copied: set[str], key: str, value: Any) -> None:
    """Merge a member into schemas merged before, of which `copied` members can be changed in place."""
    earlier = merged.get(key)
    if key == "required" and isinstance(earlier, list) and isinstance(value, list):
        merged[key] = earlier = earlier if key in copied else [*earlier]
        earlier += value
        copied.add(key)
    elif isinstance(earlier, dict) and isinstance(value, dict):
        merged[key] = earlier = earlier if key in copied else {**earlier}
        earlier.update(value)
        copied.add(key)
    else:
        merged[key] = value
        copied.discard(key)


def _kind(schema: JSONObject, kept: JSONObject) -> str:
    """Return the type, which Gemini requires and JSON Schema may leave out."""
    if isinstance(kind := schema.get("type"), str):
        return kind
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    return "string" if _is_strings(kept.get("enum")) else ""


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _strings(value: Any) -> Iterator[str]:
    """Yield the strings of a list; nothing of a value that is not a list."""
    return (item for item in value if isinstance(item, str)) if isinstance(value, list) else iter(())


_KEPT = (
    "title", "description", "nullable", "default", "format", "enum", "example",
    "minItems", "maxItems", "minLength", "maxLength", "pattern", "minimum", "maximum",
    "minProperties", "maxProperties", "propertyOrdering",
)  # fmt: skip
_SHARED = ("title", "description")
_OF_OBJECTS = ("properties", "required")
_FORMATS = ("date-time", "enum", "int32", "int64", "float", "double")
_MAX_SCHEMAS = 5_000  # a hundred tools have fewer; a client must not make the bridge write more
_MAX_COPIES = 10_000  # in one request
_COPIED_MEMBERS = 16  # members of an object, or characters of a reference, that take as long as one schema
_MAX_DEPTH = 60  # levels; a request body may have 100
