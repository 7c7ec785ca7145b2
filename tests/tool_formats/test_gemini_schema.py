"""JSON Schemas reduced to the fields of Gemini's `Schema` message."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import RequestError
from bridge.tool_formats.gemini_schema import subset
from tests.exchange.single_exchange import new_exchange, request, request_bodies

STRING = {"type": "string"}

# The fields of google.ai.generativelanguage.v1beta.Schema in JSON.
FIELDS = {
    "type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties",
    "required", "minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf",
    "propertyOrdering", "default", "items", "minimum", "maximum",
}  # fmt: skip


def reduced(schema: Any) -> Any:
    """Return the reduced schema of one member."""
    outer = {"type": "object", "properties": {"p": schema}}
    return subset(outer, "at")["properties"]["p"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "minLength": 1, "description": "d"},
         {"type": "string", "minLength": 1, "description": "d"}),
        ({"type": "integer", "minimum": 1, "exclusiveMaximum": 9}, {"type": "integer", "minimum": 1}),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"type": ["string", "null"], "enum": ["a", None]},
         {"type": "string", "nullable": True, "enum": ["a"]}),
        ({"type": ["string", "integer"]}, {"anyOf": [STRING, {"type": "integer"}]}),
        ({"anyOf": [STRING, {"type": "null"}], "description": "d", "default": None},
         {"type": "string", "nullable": True, "description": "d"}),
        ({"oneOf": [STRING, {"type": "integer"}]}, {"anyOf": [STRING, {"type": "integer"}]}),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "integer"}),
        ({"type": "string", "format": "email"}, STRING),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "array"}, {"type": "array", "items": STRING}),
        ({"items": {"type": "number"}}, {"type": "array", "items": {"type": "number"}}),
        ({"type": "array", "items": True}, {"type": "array", "items": STRING}),
        ({"properties": {"a": STRING}, "required": ["a", "b"], "additionalProperties": False},
         {"type": "object", "properties": {"a": STRING}, "required": ["a"]}),
        ({"type": "object", "properties": {"$schema": STRING, "additionalProperties": STRING}},
         {"type": "object", "properties": {"$schema": STRING, "additionalProperties": STRING}}),
        ({"allOf": [{"properties": {"a": STRING}, "required": ["a"]}, {"properties": {"b": STRING}}]},
         {"type": "object", "properties": {"a": STRING, "b": STRING}, "required": ["a"]}),
        (True, {}),
        ({"$ref": "https://example.org/schema.json"}, {}),
        ({"$ref": "#/nowhere"}, {}),
    ],
)  # fmt: skip
def test_a_schema_is_reduced_to_geminis_fields(schema: Any, expected: Any) -> None:
    assert reduced(schema) == expected


def test_references_are_replaced_by_their_definitions() -> None:
    schema = {
        "type": "object",
        "properties": {
            "one": {"$ref": "#/$defs/Colour", "description": "which"},
            "two": {"anyOf": [{"$ref": "#/$defs/Colour"}, {"type": "null"}]},
            "all": {"type": "array", "items": {"$ref": "#/$defs/a~1b"}},
        },
        "$defs": {"Colour": {"type": "string", "enum": ["red"]}, "a/b": {"type": "integer"}},
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }
    red = {"type": "string", "enum": ["red"]}
    assert subset(schema, "at") == {
        "type": "object",
        "properties": {
            "one": {**red, "description": "which"},
            "two": {**red, "nullable": True},
            "all": {"type": "array", "items": {"type": "integer"}},
        },
    }


def test_a_recursive_schema_is_truncated() -> None:
    tree = {"type": "object", "properties": {"below": {"$ref": "#/$defs/Tree"}}}
    schema = {"properties": {"tree": {"$ref": "#/$defs/Tree"}}, "$defs": {"Tree": tree}}
    assert subset(schema, "at")["properties"]["tree"] == {
        "type": "object",
        "properties": {"below": {"type": "object"}},
    }


@pytest.mark.parametrize(
    "schema",
    [
        # Each definition contains the next twice: 2 to the power of 25.
        {
            "properties": {"p": {"$ref": "#/$defs/d0"}},
            "$defs": {
                f"d{n}": {"properties": {k: {"$ref": f"#/$defs/d{n + 1}"} for k in "ab"}} for n in range(25)
            },
        },
        {"properties": {"p": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}},
        {
            "properties": {"p": {"$ref": "#/$defs/d0"}},
            "$defs": {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(5000)},
        },
    ],
)
def test_a_schema_that_grows_without_bound_is_refused(schema: Any) -> None:
    with pytest.raises(RequestError) as raised:
        subset(schema, "tools[0].function.parameters")
    assert (raised.value.status, raised.value.param) == (400, "tools[0].function.parameters")


LEVELS = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 4} for n in range(5)}
TYPES: dict[str, Any] = {"type": "object"}
for _ in range(5):
    TYPES = {"type": ["object"] * 4, "properties": {"a": TYPES}}


@pytest.mark.parametrize("schema", [{"properties": {"p": {"$ref": "#/$defs/d0"}}, "$defs": LEVELS}, TYPES])
def test_the_tools_of_a_request_share_the_limit_of_copies(schema: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": {"name": f"f{n}", "parameters": schema}} for n in range(100)]
    rules = "tools: gemini\nrequest: {body: {t: $.tools}}\nresponse: $.t"
    assert request_bodies(new_exchange(rules, request(tools=tools[:2])))
    with pytest.raises(RequestError, match="10000 schemas by references"):
        new_exchange(rules, request(tools=tools))


def test_references_of_ordinary_tools_are_within_the_limit() -> None:
    names = {f"p{number}": {"$ref": "#/$defs/a"} for number in range(20)}
    schema = {
        "type": "object",
        "properties": names,
        "$defs": {"a": {"properties": {"b": {"type": "string"}}}},
    }
    tools = [{"type": "function", "function": {"name": f"f{n}", "parameters": schema}} for n in range(128)]
    rules = "tools: gemini\nrequest: {body: {t: $.tools}}\nresponse: $.t"
    assert request_bodies(new_exchange(rules, request(tools=tools)))


WORDS = st.sampled_from(
    ["string", "object", "array", "null", "#", "#/$defs/a", "#/properties/type", "date", "a"]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "enum", "const", "properties", "required", "items", "anyOf", "oneOf",
                         "allOf", "$ref", "$defs", "a", "format", "nullable", "not", "default"]),
        inner, max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@given(schema=st.dictionaries(st.sampled_from(["type", "properties", "$defs", "anyOf", "allOf"]), ANY))
def test_any_schema_is_reduced_to_geminis_fields_or_refused(schema: Any) -> None:
    with suppress(RequestError):
        _check(subset(schema, "at"))


def _check(schema: Any) -> None:
    assert set(schema) <= FIELDS
    for name in ("properties", "items"):
        assert isinstance(schema.get(name, {}), dict)
    for child in [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]:
        _check(child)
    if "items" in schema:
        _check(schema["items"])
