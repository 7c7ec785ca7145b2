"""Arbitrary requests: any JSON of a client gives upstream requests or a 4xx error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import RequestError
from bridge.exchange.commands import SendRequest
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import parse_request
from bridge.prompts import PROMPTS
from tests.exchange.callout_steps import commands_after, commands_before, fetched
from tests.exchange.single_exchange import ID, NOW, table
from tests.exchange.strategies import json_values

if TYPE_CHECKING:
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.table import RouteTable

TEMPLATED = """
    model: "org/{{ model }}"
    upstream: "http://server/{{ model | path }}/{{ endpoint }}/{{ user }}"
    headers: {X-Model: "{{ model }}"}
    query: {user: "{{ user }}"}
    request:
      body:
        all: [$.prompt, $.system, $.last, $.history, $.turns, $.stop, $.max_tokens, $.endpoint, $.raw]
        deep: ["$..text", "$.messages[*].content", "$.tools[?(@.type == 'function')].function.name"]
        map: {$path: $.temperature, map: {1: one, x: y}, default: none}
        number: {$path: $.top_p, scale: 2, offset: 1, min: 0, max: 9, as: float}
        range: {$path: $.seed, above: 0, below: 100, as: int}
        text: {$path: $.stop, join: ", ", as: string}
        took: {$path: $.logit_bias, take: last, as: json}
        flag: {$path: $.store, as: bool, when: {$.user: {matches: "^a"}}}
        each:
          $each: $.messages
          $as: {role: {$path: $item.role, map: {assistant: bot}}, text: "{{ item.content }}", raw: $item}
          when: {$item.content: {exists: true}}
          merge: role
          skip: [system]
        choice: {$when: {$.tools: {exists: true}}, $then: $.tools, $else: {$path: $.n, default: null}}
        jinja: "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %} {{ stop }} {{ temperature }}"
    response: $.a
    stream: {text: $.b, query: {seed: "{{ seed }}"}}
    session: {open: {path: /s, body: {u: $.user}, id: $.id}, close: {path: /e}}
"""
ROUTES = {
    "none": "serves: [chat, completions]",
    "keep": "request: {keep: [messages, max_tokens], rename: {max_tokens: n}}",
    "edited": """
        request:
          drop: [user]
          rename: {max_tokens: n, messages: chat}
          message_keys: {role: who, content: text}
          roles: {assistant: bot}
          fields: {user: $.last, x: "{{ system }}", h: $.history}
        response: $.a
    """,
    "templated": TEMPLATED,
    "strict": "unsupported: error\nrequest: {body: {p: $.prompt}}\nresponse: $.a\n"
    "emulate: {n: false, stop: false}",
    "streams only": "request: {body: {p: $.prompt}}\nresponse: false\nstream: $.a",
    "template": "prompt: {template: '{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}'}\n"
    "request: {body: {p: $.prompt}}\nresponse: $.a",
} | {
    name: f"prompt: {name}\nrequest: {{body: {{p: $.prompt, s: $.stop}}}}\nresponse: $.a" for name in PROMPTS
}


TEXTS = st.text(st.characters(), max_size=5) | st.sampled_from(
    ["\ud800", "..", "a\r\nb", "a/../b", "%2e", "{{ 1 }}", "<|im_end|>"]
)
PART = st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS})
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "user", "assistant", "system", "developer", "tool", "\ud800"])},
    optional={
        "content": TEXTS | TEXTS | st.none() | st.lists(PART, max_size=3),
        "tool_calls": json_values(),
        "name": TEXTS,
    },
)
ODD_PART = st.fixed_dictionaries({}, optional={"type": TEXTS | json_values(), "text": json_values()})
ODD_MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": TEXTS | json_values(),
        "content": st.lists(ODD_PART | json_values(), max_size=2) | json_values(),
    },
)
GOOD = st.fixed_dictionaries(
    {
        "model": st.just("m"),
        "messages": st.lists(MESSAGE, min_size=1, max_size=4),
        "prompt": TEXTS
        | st.lists(TEXTS, min_size=1, max_size=3)
        | st.lists(st.integers(), min_size=1, max_size=3),
    },
    optional={
        "stream": st.booleans(),
        "stream_options": st.just({"include_usage": True}),
        "n": st.integers(1, 3),
        "stop": TEXTS | st.lists(TEXTS, max_size=3),
        "max_tokens": st.integers(),
        "max_completion_tokens": st.integers(),
        "temperature": st.floats(),
        "top_p": st.floats(),
        "seed": st.integers(),
        "user": TEXTS,
        "tools": st.lists(json_values(), max_size=2),
        "logit_bias": st.dictionaries(TEXTS, st.integers(), max_size=2),
        "store": json_values(),
        "x": json_values(),
    },
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a client's body that is valid except for up to two members."""
    body = draw(GOOD)
    for name in (
        draw(st.lists(st.sampled_from([*body, "messages"]), max_size=2)) if draw(st.booleans()) else []
    ):
        match draw(st.integers(0, 2)):
            case 0:
                body.pop(name, None)
            case 1:
                body[name] = draw(json_values())
            case _:
                body["messages"] = [*draw(st.lists(MESSAGE, max_size=1)), draw(ODD_MESSAGE | json_values())]
    return body


@pytest.mark.parametrize("name", ROUTES)
@given(endpoint=st.sampled_from(list(ENDPOINTS)), body=bodies() | bodies() | bodies() | json_values())
def test_any_json_is_refused_or_sent(name: str, endpoint: str, body: Any) -> None:
    assert_sent_or_refused(table(ROUTES[name]), endpoint, json.dumps(body).encode())


@given(
    endpoint=st.sampled_from(list(ENDPOINTS)),
    data=st.binary(max_size=60) | st.text(st.characters(exclude_categories=["Cs"])).map(str.encode),
)
def test_any_bytes_are_refused_or_sent(endpoint: str, data: bytes) -> None:
    assert_sent_or_refused(table(ROUTES["none"]), endpoint, data)


def assert_sent_or_refused(routes: RouteTable, endpoint: str, data: bytes) -> None:
    """Assert that the requests are valid HTTP requests, or that the error is a 4xx."""
    error = None
    try:
        upstream_requests = all_requests(routes, endpoint, data)
    except RequestError as raised:
        error = raised
    if error is not None:
        assert 400 <= error.status < 500
        assert error.envelope["error"]["message"]
        return
    assert upstream_requests
    for upstream_request in upstream_requests:
        for text in (*upstream_request.urls, *upstream_request.headers, *upstream_request.headers.values()):
            assert not set(text.encode()) & set(b"\r\n\0")
        if upstream_request.body is not None:
            json.loads(upstream_request.body)


def all_requests(routes: RouteTable, endpoint: str, data: bytes) -> list[UpstreamRequest]:
    """Return every upstream request for a client's request."""
    spec = ENDPOINTS[endpoint]
    body = parse_request(spec, data)
    route, _ = routes.find(body["model"], spec)
    exchange = Exchange(RequestContext(route, spec, body, data, id=ID, now=NOW))
    upstream_requests = []
    for call in exchange.calls:
        commands = (
            [*commands_before(call, fetched({"id": "s"})), *commands_after(call)] if call.callouts else []
        )
        upstream_requests += [
            call.request(),
            *(step.request for step in commands if isinstance(step, SendRequest)),
        ]
    return upstream_requests
