"""Upstream request bodies: the client's body with edits, or a body from a template."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.errors import RequestError
from tests.exchange.single_exchange import new_exchange, request, request_bodies, request_body

PARTS = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
IMAGE = {"type": "image_url", "image_url": {"url": "https://images/1"}}


def edited(rules: str, body: dict[str, Any] | None = None, **members: Any) -> Any:
    """Return the upstream body that an edit rule makes."""
    return request_body(f"request: {rules}", body or request(**members))


def test_without_rules_the_body_is_forwarded_unchanged() -> None:
    data = b'{ "model":"m",  "messages":[{"role":"user","content":"hi"}], "x":1.50 }'
    assert new_exchange("serves: [chat]", data=data).calls[0].request().body == data


def test_another_model_is_set_in_the_body() -> None:
    assert request_body("model: other", request(x=1)) == request(model="other", x=1)


def test_keep_removes_other_members() -> None:
    body = edited("{keep: [messages, temperature]}", temperature=0.5, top_p=1, user="u")
    assert body == {"messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}


def test_an_empty_keep_removes_all_members() -> None:
    assert edited("{keep: [], fields: {a: 1}}", temperature=0.5) == {"a": 1}


def test_drop_removes_members() -> None:
    assert edited("{drop: [logit_bias, user]}", logit_bias={}, user="u", seed=1) == request(seed=1)


def test_rename_renames_members() -> None:
    body = edited("{rename: {max_tokens: max_new_tokens}}", max_tokens=5)
    assert body == request(max_new_tokens=5)


def test_rename_applies_to_both_names_of_max_tokens() -> None:
    body = edited("{rename: {max_tokens: max_new_tokens}}", max_completion_tokens=5)
    assert body == request(max_new_tokens=5)


def test_keep_is_applied_before_rename() -> None:
    body = edited(
        "{keep: [messages, max_tokens], rename: {max_tokens: n_predict}}", max_tokens=5, n_predict=9
    )
    assert body == {"messages": [{"role": "user", "content": "hi"}], "n_predict": 5}


def test_message_keys_rename_members_of_messages() -> None:
    messages = [{"role": "user", "content": "hi", "name": "ann"}]
    body = edited("{message_keys: {role: from, content: value, name: x}}", messages=messages)
    assert body["messages"] == [{"from": "user", "value": "hi", "x": "ann"}]
    [message] = edited("{message_keys: {content: value}}", messages=messages)["messages"]
    assert message == {"role": "user", "value": "hi", "name": "ann"}


def test_roles_are_renamed() -> None:
    messages = [{"role": role, "content": role} for role in ("system", "user", "assistant")]
    body = edited("{roles: {assistant: bot, system: user}}", messages=messages)
    assert [message["role"] for message in body["messages"]] == ["user", "user", "bot"]


@pytest.mark.parametrize(
    "rules", ["{message_keys: {role: role}}", "{content: text}", "{content: text, drop: [x]}"]
)
def test_a_list_of_texts_becomes_a_string(rules: str) -> None:
    """Other contents go on as they are: with an image, and null."""
    messages = [
        {"role": "user", "content": PARTS},
        {"role": "user", "content": [*PARTS, IMAGE]},
        {"role": "assistant", "content": None},
    ]
    body = edited(rules, messages=messages)
    assert body["messages"] == [{"role": "user", "content": "one\ntwo"}, *messages[1:]]


@pytest.mark.parametrize(
    "rules", ["{drop: [user]}", "{roles: {assistant: bot}}", "{roles: {developer: system}}"]
)
def test_other_edits_keep_content_parts(rules: str) -> None:
    """A translated role changes nothing but the role."""
    messages = [{"role": "user", "content": PARTS}, {"role": "user", "content": [*PARTS, IMAGE]}]
    assert edited(rules, messages=messages)["messages"] == messages


@pytest.mark.parametrize(
    "request_rules", ["", "request: {drop: [user]}", "request: {roles: {assistant: bot}}"]
)
def test_a_list_of_texts_is_a_string_for_custom_servers(request_rules: str) -> None:
    """A route whose responses are not OpenAI's joins texts by itself."""
    body = request(messages=[{"role": "user", "content": PARTS}])
    assert request_body(f"{request_rules}\nresponse: $.t", body)["messages"][0]["content"] == "one\ntwo"
    assert request_body(f"{request_rules}\nstream: false", body)["messages"][0]["content"] == PARTS


def test_fields_are_set_last() -> None:
    body = edited("{drop: [user], rename: {a: b}, fields: {user: '12345', b: 2}}", user="u", a=1)
    assert body == request(user="12345", b=2)


def test_fields_read_the_document() -> None:
    body = edited("{fields: {q: $.last, t: '{{ model }}!', gone: $.seed, deep: [{x: $.last}]}}")
    assert body == request(q="hi", t="m!", deep=[{"x": "hi"}])


def test_the_spelling_of_autodev_is_accepted() -> None:
    rules = """
        request: { "customFields": {"user": "12345", "model": "gpt-4"}, "messageKeys": {"role": "role", "content": "message"} }
        response: "$.choices[0].message.content  "
    """  # noqa: E501
    assert request_body(rules) == {
        "model": "gpt-4", "messages": [{"role": "user", "message": "hi"}], "user": "12345",
    }  # fmt: skip


@pytest.mark.parametrize("rules", ["request: {drop: [user]}\n", "", "request: {fields: {a: 1}}\n"])
def test_stream_options_are_removed_if_the_upstream_does_not_stream(rules: str) -> None:
    body_sent = request(stream=True, stream_options={"include_usage": True})
    assert "stream_options" in request_body(rules + "response: $.a\nstream: $.b", body_sent)
    body = request_body(rules + "response: $.a\nstream: false", body_sent)
    assert "stream_options" not in body
    assert body["stream"] is False


