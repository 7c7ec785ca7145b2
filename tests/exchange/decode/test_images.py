"""Generated images: images of any shape become OpenAI's shape, and responses without images an error."""

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


def image_request(**members: Any) -> Body:
    return {"model": "m", "prompt": "a cat", **members}


def image_response(rules: str, body: Any, **members: Any) -> Body:
    """Return the client's response if every upstream call is answered by the same body."""
    exchange = new_exchange(rules, image_request(**members), endpoint="images")
    out = simulate(exchange, pieces_of(body))
    assert exchange.error is None, exchange.error
    return dict(json.loads(out))


def image_error(rules: str, body: Any, **members: Any) -> UpstreamError:
    exchange = new_exchange(rules, image_request(**members), endpoint="images")
    assert simulate(exchange, pieces_of(body)) == b""
    assert isinstance(exchange.error, UpstreamError)
    return exchange.error


def base64(data: bytes) -> str:
    return b64encode(data).decode()


PNG = base64(b"\x89PNG\r\n\x1a\n\x00\x00")
JPEG = base64(b"\xff\xd8\xff\xe0\x00\x10JFIF")
WEBP = base64(b"RIFF\x10\x00\x00\x00WEBPVP8 ")


@pytest.mark.parametrize(
    ("sent", "expected"),
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
        ({"url": PNG}, {"b64_json": PNG}),  # recognized by its form, in any member
    ],
)
def test_images_of_many_shapes_are_read(sent: Any, expected: Body) -> None:
    assert image_response(BARE, {"pictures": [sent]}) == {"created": int(NOW), "data": [expected]}
    assert image_response(BARE.replace("[*]", "[0]"), {"pictures": [sent]})["data"] == [expected]


def test_the_parts_of_an_image_are_read_by_the_rule() -> None:
    rules = BARE.replace("'$.pictures[*]'", "$.pictures, b64_json: $item.raw, revised_prompt: $item.p")
    sent = [{"raw": PNG, "p": "one", "url": "seen.png"}, {"raw": JPEG}, {"other": 1}]
    assert image_response(rules, {"pictures": sent})["data"] == [
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
def test_base64_becomes_a_data_url_on_request(data: str, kind: str) -> None:
    expected = {"url": f"data:{kind};base64,{data}"}
    assert image_response(BARE, {"pictures": [data]}, response_format="url")["data"] == [expected]
    assert image_response(SERVES, {"data": [{"b64_json": data}]}, response_format="url")["data"] == [expected]
    assert image_response(BARE, {"pictures": [data]}, response_format="b64_json")["data"] == [
        {"b64_json": data}
    ]


@pytest.mark.parametrize(("rules", "body"), [(BARE, {"pictures": [URL]}), (SERVES, {"data": [{"url": URL}]})])
def test_a_url_does_not_become_base64(rules: str, body: Body) -> None:
    error = image_error(rules, body, response_format="b64_json")
    assert (error.status, error.kind) == (502, UpstreamFailure.MALFORMED)
    assert "b64_json" in error.message
    assert image_response(rules, body, response_format="url")["data"] == [{"url": URL}]


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
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
def test_a_response_without_images_is_an_error(body: Any, kind: UpstreamFailure, reason: str) -> None:
    error = image_error(BARE, body)
    assert error.kind is kind
    assert reason in error.message


def test_a_conforming_response_is_forwarded_unchanged() -> None:
    expected = {
        "input_tokens": 5,
        "output_tokens": 10,
        "total_tokens": 15,
        "input_tokens_details": {"text_tokens": 5},
    }
    body = {"created": 5, "data": [{"url": URL, "revised_prompt": "x"}], "usage": expected, "size": "1x1"}
    data = json.dumps(body, indent=1).encode()
    for pieces in ([data], bytewise([data])):
        exchange = new_exchange(SERVES, image_request(), endpoint="images")
        assert simulate(exchange, pieces) == data
        assert exchange.usage is not None
        assert exchange.usage[:3] == (5, 10, 15)
    assert image_response(SERVES, {"data": [{"url": URL}]}) == {"created": int(NOW), "data": [{"url": URL}]}


def test_usage_has_the_members_of_image_usage() -> None:
    rules = BARE.replace("'$.pictures[*]'", "$.pictures, usage: {prompt_tokens: $.read}")
    usage = {"input_tokens": 4, "output_tokens": 0, "total_tokens": 4}
    assert image_response(rules, {"pictures": [URL], "read": 4})["usage"] == usage
    assert image_response(BARE, {"pictures": [URL], "usage": usage})["usage"] == usage


def test_n_is_sent_in_one_call_or_split_into_several() -> None:
    [body] = request_bodies(new_exchange(SERVES, image_request(n=3), endpoint="images"))
    assert body["n"] == 3
    expected = SERVES + "request: {body: {count: $.n, text: $.prompt}}\nresponse: {images: $.i}"
    assert request_bodies(new_exchange(expected, image_request(n=3), endpoint="images")) == [
        {"count": 3, "text": "a cat"}
    ]
    assert (
        request_bodies(new_exchange(BARE, image_request(n=3), endpoint="images")) == [{"text": "a cat"}] * 3
    )
    assert image_response(BARE, {"pictures": [URL]}, n=3)["data"] == [{"url": URL}] * 3
    exchange = new_exchange(BARE + "emulate: {n: false}", image_request(n=3), endpoint="images")
    assert (len(exchange.calls), exchange.dropped) == (1, ("n",))


def test_dropped_parameters_are_listed_except_the_format() -> None:
    exchange = new_exchange(
        BARE, image_request(size="5x5", quality="hd", response_format="url"), endpoint="images"
    )
    assert exchange.dropped == ("size", "quality")


def test_parameters_in_preparing_calls_are_not_dropped() -> None:
    rules = (
        SERVES
        + """
upstream: {url: "http://server", method: GET}
calls: {create: {path: /jobs, body: {prompt: $.prompt, size: $.size}, values: {id: $.id}}}
poll: {url: "http://server/jobs/{{ id }}", until: {$.status: done}}
response: {images: $.output}
"""
    )
    exchange = new_exchange(rules, image_request(n=2, size="5x5", quality="hd"), endpoint="images")
    assert (len(exchange.calls), exchange.dropped) == (2, ("quality",))


def test_the_prompt_is_also_a_user_message() -> None:
    rules = (
        SERVES
        + "prompt: last\nrequest: {body: {p: $.prompt, l: $.last, m: $.messages}}\nresponse: {images: $.i}"
    )
    expected = [{"role": "user", "content": "a cat"}]
    assert request_bodies(new_exchange(rules, image_request(), endpoint="images")) == [
        {"p": "a cat", "l": "a cat", "m": expected}
    ]


def test_the_default_model_is_openais() -> None:
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
def test_an_invalid_request_is_refused_with_its_parameter(members: Body) -> None:
    with pytest.raises(RequestError) as raised:
        new_exchange(SERVES, image_request(**members), endpoint="images")
    assert (raised.value.status, raised.value.param) == (400, next(iter(members)))


def test_a_route_that_serves_images_must_read_images() -> None:
    with pytest.raises(ConfigError, match="`images`"):
        route("serves: [chat, images]\nresponse: $.text")
