"""Options of texts: JSON in JSON, markers, patterns, reasoning between tags, and images that are the body."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import (
    bytewise,
    ndjson,
    new_exchange,
    run_completion,
    run_failure,
    run_stream,
    sse,
)

OUTPUT = json.dumps({"output": "Hello", "why": "MAX_TOKENS", "n": 7})


@pytest.mark.parametrize(
    "slot",
    [
        "{path: $.c, as: object, then: $.output}",
        "{path: $.c, as: json, then: $.output}",
        "[{path: $.nothing, then: $.x}, {path: $.c, as: object, then: {path: $.output}}]",
    ],
)
def test_a_path_goes_on_in_a_string_of_json(slot: str) -> None:
    """A slot takes steps: the string is parsed, then read."""
    assert run_completion(f"response: {{text: {slot}}}", {"c": OUTPUT}).choice.text == "Hello"
    rules = f"response: false\nstream: {{framing: ndjson, text: {slot}}}"
    assert run_stream(rules, bytewise(ndjson({"c": OUTPUT}, {"c": OUTPUT}))).choice.text == "HelloHello"


@pytest.mark.parametrize("content", ["no JSON", json.dumps({"other": 1}), json.dumps([1])])
def test_a_string_without_the_value_is_an_error(content: str) -> None:
    """The error names the path that finds nothing."""
    error = run_failure("response: {text: {path: $.c, as: object, then: $.output}}", {"c": content})
    assert error.code == "upstream_empty"


@pytest.mark.parametrize("body", [OUTPUT, json.loads(OUTPUT)])
def test_a_response_inside_of_a_value(body: Any) -> None:
    """All slots read the value at `inside`, which may be a string of JSON."""
    slots = "inside: $.body, text: $.output, finish_reason: $.why, usage: {prompt_tokens: $.n}"
    completion = run_completion(f"response: {{{slots}}}", {"statusCode": 200, "body": body})
    assert (completion.choice.text, completion.choice.finish_reason) == ("Hello", "length")
    assert completion.usage is not None
    assert completion.usage["prompt_tokens"] == 7
    stream = run_stream(f"response: false\nstream: {{framing: ndjson, {slots}}}", ndjson({"body": body}))
    assert (stream.choice.text, stream.choice.finish_reason) == ("Hello", "length")


def test_openai_responses_inside_of_a_value() -> None:
    """An adjusted format reads all of OpenAI's places there."""
    inner = {
        "choices": [{"index": 0, "message": {"content": "Hello", "refusal": None}, "finish_reason": "length"}]
    }
    completion = run_completion("response: {inside: $.body}", {"body": json.dumps(inner)})
    assert (completion.choice.text, completion.choice.finish_reason) == ("Hello", "length")


def test_an_error_inside_of_a_value() -> None:
    """Gateways wrap failures too."""
    body = json.dumps({"error": {"message": "torn", "code": 503}})
    error = run_failure("response: {inside: $.body, text: $.output}", {"body": body})
    assert (error.message, error.status) == ("torn", 503)


ECHO = "Prompt:\nhi\nOutput:\nHello"


@pytest.mark.parametrize(
    ("option", "sent", "text"),
    [
        ('after: "Output:\\n"', ECHO, "Hello"),
        ('after: "Output:\\n"', "Output:\nOutput:\nHello", "Hello"),
        ('after: "Output:\\n"', "Hello", "Hello"),
        ('after: "Output:", trim: true', ECHO, "Hello"),
        ('match: "(?s)Output:\\\\n(.*)"', ECHO, "Hello"),
        ('match: "H[a-z]+"', ECHO, "Hello"),
    ],
)
def test_an_echo_that_is_not_exact(option: str, sent: str, text: str) -> None:
    """A marker or a pattern finds the text after an echo of the prompt."""
    assert run_completion(f"response: {{text: {{path: $.t, {option}}}}}", {"t": sent}).choice.text == text
    rules = f"response: false\nstream: {{framing: ndjson, mode: cumulative, text: {{path: $.t, {option}}}}}"
    assert run_completion(rules, ndjson({"t": sent})).choice.text == text


