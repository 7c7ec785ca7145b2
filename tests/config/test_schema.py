"""The JSON Schema of a routes file: complete, described, and valid for the examples of the language."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from bridge.config.records import Record
from bridge.config.value_types import ValueType
from bridge.core import json
from bridge.routes.spec import FILE
from tests.config.yaml_reader import read

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = FILE.schema()

_KEYWORDS = {
    "type", "properties", "patternProperties", "additionalProperties", "required", "items", "minItems",
    "minimum", "maximum", "pattern", "enum", "const", "anyOf", "oneOf", "description",
}  # fmt: skip
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}

# Examples from the manual of the language.
EXAMPLES = [
    """
server:
  listen: 127.0.0.1:8080
  admin: 127.0.0.1:9090
  keys: ["${BRIDGE_KEY}"]
  workers: 1
routes:
  - name: chatglm
    models: [chatglm2-6b, "glm-*"]
    upstream: http://127.0.0.1:8000/api/chat
    request:  { "customFields": {"user": "12345", "model": "gpt-4"}, "messageKeys": {"role": "role"} }
    response: $.choices[0].message.content
    stream:   $.choices[0].delta.content
""",
    """
x-anchor: {a: b}
server: {admin: off}
routes:
  - models: m
    preset: litellm
    model: "{{ model }}-x"
    serves: [chat, completions]
    upstream: {url: http://h, method: POST, timeouts: {idle: 500ms, total: 2m, connect: 10}, replicas: [http://i]}
    path: "/v2/models/{{ model }}/generate"
    headers: {x-number: 5, x-flag: true, x-text: "${KEY}"}
    query: {key: 1}
    auth: {bearer: "${KEY}"}
    prompt: {template: "{% for m in messages %}{% endfor %}"}
    emulate: {stop: true, n: true, usage: off}
    unsupported: error
    limits: {body: 32MiB, frame: 65536}
""",
    """
routes:
  - models: m
    upstream: http://h
    auth: client
    prompt: chatml
    request:
      keep: [messages, temperature]
      drop: [logit_bias, user]
      rename: {max_tokens: max_new_tokens}
      message_keys: {role: role, content: message}
      roles: {assistant: bot, system: user}
      fields: {user: "12345", model: gpt-4, stream_options: {include_usage: true}}
      headers: {CustomHeader: my-value}
    response: false
    stream: {text: $.a, reasoning: null, only: {event: [message, delta]}, skip: {$.type: ping}, done: end}
""",
    """
routes:
  - models: m
    upstream: http://h
    auth: {basic: {user: a, password: b}}
    request:
      body:
        model: $.model
        params: {prompt: ["$.prompt"], max_tokens: {$path: $.max_tokens, default: 32, max: 4096}, top_k: 40}
    response:
      text: {path: $.text, as: json, strip_prompt: true, trim: true}
      finish_reason: {path: $.stop_type, map: {eos: stop, limit: length}, unset: ["null", "None", ""]}
      usage: {prompt_tokens: $.a, completion_tokens: [$.b, {header: x-b}]}
    stream: false
    error:
      when: {$.code: {not: 0}}
      message: $.msg
      status: {path: $.code, map: {-4: 404, -5: 404, -6: 504}, default: 502}
      retry_after: $.estimated_time
    session:
      open: {path: /v1/chat/start, body: {bot_type: $.model, settings: {system: $.system}}, id: $.session}
      close: {path: /v1/chat/end, body: {session: $.session}}
      keep: request
    samples:
      - request: {model: m, messages: [{role: user, content: hi}]}
        sends: {model: m, params: {prompt: ["hi"]}}
        receives: {data: [{output: ["hello"]}]}
        answers: hello
""",
]


def _parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a schema and every schema nested in the schema."""
    yield schema
    children = [*schema.get("properties", {}).values(), *schema.get("patternProperties", {}).values()]
    children += [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    children += [
        schema[keyword]
        for keyword in ("items", "additionalProperties")
        if isinstance(schema.get(keyword), dict)
    ]
    for part in children:
        yield from _parts(part)


def _accepts(schema: dict[str, Any], value: Any) -> bool:
    """Return whether a value is valid by the keywords of JSON Schema that the bridge uses."""
    if "anyOf" in schema and not any(_accepts(alternative, value) for alternative in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(_accepts(alternative, value) for alternative in schema["oneOf"]) != 1:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value is not schema["const"]:
        return False
    if "type" in schema:
        types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if isinstance(value, bool) and "boolean" not in types:
            return False
        if not isinstance(value, tuple(kind for name in types for kind in _TYPES[name])):
            return False
    match value:
        case str():
            return re.search(schema.get("pattern", ""), value) is not None
        case list():
            return len(value) >= schema.get("minItems", 0) and all(
                _accepts(schema.get("items", {}), item) for item in value
            )
        case dict():
            return _accepts_mapping(schema, value)
        case int() | float():
            return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def _accepts_mapping(schema: dict[str, Any], value: dict[Any, Any]) -> bool:
    if not all(name in value for name in schema.get("required", [])):
        return False
    for name, item in value.items():
        known = schema.get("properties", {}).get(name)
        if known is None and any(
            re.search(keyword, str(name)) for keyword in schema.get("patternProperties", {})
        ):
            continue
        other = schema.get("additionalProperties", True) if known is None else known
        if other is False or (isinstance(other, dict) and not _accepts(other, item)):
            return False
    return True


def _records(value_type: ValueType) -> Iterator[Record]:
    """Yield every record that is reachable from a value type."""
    if isinstance(value_type, Record):
        yield value_type
        for option in value_type.options.values():
            yield from _records(option.type)
    for children in vars(value_type).values():
        for alternative in children if isinstance(children, tuple) else (children,):
            if isinstance(alternative, ValueType):
                yield from _records(alternative)


def test_the_schema_is_json_with_known_keywords() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    for part in _parts(SCHEMA):
        assert part.keys() <= _KEYWORDS
        types = part.get("type", [])
        assert {types} if isinstance(types, str) else set(types) <= _TYPES.keys()
        assert set(part.get("required", [])) <= part.get("properties", {}).keys()
        re.compile(part.get("pattern", ""))


def test_every_key_has_a_description() -> None:
    records = {record.of: record for record in _records(FILE)}
    assert len(records) >= 15
    for record in records.values():
        schema = record.schema()
        assert schema["additionalProperties"] is False
        assert "^x-" in schema["patternProperties"]
        for key, option in record.options.items():
            for keyword in (key, *option.aliases):
                assert schema["properties"][keyword]["description"] == option.doc
                assert option.doc


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_manual_are_valid(text: str) -> None:
    assert _accepts(SCHEMA, read(text))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "routes: []",
        "routes: [{upstream: http://h}]",
        "routes: [{models: m, respones: $.a}]",
        "routes: [{models: 5}]",
        "routes: [{models: m, emulate: {stop: 1}}]",
        "routes: [{models: m, stream: {framing: ndjsn}}]",
        "routes: [{models: m, limits: {frame: big}}]",
        "{server: {workers: 0}, routes: [{models: m}]}",
    ],
)
def test_a_faulty_file_is_invalid(text: str) -> None:
    assert not _accepts(SCHEMA, read(text))
