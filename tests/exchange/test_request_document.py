"""The request document: the members of the client's body, and computed members."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.errors import RequestError
from tests.exchange.single_exchange import NOW, new_exchange, request, request_body

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi."},
    {"role": "developer", "content": "Be kind."},
    {"role": "user", "content": "Which colour?"},
]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


def value_of(path: str, rules: str = "", **members: Any) -> Any:
    """Return the value of a path in the document of a request."""
    body: dict[str, Any] = request_body(
        f"request: {{body: {{found: '{path}'}}}}\n{rules}", request(**members)
    )
    return body.get("found", "nothing")


def test_the_document_has_the_members_of_the_body() -> None:
    assert value_of("$.temperature", temperature=0.5) == 0.5
    assert value_of("$.metadata.a[1]", metadata={"a": [1, {"b": 2}]}) == {"b": 2}
    assert value_of("$.temperature") == "nothing"


def test_the_model_is_the_upstream_model() -> None:
    assert value_of("$.model") == "m"
    assert value_of("$.model", "model: other") == "other"
    assert value_of("$.model", "model: 'org/{{ model }}'") == "org/m"
    assert value_of("$.raw.model", "model: other") == "m"


@pytest.mark.parametrize(
    ("members", "tokens"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 5),
        ({"max_tokens": None, "max_completion_tokens": 7}, 7),
        ({}, "nothing"),
    ],
)
def test_max_tokens_is_read_under_either_name(members: dict[str, Any], tokens: Any) -> None:
    assert value_of("$.max_tokens", **members) == tokens


@pytest.mark.parametrize(
    ("stop", "strings"),
    [("END", ["END"]), (["a", "b"], ["a", "b"]), (None, "nothing"), ([], "nothing"), ("", "nothing")],
)
def test_stop_is_a_list(stop: Any, strings: Any) -> None:
    assert value_of("$.stop", stop=stop) == strings


def test_stop_includes_the_markers_of_a_prompt_that_is_sent() -> None:
    rules = "request: {body: {prompt: $.prompt, stop: $.stop}}\nprompt: chatml"
    assert request_body(rules, request(stop="END"))["stop"] == ["END", "<|im_end|>"]
    assert request_body(rules, request())["stop"] == ["<|im_end|>"]


def test_stream_states_whether_the_upstream_streams() -> None:
    assert value_of("$.stream", "response: $.a\nstream: $.b") is False
    assert value_of("$.stream", "response: $.a\nstream: $.b", stream=True) is True
    assert value_of("$.stream", "response: $.a\nstream: false", stream=True) is False
    assert value_of("$.stream", "response: false\nstream: $.b") is True


def test_text_parts_are_flattened() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "user", "content": parts, "name": "ann"}]
    assert value_of("$.messages", messages=messages) == [
        {"role": "user", "content": "one\ntwo", "name": "ann"}
    ]
    assert value_of("$.raw.messages", messages=messages) == messages


def test_parts_other_than_text_are_kept() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE]}]
    assert value_of("$.messages", messages=messages) == messages


@pytest.mark.parametrize("name", ["prompt", "last", "system", "history"])
def test_images_are_refused_if_text_is_required(name: str) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "user", "content": [IMAGE]}]
    with pytest.raises(RequestError) as raised:
        value_of(f"$.{name}", messages=messages)
    assert raised.value.status == 400
    assert raised.value.param == "messages[1].content"


def test_endpoint_is_that_of_the_client() -> None:
    rules = "request: {body: {found: $.endpoint}}"
    assert request_body(rules) == {"found": "chat/completions"}
    assert request_body(rules, endpoint="completions") == {"found": "completions"}


def test_prompt_has_the_format_of_the_route() -> None:
    assert value_of("$.prompt") == "hi"
    assert value_of("$.prompt", "prompt: last", messages=TALK) == "Which colour?"
    assert value_of("$.prompt", "prompt: join", messages=TALK[1:3]) == "Hello Hi."
    assert value_of("$.prompt", messages=TALK[:2]) == "Be brief.\n\nUser: Hello\nAssistant:"


def test_a_prompt_template_reads_the_document() -> None:
    template = (
        "prompt: {template: '{{ model }}|{{ endpoint }}|{% for m in messages %}{{ m.content }};{% endfor %}'}"
    )
    assert value_of("$.prompt", template, messages=TALK[1:3]) == "m|chat/completions|Hello;Hi.;"


def test_a_prompt_template_reads_computed_members() -> None:
    template = "prompt: {template: '{{ system }}|{{ last }}|{{ history | length }}|{{ turns | length }}'}"
    assert value_of("$.prompt", template, messages=TALK) == "Be brief.\n\nBe kind.|Which colour?|1|3"


def test_system_joins_system_and_developer_messages() -> None:
    assert value_of("$.system", messages=TALK) == "Be brief.\n\nBe kind."
    assert value_of("$.system") == "nothing"


def test_last_is_the_last_user_text() -> None:
    assert value_of("$.last", messages=TALK) == "Which colour?"
    assert value_of("$.last", messages=[*TALK, {"role": "assistant", "content": "Deep"}]) == "Which colour?"


def test_history_is_the_turns_before_the_last() -> None:
    assert value_of("$.history", messages=TALK) == [["Hello", "Hi."]]
    assert value_of("$.history") == []
    more = [*TALK, {"role": "assistant", "content": "Teal."}, {"role": "user", "content": "Why?"}]
    assert value_of("$.history", messages=more) == [["Hello", "Hi."], ["Which colour?", "Teal."]]


def test_turns_are_the_messages_without_system_ones() -> None:
    assert value_of("$.turns", messages=TALK) == [TALK[1], TALK[2], TALK[4]]


def test_raw_is_the_unchanged_body() -> None:
    body = request(stop="END", max_completion_tokens=7, temperature=None, x={"y": [None]})
    assert request_body("request: {body: $.raw}", body) == body


def test_members_are_variables_in_jinja() -> None:
    text = "{{ model }} {{ last }} {{ system }} {{ max_tokens }} {{ turns | length }} {{ stream }}"
    body = request(messages=TALK, max_completion_tokens=7)
    assert request_body(f"request: {{body: {{found: '{text}'}}}}", body) == {
        "found": "m Which colour? Be brief.\n\nBe kind. 7 3 False"
    }


def test_members_can_be_part_of_url_headers_and_query() -> None:
    rules = """
        upstream: "http://server/{{ model }}/{{ model | path }}"
        model: "a b/{{ model }}"
        headers: {X-Last: "{{ last }}", X-Number: 5, X-Flag: true}
        query: {q: "{{ last }}&", v: 2}
    """
    [call] = new_exchange(rules, request(messages=TALK)).calls
    outgoing = call.request()
    assert outgoing.urls == ("http://server/a%20b%2Fm/a%20b/m?q=Which%20colour%3F%26&v=2",)
    assert (outgoing.headers["X-Last"], outgoing.headers["X-Number"], outgoing.headers["X-Flag"]) == (
        "Which colour?", "5", "true",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("timeouts", "seconds"),
    [("first_byte: 30s", 30), ("first_byte: 30s, total: 20.5", 20.5), ("total: 10m", 300), ("idle: 1s", 300)],
)
def test_timeout_is_the_time_to_the_first_byte(timeouts: str, seconds: float) -> None:
    rules = f"upstream: {{url: 'http://server/{{{{ last }}}}', timeouts: {{{timeouts}}}}}"
    assert value_of("$.timeout", rules, timeout=7) == seconds


def test_now_is_the_given_time() -> None:
    assert value_of("$.now") == NOW


@pytest.mark.parametrize("text", ["a\r\nX-Evil: 1", "a\0b", "a\nb"])
def test_a_line_break_in_a_header_is_refused(text: str) -> None:
    with pytest.raises(RequestError) as raised:
        new_exchange("headers: {X-User: '{{ user }}'}", request(user=text)).calls[0].request()
    assert raised.value.status == 400


@pytest.mark.parametrize("model", ["..", ".", "../admin", "a/../b"])
def test_a_path_traversal_in_a_url_is_refused(model: str) -> None:
    rules = "upstream: 'http://server/{{ user | path }}/x'"
    with pytest.raises(RequestError) as raised:
        new_exchange(rules, request(user=model)).calls[0].request()
    assert raised.value.status == 400


def test_a_lone_surrogate_in_a_url_is_encoded() -> None:
    rules = "query: {u: '{{ user }}'}"
    body = request(user="\ud800")
    [call] = new_exchange(rules, body).calls
    assert call.request().urls[0].startswith("http://server/api?u=")


def test_a_lone_surrogate_in_a_header_is_refused() -> None:
    with pytest.raises(RequestError) as raised:
        new_exchange("headers: {X-User: '{{ user }}'}", request(user="\ud800")).calls[0].request()
    assert raised.value.status == 400