def test_a_marker_in_pieces_is_found() -> None:
    """The text is held to its end, where the last marker is known."""
    rules = 'response: false\nstream: {framing: ndjson, text: {path: $.t, after: "Output:"}}'
    frames = ndjson(*({"t": part} for part in ("Prompt: Out", "put: x Outp", "ut:Hel", "lo")))
    for pieces in (frames, bytewise(frames)):
        assert run_stream(rules, pieces).choice.text == "Hello"


def test_a_pattern_that_does_not_match_finds_nothing() -> None:
    """Frames without a match have no text (Vercel's lines)."""
    rules = "response: false\nstream: {framing: ndjson, text: {path: $.l, match: '^0:(.*)$', as: json}}"
    frames = ndjson({"l": '0:"Hel"'}, {"l": "2:[]"}, {"l": '0:"lo"'})
    assert "upstream" not in rules
    assert run_failure("response: {text: {path: $.t, match: 'x(y)'}}", {"t": "abc"}).code == "upstream_empty"
    assert frames


THINK = 'emulate: {reasoning: {tags: ["<think>", "</think>"], open: OPEN}}'


@pytest.mark.parametrize("route", ["", "response: $.t\nstream: {text: $.t}"])
@pytest.mark.parametrize(
    ("inside", "parts", "reasoning", "text"),
    [
        ("true", ["hm hm", "</thi", "nk>\n\nHello"], "hm hm", "Hello"),
        ("true", ["<think>\nhm", " hm\n</think>", "Hello"], "hm hm", "Hello"),
        ("false", ["<th", "ink>hm</think>", "\nHel", "lo < you"], "hm", "Hello < you"),
        ("false", ["Hel", "lo"], "", "Hello"),
        ("false", ["a <think>b</think> c <think>d</think>"], "bd", "a c "),
        ("true", ["hm"], "hm", ""),
        ("false", ["Hello <thi"], "", "Hello <thi"),
    ],
)
def test_reasoning_between_tags(route: str, inside: str, parts: list[str], reasoning: str, text: str) -> None:
    """Tags may arrive in parts, and the opening one may be part of the prompt."""
    rules = f"{route}\n{THINK.replace('OPEN', inside)}"
    openai = not route
    full = "".join(parts)
    body = (
        {"choices": [{"index": 0, "message": {"content": full}, "finish_reason": "stop"}]}
        if openai
        else {"t": full}
    )
    choice = run_completion(rules, body).choice
    assert (choice.text, choice.reasoning) == (text, reasoning)
    frames = [
        {"choices": [{"index": 0, "delta": {"content": part}}]} if openai else {"t": part} for part in parts
    ]
    events = sse(*frames, "data: [DONE]\n\n")
    for pieces in (events, bytewise(events)):
        choice = run_stream(rules, pieces).choice
        assert (choice.text, choice.reasoning) == (text, reasoning)


IMAGES = "serves: images\nrequest: {body: {p: $.prompt}}\nresponse: {images: body}"
PNG, JPEG, WEBP = b"\x89PNG\r\n\x1a\n\0", b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBPVP8 "


@pytest.mark.parametrize(("data", "kind"), [(PNG, "png"), (JPEG, "jpeg"), (WEBP, "webp")])
def test_a_body_that_is_the_image(data: bytes, kind: str) -> None:
    """The client gets base64, or a data URL whose type is that of the bytes."""
    for form in ("b64_json", "url"):
        body = {"model": "m", "prompt": "a cat", "response_format": form}
        exchange = new_exchange(IMAGES, body, endpoint="images")
        out = json.loads(simulate(exchange, [data], headers={"content-type": "application/octet-stream"}))
        encoded = b64encode(data).decode()
        expected = encoded if form == "b64_json" else f"data:image/{kind};base64,{encoded}"
        assert out["data"][0][form] == expected


def test_json_in_place_of_an_image_is_an_error() -> None:
    """A failure under 200 is no image."""
    exchange = new_exchange(IMAGES, {"model": "m", "prompt": "a cat"}, endpoint="images")
    assert simulate(exchange, [b'{"error": "busy"}']) == b""
    assert exchange.error is not None
    assert exchange.error.message == "busy"
