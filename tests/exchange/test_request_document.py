"""The request document: the client's body, and what is computed from it."""

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


def found(path: str, rules: str = "", **members: Any) -> Any:
    """What a path finds in the document of a request."""
    body: dict[str, Any] = request_body(
        f"request: {{body: {{found: '{path}'}}}}\n{rules}", request(**members)
    )
    return body.get("found", "nothing")


def test_the_clients_own_members_are_there() -> None:
    assert found("$.temperature", temperature=0.5) == 0.5
    assert found("$.metadata.a[1]", metadata={"a": [1, {"b": 2}]}) == {"b": 2}
    assert found("$.temperature") == "nothing"


def test_the_model_is_the_one_sent_upstream() -> None:
    assert found("$.model") == "m"
    assert found("$.model", "model: other") == "other"
    assert found("$.model", "model: 'org/{{ model }}'") == "org/m"
    assert found("$.raw.model", "model: other") == "m"


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
def test_max_tokens_also_from_its_newer_name(members: dict[str, Any], tokens: Any) -> None:
    assert found("$.max_tokens", **members) == tokens


@pytest.mark.parametrize(
    ("stop", "listed"),
    [("END", ["END"]), (["a", "b"], ["a", "b"]), (None, "nothing"), ([], "nothing"), ("", "nothing")],
)
def test_stop_is_a_list(stop: Any, listed: Any) -> None:
    assert found("$.stop", stop=stop) == listed


def test_stop_has_the_marks_of_a_prompt_that_is_sent() -> None:
    rules = "request: {body: {prompt: $.prompt, stop: $.stop}}\nprompt: chatml"
    assert request_body(rules, request(stop="END"))["stop"] == ["END", "<|im_end|>"]
    assert request_body(rules, request())["stop"] == ["<|im_end|>"]
    assert found("$.stop", "prompt: chatml", stop="END") == ["END"]


def test_stream_is_what_is_wanted_of_the_server() -> None:
    assert found("$.stream", "response: $.a\nstream: $.b") is False
    assert found("$.stream", "response: $.a\nstream: $.b", stream=True) is True
    assert found("$.stream", "response: $.a\nstream: false", stream=True) is False
    assert found("$.stream", "response: false\nstream: $.b") is True


def test_contents_of_text_parts_are_flattened() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "user", "content": parts, "name": "ann"}]
    assert found("$.messages", messages=messages) == [{"role": "user", "content": "one\ntwo", "name": "ann"}]
    assert found("$.raw.messages", messages=messages) == messages


def test_contents_of_more_than_text_stay() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE]}]
    assert found("$.messages", messages=messages) == messages


@pytest.mark.parametrize("name", ["prompt", "last", "system", "history"])
def test_images_are_refused_where_text_is_needed(name: str) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "user", "content": [IMAGE]}]
    with pytest.raises(RequestError) as raised:
        found(f"$.{name}", messages=messages)
    assert raised.value.status == 400
    assert raised.value.param == "messages[1].content"


def test_endpoint_is_what_the_client_called() -> None:
    rules = "request: {body: {found: $.endpoint}}"
    assert request_body(rules) == {"found": "chat/completions"}
    assert request_body(rules, endpoint="completions") == {"found": "completions"}


def test_prompt_is_made_as_the_route_says() -> None:
    assert found("$.prompt") == "hi"
    assert found("$.prompt", "prompt: last", messages=TALK) == "Which colour?"
    assert found("$.prompt", "prompt: join", messages=TALK[1:3]) == "Hello Hi."
    assert found("$.prompt", messages=TALK[:2]) == "Be brief.\n\nUser: Hello\nAssistant:"


def test_a_prompt_template_reads_the_document() -> None:
    template = (
        "prompt: {template: '{{ model }}|{{ endpoint }}|{% for m in messages %}{{ m.content }};{% endfor %}'}"
    )
    assert found("$.prompt", template, messages=TALK[1:3]) == "m|chat/completions|Hello;Hi.;"


def test_a_prompt_template_reads_what_is_computed() -> None:
    template = "prompt: {template: '{{ system }}|{{ last }}|{{ history | length }}|{{ turns | length }}'}"
    assert found("$.prompt", template, messages=TALK) == "Be brief.\n\nBe kind.|Which colour?|1|3"


def test_system_joins_system_and_developer_messages() -> None:
    assert found("$.system", messages=TALK) == "Be brief.\n\nBe kind."
    assert found("$.system") == "nothing"


def test_last_is_the_last_user_text() -> None:
    assert found("$.last", messages=TALK) == "Which colour?"
    assert found("$.last", messages=[*TALK, {"role": "assistant", "content": "Deep"}]) == "Which colour?"


def test_history_is_what_came_before_the_last() -> None:
    assert found("$.history", messages=TALK) == [["Hello", "Hi."]]
    assert found("$.history") == []
    more = [*TALK, {"role": "assistant", "content": "Teal."}, {"role": "user", "content": "Why?"}]
    assert found("$.history", messages=more) == [["Hello", "Hi."], ["Which colour?", "Teal."]]


def test_turns_are_the_messages_without_system_ones() -> None:
    assert found("$.turns", messages=TALK) == [TALK[1], TALK[2], TALK[4]]


def test_raw_is_the_body_untouched() -> None:
    body = request(stop="END", max_completion_tokens=7, temperature=None, x={"y": [None]})
    assert request_body("request: {body: $.raw}", body) == body


def test_the_same_members_are_variables_in_jinja() -> None:
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
    made = call.request()
    assert made.urls == ("http://server/a%20b%2Fm/a%20b/m?q=Which%20colour%3F%26&v=2",)
    assert (made.headers["X-Last"], made.headers["X-Number"], made.headers["X-Flag"]) == (
        "Which colour?", "5", "true",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("timeouts", "seconds"),
    [("first_byte: 30s", 30), ("first_byte: 30s, total: 20.5", 20.5), ("total: 10m", 300), ("idle: 1s", 300)],
)
def test_timeout_is_how_long_the_bridge_waits(timeouts: str, seconds: float) -> None:
    rules = f"upstream: {{url: 'http://server', timeouts: {{{timeouts}}}}}"
    assert found("$.timeout", rules, timeout=7) == seconds


def test_now_is_the_clock_it_was_given() -> None:
    assert found("$.now") == NOW


@pytest.mark.parametrize("text", ["a\r\nX-Evil: 1", "a\0b", "a\nb"])
def test_no_value_breaks_out_of_a_header(text: str) -> None:
    with pytest.raises(RequestError) as raised:
        new_exchange("headers: {X-User: '{{ user }}'}", request(user=text)).calls[0].request()
    assert raised.value.status == 400


@pytest.mark.parametrize("model", ["..", ".", "../admin", "a/../b"])
def test_no_model_breaks_out_of_its_part_of_a_url(model: str) -> None:
    rules = "upstream: 'http://server/{{ user | path }}/x'"
    with pytest.raises(RequestError) as raised:
        new_exchange(rules, request(user=model)).calls[0].request()
    assert raised.value.status == 400


def test_half_a_surrogate_pair_in_a_url_is_no_accident() -> None:
    rules = "query: {u: '{{ user }}'}"
    body = request(user="\ud800")
    [call] = new_exchange(rules, body).calls
    assert call.request().urls[0].startswith("http://server/api?u=")


def test_half_a_surrogate_pair_in_a_header_is_refused() -> None:
    with pytest.raises(RequestError) as raised:
        new_exchange("headers: {X-User: '{{ user }}'}", request(user="\ud800")).calls[0].request()
    assert raised.value.status == 400
