"""Work and memory are linear in everything that an upstream's response can have many of."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import bytewise, ndjson, new_exchange, request, sse
from tests.scaling.growth import Make, Row, assert_linear

if TYPE_CHECKING:
    from collections.abc import Callable

MAPPED = "request: {body: {m: $.last}}\nresponse: $.text\nstream: {text: $.text}"
GATHERED = "response: false\nstream: {text: $.text%s}"
CALLS_OF_CHUNKS = (
    "request: {drop: [x]}\nresponse: false\nstream: {text: '$.choices[0].delta.content', "
    "tool_calls: '$.choices[0].delta.tool_calls'}"
)
CHOICES = "request: {body: {m: $.last}}\nresponse: {choices: '$.c', text: $item.t, logprobs: $item.l}"
VECTORS = "serves: embeddings\nrequest: {body: {p: $.inputs}}\nresponse: {embeddings: $.e}"
IMAGES = "serves: images\nrequest: {body: {p: $.prompt, n: $.n}}\nresponse: {images: $.i}"
SLOT = "request: {body: {m: $.last}}\nresponse: {text: %s}"
TRIMMED = "response: false\nstream: {text: {path: $.text, trim: true}}"
RAW = "response: false\nstream: {framing: text, text: $}"
LINES = "response: false\nstream: {framing: ndjson, text: $.t}"
ECHO = (
    "prompt: join\nrequest: {body: {p: $.prompt}}\nresponse: false\n"
    "stream: {text: {path: $.text, strip_prompt: true}}"
)
BATCHES = "emulate: {batch: 1}\nlimits: {inputs: 1000000}\n" + VECTORS
MANY_INPUTS = "limits: {inputs: 1000000}\n" + VECTORS
MANY_STOPS = "limits: {stops: 64}\n" + MAPPED


def responding(
    rules: str,
    response: Callable[[int], list[bytes]],
    endpoint: str = "chat",
    *,
    headers: Callable[[int], dict[str, str]] | None = None,
    **members: Any,
) -> Make:
    """Turn an upstream response into the client's. Members that are functions depend on the size."""

    def make(n: int) -> Callable[[], object]:
        pieces = response(n)
        fields = headers(n) if headers else {}
        sized = {name: value(n) if callable(value) else value for name, value in members.items()}
        body = request(endpoint, **sized)
        return lambda: simulate(new_exchange(rules, body, endpoint=endpoint), pieces, headers=fields)

    return make


def reading(
    rules: str, document: Callable[[int], Any], endpoint: str = "chat", *, size: int = 1_000, **members: Any
) -> Row:
    return Row(responding(rules, lambda n: [json.dumps(document(n)).encode()], endpoint, **members), size)


def streaming(rules: str, pieces: Callable[[int], list[bytes]], n: int = 500, **members: Any) -> Row:
    return Row(responding(rules, pieces, **{"stream": True, **members}), n)


def logprobs(n: int) -> dict[str, Any]:
    likely = [{"token": "a", "logprob": -1.0, "bytes": [97]}] * 5
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": likely}
    return {"content": [token] * n, "refusal": None}


def openai_completion(**message: Any) -> dict[str, Any]:
    return {
        "id": "c",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}],
    }


def tool_calls(n: int) -> list[dict[str, Any]]:
    return [
        {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for number in range(n)
    ]


def chunk(**delta: Any) -> bytes:
    return sse({"choices": [{"index": 0, "delta": delta}]})[0]


def streamed_calls(n: int) -> list[bytes]:
    return [chunk(tool_calls=[{"index": number, **call}]) for number, call in enumerate(tool_calls(n))]


def streamed_arguments(n: int) -> list[bytes]:
    first = chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}])
    return [first, *[chunk(tool_calls=[{"index": 0, "function": {"arguments": "x" * 100}}])] * n]


def openai_chunks(n: int) -> list[bytes]:
    return [chunk(content=f"word {number} ") for number in range(n)]


