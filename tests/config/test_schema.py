"""The JSON Schema of a routes file: complete, described, and valid for the examples of the language."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from bridge.config.records import Record
from bridge.config.value_types import ValueType
from bridge.loader import read_presets
from bridge.routes.spec import FILE
from bridge.routes.spec.json_schema import json_schema
from tests.config.yaml_reader import read

if TYPE_CHECKING:
    from collections.abc import Iterator

VALIDATOR = Draft202012Validator(json_schema(read_presets()))

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
    preset: litellm-custom
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


def _accepts(text: str) -> bool:
    data = read(text)
    return bool(VALIDATOR.is_valid(json.loads(json.dumps(data))))


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
    assert _accepts(text)


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
    assert not _accepts(text)
