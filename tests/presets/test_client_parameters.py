"""Parameters that clients send to every model: schemas of responses, and OpenAI's defaults."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core import json as bridge_json
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import CHAT
from bridge.openai.request_validation import parse_request
from tests.presets.preset_bridge import key_of, load_with_presets

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
DEFAULTS: dict[str, Any] = {
    "frequency_penalty": 0, "presence_penalty": 0.0, "n": 1, "parallel_tool_calls": True, "store": False,
    "logit_bias": {}, "temperature": 1, "top_p": 1.0, "tool_choice": "none",
    "response_format": {"type": "text"},
}  # fmt: skip


def _exchange(preset: str, **members: Any) -> Exchange:
    route = f"routes:\n  - {{preset: {preset}, models: m, upstream: 'http://up', {key_of(preset)}}}"
    data = bridge_json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **members})
    [loaded] = load_with_presets(route).routes
    return Exchange(RequestContext(loaded, CHAT, parse_request(CHAT, data), data, "i", 1.0))


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("anthropic", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
        ("bedrock-anthropic", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
        ("cohere", {"response_format": {"type": "json_object", "json_schema": SCHEMA}}),
        ("ollama", {"format": SCHEMA}),
    ],
)
def test_schemas_of_responses_reach_the_vendor(preset: str, expected: dict[str, Any]) -> None:
    """Structured outputs are sent in the vendor's own members."""
    exchange = _exchange(preset, response_format=FORMAT)
    sent = json.loads(exchange.calls[0].request().body or b"")
    assert {name: sent[name] for name in expected} == expected
    assert exchange.dropped == ()
    assert not expected.keys() & json.loads(_exchange(preset).calls[0].request().body or b"").keys()


@pytest.mark.parametrize("preset", ["anthropic", "cohere", "tgi", "ollama", "litellm-custom"])
def test_defaults_of_openai_are_not_lost_parameters(preset: str) -> None:
    """Clients that send every default lose nothing."""
    assert _exchange(preset, **DEFAULTS).dropped == ()


@pytest.mark.parametrize(
    ("name", "value"), [("frequency_penalty", 0.5), ("parallel_tool_calls", False), ("seed", 7)]
)
def test_other_values_are_named(name: str, value: Any) -> None:
    """A value that is no default is a lost parameter."""
    assert _exchange("litellm-custom", **{name: value}).dropped == (name,)