def chunks_with_logprobs(n: int) -> list[bytes]:
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": logprobs(1)}
    return sse({"choices": [choice]}) * n


def texts(n: int, text: str = "word ") -> list[bytes]:
    return sse({"text": text}) * n


def frames_after_texts(frame: bytes) -> Callable[[int], list[bytes]]:
    return lambda n: [b"".join(texts(8)) + frame * n]


def vectors(n: int) -> dict[str, Any]:
    return {"e": [[0.5, 0.25]] * n}


def words(n: int) -> str:
    return " ".join(["word"] * n)


COMPLETIONS = {
    "bytes of a text": reading(MAPPED, lambda n: {"text": words(100 * n)}),
    "bytes of a text passed on": reading("name: openai", lambda n: openai_completion(content=words(100 * n))),
    "pieces of a body": Row(
        responding(MAPPED, lambda n: bytewise([json.dumps({"text": "x" * n}).encode()])), 4_000
    ),
    "parts of a text": reading(MAPPED, lambda n: {"text": [{"text": "hi"}] * n}),
    "texts, joined": reading(SLOT % "{path: '$.t[*].x', join: ' '}", lambda n: {"t": [{"x": "hi"}] * n}),
    "a text of JSON": reading(SLOT % "{path: $.t, as: json}", lambda n: {"t": json.dumps("x" * 100 * n)}),
    "members of a document": reading(MAPPED, lambda n: {"text": "x", **{f"m{i}": i for i in range(n)}}),
    "members without a text": reading(MAPPED, lambda n: {f"m{i}": "x" for i in range(n)}),
    "values below `..`": reading(SLOT % "$..t", lambda n: {"c": [{"t": "hi"}] * (n // 4)}),
    "elements of a filter": reading(
        SLOT % "\"$.c[?(@.k=='a')].t\"", lambda n: {"c": [{"k": "a", "t": "hi"}] * (n // 4)}
    ),
    "choices": reading(CHOICES, lambda n: {"c": [{"t": "x"}] * n}, size=32, n=128),
    "logprobs": reading(CHOICES, lambda n: {"c": [{"t": "x", "l": logprobs(n)}]}),
    "logprobs passed on": reading(
        "name: openai",
        lambda n: {"choices": [{"index": 0, "message": {"content": "a"}, "logprobs": logprobs(n)}]},
    ),
    "tool calls": reading(
        "request: {drop: [x]}\nresponse: {tool_calls: '$.choices[0].message.tool_calls'}",
        lambda n: openai_completion(content=None, tool_calls=tool_calls(n)),
    ),
    "tool calls passed on": reading(
        "name: openai", lambda n: openai_completion(content=None, tool_calls=tool_calls(n))
    ),
    "tool calls without ids": reading(
        "name: openai",
        lambda n: openai_completion(content=None, tool_calls=[{"function": {"name": "f"}}] * n),
    ),
    "characters of an error": reading(MAPPED, lambda n: {"error": {"message": "x" * 100 * n}}),
    "characters that are not JSON": Row(responding(MAPPED, lambda n: [b"<p>" * 50 * n]), 1_000),
    "header fields": Row(
        responding(
            "response: {text: $.t, usage: {prompt_tokens: {header: x-tokens}}}",
            lambda n: [b'{"t":"x"}'],
            headers=lambda n: {f"x-{i}": "1" for i in range(n)},
        ),
        1_000,
    ),
    "vectors": reading(MANY_INPUTS, vectors, "embeddings", input=lambda n: ["hi"] * n),
    "numbers of a vector": reading(VECTORS, lambda n: {"e": [0.5] * n}, "embeddings", input="hi"),
    "bytes of a vector in base64": reading(
        VECTORS, lambda n: {"e": b64encode(b"\0\0\0\0" * n).decode()}, "embeddings", input="hi"
    ),
    "vectors, one a call": Row(
        responding(BATCHES, lambda n: [b'{"e":[0.5]}'], "embeddings", input=lambda n: ["hi"] * n), 200
    ),
    "images": reading(IMAGES, lambda n: {"i": ["iVBORw0KGgo="] * n}, "images", n=10),
    "bytes of an image": reading(IMAGES, lambda n: {"i": ["iVBORw0KGgo" + "A" * 100 * n]}, "images"),
}

EMPTY_FRAMES = {
    "blank lines": b"\n",
    "blank events": b"\n\n",
    "comments": b":\n\n",
    "comments with text": b": x\n\n",
    "empty data": b"data:\n\n",
    "empty objects": b"data: {}\n\n",
    "carriage returns": b"\r\n\r\n",
}

STREAMS = {
    "events, one a read": streaming(MAPPED, texts),
    "events in one read": streaming(MAPPED, lambda n: [b"".join(texts(n))]),
    "events that differ": streaming(
        MAPPED, lambda n: [b"".join(sse(*({"text": "w", "n": number} for number in range(n))))]
    ),
    "events of which a completion is made": streaming(GATHERED % "", texts, stream=False),
    "chunks passed on": streaming("name: openai", openai_chunks),
    "chunks with logprobs passed on": streaming("name: openai", chunks_with_logprobs, 250),
    "tool calls passed on": streaming("name: openai", streamed_calls),
    "arguments passed on": streaming("name: openai", streamed_arguments),
    "tool calls of which a completion is made": streaming(CALLS_OF_CHUNKS, streamed_calls, stream=False),
    "arguments of which a completion is made": streaming(CALLS_OF_CHUNKS, streamed_arguments, stream=False),
    **{
        f"{name} in one read": streaming(MAPPED, frames_after_texts(frame), 4_000)
        for name, frame in EMPTY_FRAMES.items()
    },
    "an event of many lines": streaming(
        MAPPED, lambda n: [b"data: \n" * n + b'data: {"text":"x"}\n\n'], 4_000
    ),
    "text that may be a stop string": streaming(
        MAPPED, lambda n: texts(n, "ab"), stop=["ab" * 15 + "x", "ab" * 16 + "y"]
    ),
    "stop strings": Row(
        responding(
            MANY_STOPS,
            lambda n: texts(100),
            stream=True,
            stop=lambda n: [f"{'word ' * 4}{i}" for i in range(n)],
        ),
        16,
    ),
    "characters of stop strings": Row(
        responding(MAPPED, lambda n: [b"".join(texts(200))], stream=True, stop=lambda n: ["word " * n + "x"]),
        1_000,
    ),
    "white space that is held": streaming(TRIMMED, lambda n: texts(n, "  " * 200)),
    "a cumulative text": Row(
        responding(GATHERED % ", mode: cumulative", lambda n: sse({"text": "x" * 400}) * n, stream=True),
        1_000,
    ),
    "an echoed prompt": streaming(
        ECHO, lambda n: texts(n, "h" * 4), messages=lambda n: [{"role": "user", "content": "h" * 4 * n}]
    ),
    "characters of raw text": streaming(
        "response: false\nstream: {framing: text, text: $}", lambda n: [b"x" * n], 100_000
    ),
    "values of a pattern": streaming(
        "response: false\nstream: {text: $.text, skip: {$.text: {matches: '(a+)+$'}}}",
        lambda n: texts(8, "a" * n + "!"),
        4_000,
    ),
    "lines that no rule reads": streaming(
        LINES,
        lambda n: ndjson({"x": 1}) * n + ndjson({"t": "x"}),
    ),
}


@pytest.mark.parametrize("name", COMPLETIONS)
def test_reading_a_response_is_linear(name: str) -> None:
    assert_linear(COMPLETIONS[name])


@pytest.mark.parametrize("name", STREAMS)
def test_reading_a_stream_is_linear(name: str) -> None:
    assert_linear(STREAMS[name])