def test_stream_options_are_removed_from_a_non_streaming_request() -> None:
    assert request_body("serves: [chat]", request(stream_options={"include_usage": True})) == request()


def test_fields_may_add_stream_options_for_streams_only() -> None:
    rules = "request: {fields: {stream_options: {include_usage: true}}}\nresponse: $.a\nstream: $.b"
    assert request_body(rules, request(stream=True))["stream_options"] == {"include_usage": True}
    assert "stream_options" not in request_body(rules, request())


def test_a_streaming_upstream_is_requested_with_stream() -> None:
    assert request_body("response: false\nstream: $.b")["stream"] is True


def test_the_stream_rule_may_have_its_own_request() -> None:
    rules = """
        upstream: http://server
        path: /whole
        headers: {X-A: a, X-B: b}
        query: {v: 1}
        request: {fields: {a: 1, deep: {x: 1}}}
        response: $.a
        stream:
          text: $.b
          path: /stream
          headers: {x-b: streamed}
          query: {s: 1}
          request: {fields: {b: 2}}
    """
    [non_streaming] = new_exchange(rules, request()).calls
    [streaming] = new_exchange(rules, request(stream=True)).calls
    assert non_streaming.request().urls == ("http://server/whole?v=1",)
    assert streaming.request().urls == ("http://server/stream?v=1&s=1",)
    sent_headers = {name.lower(): value for name, value in streaming.request().headers.items()}
    assert (sent_headers["x-a"], sent_headers["x-b"]) == ("a", "streamed")
    assert request_bodies(new_exchange(rules, request()))[0]["a"] == 1
    assert request_bodies(new_exchange(rules, request(stream=True)))[0]["b"] == 2


TEMPLATE = """
    request:
      body:
        model: $.model
        params:
          prompt: ["$.prompt"]
          max_tokens: {$path: $.max_tokens, default: 32, max: 4096}
          temperature: $.temperature
          top_k: 40
"""


def test_a_body_is_rendered_from_a_template() -> None:
    assert request_body(TEMPLATE) == {
        "model": "m",
        "params": {"prompt": ["hi"], "max_tokens": 32, "top_k": 40},
    }
    assert request_body(TEMPLATE, request(temperature=0.5, max_tokens=9999)) == {
        "model": "m",
        "params": {"prompt": ["hi"], "max_tokens": 4096, "temperature": 0.5, "top_k": 40},
    }


def test_a_member_without_a_value_is_omitted() -> None:
    rules = "request: {body: {a: {b: $.none}, c: [$.none, 1], d: {$path: $.none, default: null}}}"
    assert request_body(rules) == {"a": {}, "c": [1], "d": None}


def test_each_renders_messages() -> None:
    rules = """
        request:
          body:
            chat:
              $each: $.messages
              $as:
                who: {$path: $item.role, map: {assistant: bot}}
                text: $item.content
                all: "{{ item.role }}"
              merge: role
              skip: [system]
    """
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "user", "content": PARTS},
        {"role": "assistant", "content": "b"},
    ]
    assert request_body(rules, request(messages=messages)) == {
        "chat": [
            {"who": "user", "text": "a\n\none\ntwo", "all": "user"},
            {"who": "bot", "text": "b", "all": "assistant"},
        ]
    }


def test_a_templated_body_may_be_any_json() -> None:
    assert request_body("request: {body: $.last}") == "hi"
    assert request_body("request: {body: [1, $.last]}") == [1, "hi"]
    assert request_body("request: {body: null}") is None


def test_a_get_has_no_body() -> None:
    [call] = new_exchange("upstream: {url: 'http://server/{{ last }}', method: GET}\nresponse: $.a").calls
    upstream_request = call.request()
    assert (upstream_request.method, upstream_request.body, upstream_request.urls) == (
        "GET",
        None,
        ("http://server/hi",),
    )


def test_the_clients_key_is_sent_only_with_auth_client() -> None:
    headers = new_exchange("serves: [chat]", key="Bearer k").calls[0].request().headers
    assert not any("bearer k" in value.lower() for value in headers.values())
    headers = new_exchange("auth: client", key="Bearer k").calls[0].request().headers
    assert headers["Authorization"] == "Bearer k"


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ("{bearer: k}", "Authorization", "Bearer k"),
        ("{header: x-api-key, value: k}", "x-api-key", "k"),
        ("{basic: {user: a, password: b}}", "Authorization", "Basic YTpi"),
    ],
)
def test_the_upstream_key_is_sent_in_a_header(auth: str, name: str, value: str) -> None:
    assert new_exchange(f"auth: {auth}").calls[0].request().headers[name] == value


def test_the_upstream_key_is_sent_in_the_query() -> None:
    assert new_exchange("auth: {query: key, value: k}").calls[0].request().urls == (
        "http://server/api?key=k",
    )


@pytest.mark.parametrize("depth", [50, 300, 1015, 100_000])
@pytest.mark.parametrize(
    "rules",
    [
        "serves: [chat]",
        "model: other",
        "request: {fields: {a: 1}}",
        "request: {body: {a: $.tools, h: $.history}}",
    ],
)
def test_bodies_of_any_depth_are_refused_or_sent(depth: int, rules: str) -> None:
    nested = b"[" * depth + b"]" * depth
    data = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"tools":[%b]}' % nested
    status = None
    try:
        request_bodies(new_exchange(rules, data=data))
    except RequestError as error:
        status = error.status
    assert status in (None, 400)
    assert depth > 50 or status is None
