"""The forms of paths, conditions, slots and templates, as definitions of the JSON Schema."""

from __future__ import annotations

from typing import Any, Final

from bridge.expressions.conditions import OPERATORS
from bridge.expressions.transforms import TRANSFORMS

__all__ = ["CONDITION_SCHEMA", "DEFINITIONS", "INTERPOLATED", "SLOT_SCHEMA", "TEMPLATE_SCHEMA"]

INTERPOLATED: Final = {"type": "string", "pattern": r"\$\{"}
TEMPLATE_SCHEMA: Final = {"$ref": "#/$defs/template"}
CONDITION_SCHEMA: Final = {"$ref": "#/$defs/condition"}
SLOT_SCHEMA: Final = {"$ref": "#/$defs/slot"}

_PATH = {"type": "string", "pattern": r"^\$(item)?(\.|\[|\s*$)"}
_SCALARS = ["string", "number", "boolean", "null"]


def _instruction(name: str, value: Any, options: dict[str, Any], *, required: tuple[str, ...] = ()) -> Any:
    return {
        "type": "object",
        "properties": {name: value, **options},
        "required": [name, *required],
        "additionalProperties": False,
    }


DEFINITIONS: Final[dict[str, Any]] = {
    "path": _PATH,
    "condition": {
        "description": "a mapping of path to match, such as {$.code: {not: 0}}, or a list of such",
        "anyOf": [
            {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/match"}},
            {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/condition"}},
        ],
    },
    "match": {
        "anyOf": [
            {"type": [*_SCALARS, "array"]},
            {
                "type": "object",
                "minProperties": 1,
                "properties": {name: {} for name in OPERATORS} | {"not": {"$ref": "#/$defs/match"}},
                "additionalProperties": False,
            },
        ]
    },
    "slot": {
        "description": "a path, a list of sources, or a mapping with one source and options",
        "anyOf": [_PATH, {"type": "array", "minItems": 1, "items": SLOT_SCHEMA}, {"type": "object"}],
    },
    "template": {
        "description": "any JSON: a string may be a path or a Jinja template",
        "anyOf": [
            {"type": _SCALARS},
            {"type": "array", "items": TEMPLATE_SCHEMA},
            _instruction(
                "$path",
                {"$ref": "#/$defs/path"},
                {"default": TEMPLATE_SCHEMA, "when": CONDITION_SCHEMA, **{name: {} for name in TRANSFORMS}},
            ),
            _instruction(
                "$each",
                {"$ref": "#/$defs/path"},
                {"$as": TEMPLATE_SCHEMA, "when": CONDITION_SCHEMA, "merge": {"type": ["string", "null"]},
                 "skip": {"type": ["string", "array"]}},
            ),
            _instruction(
                "$when", CONDITION_SCHEMA, {"$then": TEMPLATE_SCHEMA, "$else": TEMPLATE_SCHEMA},
                required=("$then",),
            ),
            {
                "type": "object",
                "patternProperties": {r"^\$(?!\$)": False},
                "additionalProperties": TEMPLATE_SCHEMA,
            },
        ],
    },
}  # fmt: skip
