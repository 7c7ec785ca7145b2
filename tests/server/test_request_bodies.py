"""Request bodies of clients on real connections: valid, invalid, chunked, oversized and malformed."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.raw_client import CHAT, HELLO
from tests.raw_upstream import UpstreamServer, http_response, responder, run_upstream
from tests.running_bridge import RunningBridge, run_bridge
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROUTES = """
routes:
  - {models: m, upstream: "${UPSTREAM}", limits: {body: 64KiB}}
  - {models: wide, upstream: "${UPSTREAM}", limits: {body: 256KiB}}
  - {models: renamed, model: other, upstream: "${UPSTREAM}", limits: {body: 256KiB}}
  - {models: built, upstream: "${UPSTREAM}", request: {body: {all: $.raw, said: $.prompt}}, response: $.text}
"""

MODELS = ["m", "wide", "renamed", "built"]


@pytest.fixture
async def server() -> AsyncIterator[UpstreamServer]:
    async with run_upstream(responder(http_response(completion("hello")))) as server:
        yield server


def bridge_for(server: UpstreamServer) -> Any:
    return run_bridge(ROUTES, {"UPSTREAM": server.url})


async def test_an_unchanged_body_is_forwarded(server: UpstreamServer) -> None:
    data = b'{ "model":"m", "messages":[{"role":"user","content":"\\u00e9"}], "x_new": {"a": [1.0, 1e5]} }'
    async with bridge_for(server) as bridge:
        assert (await bridge.request(data)).completion().choice.text == "hello"
    assert server.requests[0].data == data
    assert server.requests[0].headers["content-type"] == "application/json"


TYPES: dict[str, list[Any]] = {
    "model": [1, ["m"], {}, True],
    "messages": ["hello", {"role": "user"}, 1],
    "stream": ["true", 1, []],
    "stream_options": [True, [], "usage"],
    "n": ["2", 1.5, True, 0, -1, 129],
    "stop": [1, [1], {}, [["a"]]],
    "max_tokens": ["10", 1.5, True, [1]],
    "max_completion_tokens": ["10", 1.5],
    "temperature": ["0.5", True, [0.5]],
    "top_p": ["1", {}],
    "frequency_penalty": ["1"],
    "presence_penalty": ["1"],
    "seed": ["7", 7.5],
    "logit_bias": [[], "a"],
    "logprobs": ["yes", []],
    "top_logprobs": ["5"],
    "tools": [{}, "f"],
    "tool_choice": [1, []],
    "response_format": ["json", []],
    "user": [1, {}],
}
WRONG = [(name, value) for name, values in TYPES.items() for value in values]


async def test_the_error_names_a_parameter_of_the_wrong_type(server: UpstreamServer) -> None:
    async with bridge_for(server) as bridge, bridge.connect() as client:
        for name, value in WRONG:  # all on one connection, which stays usable
            await client.send({**HELLO, name: value})
            response = await client.response()
            error = response.error()
            assert (response.status, error["param"]) == (400, name), (name, value)
            assert error["type"] == "invalid_request_error"
    assert not server.requests


INVALID_MESSAGES: list[tuple[Any, str]] = [
    ([], "messages"),
    (["hello"], "messages[0]"),
    ([None], "messages[0]"),
    ([{"content": "hello"}], "messages[0].role"),
    ([{"role": 1, "content": "hello"}], "messages[0].role"),
    ([{"role": "user", "content": "a"}, {"role": "user", "content": 5}], "messages[1].content"),
    ([{"role": "user", "content": {}}], "messages[0].content"),
    ([{"role": "user", "content": ["a"]}], "messages[0].content[0]"),
]


@pytest.mark.parametrize(("messages", "param"), INVALID_MESSAGES)
async def test_the_error_names_an_invalid_message(messages: Any, param: str, server: UpstreamServer) -> None:
    async with bridge_for(server) as bridge:
        response = await bridge.request({"model": "m", "messages": messages})
        assert (response.status, response.error()["param"]) == (400, param)


@pytest.mark.parametrize("prompt", [1, {}, [1, "a"], [["a"]], [1.5], True])
async def test_the_error_names_an_invalid_prompt(prompt: Any, server: UpstreamServer) -> None:
    async with bridge_for(server) as bridge:
        response = await bridge.request({"model": "m", "prompt": prompt}, path="/v1/completions")
        assert (response.status, response.error()["param"]) == (400, "prompt")


@pytest.mark.parametrize(
    ("body", "param"),
    [({"messages": HELLO["messages"]}, "model"), ({"model": ""}, "model"), ({"model": None}, "model"),
     ({"model": "m"}, "messages"), ({"model": "m", "messages": None}, "messages")],
)  # fmt: skip
async def test_the_error_names_a_missing_parameter(
    body: dict[str, Any], param: str, server: UpstreamServer
) -> None:
    async with bridge_for(server) as bridge:
        response = await bridge.request(body)
        assert (response.status, response.error()["param"]) == (400, param)
        legacy = await bridge.request({"model": "m"}, path="/v1/completions")
        assert (legacy.status, legacy.error()["param"]) == (400, "prompt")


NOT_JSON_OBJECTS = {
    "nothing": b"",
    "blank": b" \r\n ",
    "text": b"hello",
    "cut": json.dumps(HELLO).encode()[:-3],
    "two": json.dumps(HELLO).encode() * 2,
    "single quotes": b"{'model': 'm'}",
    "a comma too many": b'{"model": "m",}',
    "a form": b"model=m&messages=hello",
    "UTF-16": json.dumps(HELLO).encode("utf-16"),
    "NULs": b"\0" * 99,
    "noise": bytes(range(256)),
    "a string": b'"hello"',
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "an endless list": b"[" * 60_000,
    "endless nesting": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "a deep list inside": b'{"model":"m","messages":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
}


@pytest.mark.parametrize("kind", NOT_JSON_OBJECTS)
async def test_a_body_that_is_not_a_json_object_is_400(kind: str, server: UpstreamServer) -> None:
    async with bridge_for(server) as bridge:
        response = await bridge.request(NOT_JSON_OBJECTS[kind])
        assert (response.status, response.error()["code"]) == (400, "invalid_json")
    assert not server.requests


def with_member(member: bytes, model: str) -> bytes:
    return b'{"model":"%b","messages":[{"role":"user","content":"a"}],%b}' % (model.encode(), member)


ODD = {
    "NaN": b'"x":NaN',
    "infinity": b'"x":[-Infinity,1e999]',
    "a NaN temperature": b'"temperature":NaN',
    "a huge number": b'"seed":' + b"9" * 400,
    "a huge literal": b'"x":' + b"9" * 5000,
    "a lone surrogate": rb'"user":"\ud83d"',
    "a lone surrogate in a name": rb'"\udc00":1',
    "a NUL": rb'"user":"\u0000"',
    "a bare NUL": b'"user":"\0"',
    "invalid UTF-8": b'"user":"\xff\xfe"',
    "a duplicate member": b'"n":"many","n":1',
    "deep": b'"x":' + b"[" * 200 + b"]" * 200,
    "deeper": b'"x":' + b"[" * 300 + b"]" * 300,
    "deepest": b'"x":' + b"[" * 900 + b"]" * 900,
    "deep objects": b'"metadata":' + b'{"a":' * 300 + b"1" + b"}" * 300,
    "many members": b",".join(b'"x%d":1' % number for number in range(2000)),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ODD)
async def test_an_unusual_body_is_accepted_or_refused(kind: str, model: str, server: UpstreamServer) -> None:
    """The status is 200 or 400 and never 500. A body that the bridge changes is sent as JSON."""
    data = with_member(ODD[kind], model)
    async with bridge_for(server) as bridge:
        response = await bridge.request(data)
        if response.status == 200:
            assert response.completion().choice.text == "hello"
            assert server.requests[0].data == data or isinstance(server.requests[0].body, dict)
        else:
            assert response.status == 400
            response.error()


@pytest.mark.parametrize("name", ["model", "MODEL", "Model"])
async def test_a_model_that_the_upstream_may_read_otherwise_is_not_forwarded(
    server: UpstreamServer, name: str
) -> None:
    data = b'{"%b":"hidden","messages":[{"role":"user","content":"hi"}],"model":"m"}' % name.encode()
    async with bridge_for(server) as bridge:
        assert (await bridge.request(data)).error()["code"] == "duplicate_parameter"
    assert not server.requests


async def test_an_oversized_body_is_413(server: UpstreamServer) -> None:
    def chat_of_size(model: str, size: int) -> dict[str, Any]:
        return {"model": model, "messages": [{"role": "user", "content": "x" * size}]}

    async with bridge_for(server) as bridge:
        assert (await bridge.request(chat_of_size("m", 60_000))).status == 200
        assert (await bridge.request(chat_of_size("wide", 100_000))).status == 200
        for model, size in (("m", 70_000), ("m", 300_000), ("wide", 40_000_000)):
            response = await bridge.request(
                chat_of_size(model, size)
            )  # the body is sent completely before the response is read
            assert (response.status, response.error()["code"]) == (413, "request_too_large")
    assert len(server.requests) == 2


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\nx-trailer: 1\r\n\r\n"])
async def test_a_chunked_body_is_accepted(end: bytes, server: UpstreamServer) -> None:
    data = json.dumps(HELLO).encode()
    async with bridge_for(server) as bridge, bridge.connect() as client:
        for _ in range(2):
            await client.send(headers={"Transfer-Encoding": "chunked"})
            for number in range(0, len(data), 7):
                piece = data[number : number + 7]
                await client.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await client.write(end)
            assert (await client.response()).completion().choice.text == "hello"
    assert [request.data for request in server.requests] == [data, data]


async def send_oversized_chunks(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.send(headers={"Transfer-Encoding": "chunked"})
        for _ in range(40):  # more than the largest limit
            await client.write(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
        response = await client.response()
        assert (response.status, response.error()["code"]) == (413, "request_too_large")


async def test_an_oversized_chunked_body_is_413(server: UpstreamServer) -> None:
    small = ROUTES.split("  - {models: built")[0]
    async with run_bridge(small, {"UPSTREAM": server.url}) as bridge:
        await send_oversized_chunks(bridge)


async def test_compressed_bodies_are_refused(server: UpstreamServer) -> None:
    async with bridge_for(server) as bridge:
        for coding in ("gzip", "deflate", "x-none"):
            compressed = gzip.compress(json.dumps(HELLO).encode())
            response = await bridge.request(compressed, headers={"Content-Encoding": coding})
            assert (response.status, response.error()["code"]) == (415, "unsupported_encoding")
        assert (await bridge.request(HELLO, headers={"Content-Encoding": "identity"})).status == 200


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
async def test_expect_100_continue_is_answered(expect: str, server: UpstreamServer) -> None:
    data = json.dumps(HELLO).encode()
    async with bridge_for(server) as bridge, bridge.connect() as client:
        await client.send(headers={"Expect": expect, "Content-Length": str(len(data))})
        assert (await client.head())[0] == 100
        await client.write(data)
        assert (await client.response()).completion().choice.text == "hello"
        await client.send(HELLO)  # the connection is still usable
        assert (await client.response()).status == 200


async def test_an_oversized_body_is_refused_before_100_continue(server: UpstreamServer) -> None:
    async with bridge_for(server) as bridge, bridge.connect() as client:
        await client.send(headers={"Expect": "100-continue", "Content-Length": "99999999"})
        response = await client.response()
        assert (response.status, response.error()["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "noise",
    [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
     b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n"],
)  # fmt: skip
async def test_bytes_that_are_not_a_request_are_400(noise: bytes, server: UpstreamServer) -> None:
    async with bridge_for(server) as bridge:
        async with bridge.connect() as client:
            await client.write(noise)
            response = await client.response()
            assert (response.status, response.error()["code"]) == (400, "bad_request")
            assert await client.at_end()
        assert (await bridge.request(HELLO)).status == 200


async def test_an_incomplete_request_is_ignored(server: UpstreamServer) -> None:
    async with bridge_for(server) as bridge:
        async with bridge.connect() as client:
            await client.write(b"POST " + CHAT.encode())
            client.writer.write_eof()
            assert await client.at_end()
        assert (await bridge.request(HELLO)).status == 200


async def test_an_invalid_chunk_size_is_400(server: UpstreamServer) -> None:
    async with bridge_for(server) as bridge:
        async with bridge.connect() as client:
            await client.send(headers={"Transfer-Encoding": "chunked"})
            await client.write(b"zz\r\nhello\r\n")
            response = await client.response()
            assert (response.status, response.error()["code"]) == (400, "bad_request")
            assert await client.at_end()
        assert (await bridge.request(HELLO)).status == 200


async def test_a_body_that_drips_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.server.request_body._READ_TIMEOUT", 0.3)
    text = "routes: [{models: m, upstream: 'http://127.0.0.1:1'}]"
    async with run_bridge(text, {}) as bridge, bridge.connect() as client:
        await client.send(headers={"Content-Length": "10000"})

        async def drip() -> None:
            while True:
                await client.write(b" ")
                await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        response = await client.response()
        dripping.cancel()
        error = response.error()
        assert (response.status, error["code"]) == (408, "request_timeout")
        assert "under 500 bytes in a second" in error["message"]
