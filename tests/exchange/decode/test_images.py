"""Generated images: whatever a server sends for them, the client gets OpenAI's shape, or an honest error."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from bridge.core.errors import ConfigError, RequestError, UpstreamError, UpstreamFailure
from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import NOW, bytewise, new_exchange, pieces_of, request_bodies, route

Body = dict[str, Any]

SERVES = "serves: images\n"
BARE = SERVES + "request: {body: {text: $.prompt}}\nresponse: {images: '$.pictures[*]'}\n"
URL = "https://images.example/cat.png?sig=a%3D"


def body_of(**members: Any) -> Body:
    return {"model": "m", "prompt": "a cat", **members}


def reply(rules: str, answer: Any, **members: Any) -> Body:
    """The client's answer, made of the same for every call."""
    exchange = new_exchange(rules, body_of(**members), endpoint="images")
    out = simulate(exchange, pieces_of(answer))
    assert exchange.error is None, exchange.error
    return dict(json.loads(out))


def refusal(rules: str, answer: Any, **members: Any) -> UpstreamError:
    exchange = new_exchange(rules, body_of(**members), endpoint="images")
    assert simulate(exchange, pieces_of(answer)) == b""
    assert isinstance(exchange.error, UpstreamError)
    return exchange.error


def base64(data: bytes) -> str:
    return b64encode(data).decode()


PNG = base64(b"\x89PNG\r\n\x1a\n\x00\x00")
JPEG = base64(b"\xff\xd8\xff\xe0\x00\x10JFIF")
WEBP = base64(b"RIFF\x10\x00\x00\x00WEBPVP8 ")


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (URL, {"url": URL}),
        (f"\n{URL} ", {"url": URL}),
        (PNG, {"b64_json": PNG}),
        (f"data:image/png;base64,{PNG}", {"b64_json": PNG}),
        (PNG[:8] + "\n" + PNG[8:], {"b64_json": PNG}),
        ("_-8", {"b64_json": "/+8="}),
        ({"url": URL}, {"url": URL}),
        (
            {"b64_json": PNG, "revised_prompt": "a teal sea"},
            {"b64_json": PNG, "revised_prompt": "a teal sea"},
        ),
        ({"url": None, "b64_json": PNG}, {"b64_json": PNG}),
        ({"url": URL, "b64_json": PNG}, {"url": URL, "b64_json": PNG}),
        ({"url": PNG}, {"b64_json": PNG}),  # told by its look, wherever it stands
    ],
)
def test_images_are_found_in_many_shapes(found: Any, wanted: Body) -> None:
    assert reply(BARE, {"pictures": [found]}) == {"created": int(NOW), "data": [wanted]}
    assert reply(BARE.replace("[*]", "[0]"), {"pictures": [found]})["data"] == [wanted]


def test_an_images_parts_are_where_the_rule_says() -> None:
    rules = BARE.replace("'$.pictures[*]'", "$.pictures, b64_json: $item.raw, revised_prompt: $item.p")
    found = [{"raw": PNG, "p": "one", "url": "seen.png"}, {"raw": JPEG}, {"other": 1}]
    assert reply(rules, {"pictures": found})["data"] == [
        {"b64_json": PNG, "revised_prompt": "one"},
        {"b64_json": JPEG},
    ]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (WEBP, "image/webp"),
        (base64(b"GIF89a"), "image/gif"),
        (base64(b"?"), "application/octet-stream"),
    ],
)
def test_bytes_become_a_url_for_who_asked_for_one(data: str, kind: str) -> None:
    wanted = {"url": f"data:{kind};base64,{data}"}
    assert reply(BARE, {"pictures": [data]}, response_format="url")["data"] == [wanted]
    assert reply(SERVES, {"data": [{"b64_json": data}]}, response_format="url")["data"] == [wanted]
    assert reply(BARE, {"pictures": [data]}, response_format="b64_json")["data"] == [{"b64_json": data}]


@pytest.mark.parametrize(
    ("rules", "answer"), [(BARE, {"pictures": [URL]}), (SERVES, {"data": [{"url": URL}]})]
)
def test_a_url_does_not_become_bytes(rules: str, answer: Body) -> None:
    error = refusal(rules, answer, response_format="b64_json")
    assert (error.status, error.kind) == (502, UpstreamFailure.MALFORMED)
    assert "b64_json" in error.message
    assert reply(rules, answer, response_format="url")["data"] == [{"url": URL}]


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        ({"images": [URL]}, UpstreamFailure.EMPTY, "$.images[0]"),
        ({"pictures": []}, UpstreamFailure.EMPTY, "no image"),
        ({"pictures": [{"width": 5}, 7, None]}, UpstreamFailure.EMPTY, "no image"),
        ({"pictures": ["a picture of a cat"]}, UpstreamFailure.MALFORMED, "neither a URL nor base64"),
        ({"pictures": ["A"]}, UpstreamFailure.MALFORMED, "neither a URL nor base64"),
        ({"error": "out of memory"}, UpstreamFailure.REFUSED, "out of memory"),
        (b"", UpstreamFailure.EMPTY, "empty body"),
        (b"<html>", UpstreamFailure.MALFORMED, "not JSON"),
    ],
)
def test_an_answer_without_images_is_no_success(answer: Any, kind: UpstreamFailure, says: str) -> None:
    error = refusal(BARE, answer)
    assert error.kind is kind
    assert says in error.message


def test_what_openai_says_itself_goes_on_as_it_is() -> None:
    told = {
        "input_tokens": 5,
        "output_tokens": 10,
        "total_tokens": 15,
        "input_tokens_details": {"text_tokens": 5},
    }
    answer = {"created": 5, "data": [{"url": URL, "revised_prompt": "x"}], "usage": told, "size": "1x1"}
    data = json.dumps(answer, indent=1).encode()
    for pieces in ([data], bytewise([data])):
        exchange = new_exchange(SERVES, body_of(), endpoint="images")
        assert simulate(exchange, pieces) == data
        assert exchange.usage is not None
        assert exchange.usage[:3] == (5, 10, 15)
    assert reply(SERVES, {"data": [{"url": URL}]}) == {"created": int(NOW), "data": [{"url": URL}]}


def test_counts_are_told_in_the_words_of_images() -> None:
    rules = BARE.replace("'$.pictures[*]'", "$.pictures, usage: {prompt_tokens: $.read}")
    usage = {"input_tokens": 4, "output_tokens": 0, "total_tokens": 4}
    assert reply(rules, {"pictures": [URL], "read": 4})["usage"] == usage
    assert reply(BARE, {"pictures": [URL], "usage": usage})["usage"] == usage


def test_several_images_are_one_call_where_the_server_is_told_else_as_many() -> None:
    [body] = request_bodies(new_exchange(SERVES, body_of(n=3), endpoint="images"))
    assert body["n"] == 3
    told = SERVES + "request: {body: {count: $.n}}\nresponse: {images: $.i}"
    assert request_bodies(new_exchange(told, body_of(n=3), endpoint="images")) == [{"count": 3}]
    assert request_bodies(new_exchange(BARE, body_of(n=3), endpoint="images")) == [{"text": "a cat"}] * 3
    assert reply(BARE, {"pictures": [URL]}, n=3)["data"] == [{"url": URL}] * 3
    off = new_exchange(BARE + "emulate: {n: false}", body_of(n=3), endpoint="images")
    assert (len(off.calls), off.dropped) == (1, ("n",))


def test_what_is_not_sent_is_named_but_the_format_is_served_here() -> None:
    exchange = new_exchange(BARE, body_of(size="5x5", quality="hd", response_format="url"), endpoint="images")
    assert exchange.dropped == ("size", "quality")


def test_what_a_call_ahead_of_the_answer_carries_reaches_the_server() -> None:
    rules = (
        SERVES
        + """
upstream: {url: "http://server", method: GET}
calls: {create: {path: /jobs, body: {prompt: $.prompt, size: $.size}, values: {id: $.id}}}
poll: {url: "http://server/jobs/{{ id }}", until: {$.status: done}}
response: {images: $.output}
"""
    )
    exchange = new_exchange(rules, body_of(n=2, size="5x5", quality="hd"), endpoint="images")
    assert (len(exchange.calls), exchange.dropped) == (2, ("quality",))


def test_the_prompt_is_a_users_message_too() -> None:
    rules = (
        SERVES
        + "prompt: last\nrequest: {body: {p: $.prompt, l: $.last, m: $.messages}}\nresponse: {images: $.i}"
    )
    told = [{"role": "user", "content": "a cat"}]
    assert request_bodies(new_exchange(rules, body_of(), endpoint="images")) == [
        {"p": "a cat", "l": "a cat", "m": told}
    ]


def test_without_a_model_it_is_the_one_openai_takes() -> None:
    exchange = new_exchange(SERVES, {"prompt": "a cat"}, endpoint="images")
    assert exchange.calls[0].builder.body["model"] == "dall-e-2"


@pytest.mark.parametrize(
    "members",
    [
        {"prompt": None}, {"prompt": ""}, {"prompt": ["a"]}, {"n": 0}, {"n": "2"}, {"size": 5},
        {"quality": 1}, {"response_format": "png"}, {"response_format": {"type": "url"}}, {"stream": True},
        {"model": 5},
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_by_name(members: Body) -> None:
    with pytest.raises(RequestError) as refused:
        new_exchange(SERVES, body_of(**members), endpoint="images")
    assert (refused.value.status, refused.value.param) == (400, next(iter(members)))


def test_a_route_that_reads_no_images_cannot_serve_them() -> None:
    with pytest.raises(ConfigError, match="`images`"):
        route("serves: [chat, images]\nresponse: $.text")
