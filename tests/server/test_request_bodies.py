"""What clients send: bodies of every kind, on real connections. Nothing of it is a fault of the bridge's."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.raw_client import CHAT, HELLO, RunningBridge, run_bridge
from tests.raw_upstream import UpstreamServer, http_response, responder, run_upstream
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


def running_before(server: UpstreamServer) -> Any:
    return run_bridge(ROUTES, {"UPSTREAM": server.url})


async def test_the_body_reaches_the_server_as_it_is(server: UpstreamServer) -> None:
    data = b'{ "model":"m", "messages":[{"role":"user","content":"\\u00e9"}], "x_new": {"a": [1.0, 1e5]} }'
    async with running_before(server) as bridge:
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


async def test_a_wrong_type_is_named(server: UpstreamServer) -> None:
    async with running_before(server) as bridge, bridge.connect() as client:
        for name, value in WRONG:  # all on one connection, which stays usable
            await client.send({**HELLO, name: value})
            answer = await client.response()
            error = answer.error()
            assert (answer.status, error["param"]) == (400, name), (name, value)
            assert error["type"] == "invalid_request_error"
    assert not server.requests


PLACES: list[tuple[Any, str]] = [
    ([], "messages"),
    (["hello"], "messages[0]"),
    ([None], "messages[0]"),
    ([{"content": "hello"}], "messages[0].role"),
    ([{"role": 1, "content": "hello"}], "messages[0].role"),
    ([{"role": "user", "content": "a"}, {"role": "user", "content": 5}], "messages[1].content"),
    ([{"role": "user", "content": {}}], "messages[0].content"),
    ([{"role": "user", "content": ["a"]}], "messages[0].content[0]"),
]


@pytest.mark.parametrize(("messages", "place"), PLACES)
async def test_a_wrong_message_is_named(messages: Any, place: str, server: UpstreamServer) -> None:
    async with running_before(server) as bridge:
        answer = await bridge.request({"model": "m", "messages": messages})
        assert (answer.status, answer.error()["param"]) == (400, place)


@pytest.mark.parametrize("prompt", [1, {}, [1, "a"], [["a"]], [1.5], True])
async def test_a_wrong_prompt_is_named(prompt: Any, server: UpstreamServer) -> None:
    async with running_before(server) as bridge:
        answer = await bridge.request({"model": "m", "prompt": prompt}, path="/v1/completions")
        assert (answer.status, answer.error()["param"]) == (400, "prompt")


@pytest.mark.parametrize(
    ("body", "param"),
    [({"messages": HELLO["messages"]}, "model"), ({"model": ""}, "model"), ({"model": None}, "model"),
     ({"model": "m"}, "messages"), ({"model": "m", "messages": None}, "messages")],
)  # fmt: skip
async def test_what_is_missing_is_named(body: dict[str, Any], param: str, server: UpstreamServer) -> None:
    async with running_before(server) as bridge:
        answer = await bridge.request(body)
        assert (answer.status, answer.error()["param"]) == (400, param)
        legacy = await bridge.request({"model": "m"}, path="/v1/completions")
        assert (legacy.status, legacy.error()["param"]) == (400, "prompt")


NO_JSON = {
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


@pytest.mark.parametrize("kind", NO_JSON)
async def test_a_body_that_is_no_json_object_is_400(kind: str, server: UpstreamServer) -> None:
    async with running_before(server) as bridge:
        answer = await bridge.request(NO_JSON[kind])
        assert (answer.status, answer.error()["code"]) == (400, "invalid_json")
    assert not server.requests


def with_member(member: bytes, model: str) -> bytes:
    return b'{"model":"%b","messages":[{"role":"user","content":"a"}],%b}' % (model.encode(), member)


ODD = {
    "NaN": b'"x":NaN',
    "infinity": b'"x":[-Infinity,1e999]',
    "a NaN temperature": b'"temperature":NaN',
    "a huge number": b'"seed":' + b"9" * 400,
    "a huge literal": b'"x":' + b"9" * 5000,
    "half of a character": rb'"user":"\ud83d"',
    "half of one in a name": rb'"\udc00":1',
    "a NUL": rb'"user":"\u0000"',
    "a bare NUL": b'"user":"\0"',
    "no UTF-8": b'"user":"\xff\xfe"',
    "the same member twice": b'"n":"many","n":1',
    "deep": b'"x":' + b"[" * 200 + b"]" * 200,
    "deeper": b'"x":' + b"[" * 300 + b"]" * 300,
    "deepest": b'"x":' + b"[" * 900 + b"]" * 900,
    "deep objects": b'"metadata":' + b'{"a":' * 300 + b"1" + b"}" * 300,
    "many members": b",".join(b'"x%d":1' % number for number in range(2000)),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ODD)
async def test_an_odd_body_is_answered_or_refused(kind: str, model: str, server: UpstreamServer) -> None:
    """A 200 or a 400, whichever: never a fault of the bridge's own. What it changes it sends as JSON."""
    data = with_member(ODD[kind], model)
    async with running_before(server) as bridge:
        answer = await bridge.request(data)
        if answer.status == 200:
            assert answer.completion().choice.text == "hello"
            assert server.requests[0].data == data or isinstance(server.requests[0].body, dict)
        else:
            assert answer.status == 400
            answer.error()


async def test_of_a_member_that_is_there_twice_the_last_counts(server: UpstreamServer) -> None:
    async with running_before(server) as bridge:
        answer = await bridge.request(with_member(b'"model":"renamed"', "nowhere"))
        assert answer.completion().choice.text == "hello"
    assert server.requests[0].body["model"] == "other"


async def test_a_body_over_its_limit_is_413(server: UpstreamServer) -> None:
    def filled(model: str, size: int) -> dict[str, Any]:
        return {"model": model, "messages": [{"role": "user", "content": "x" * size}]}

    async with running_before(server) as bridge:
        assert (await bridge.request(filled("m", 60_000))).status == 200
        assert (await bridge.request(filled("wide", 100_000))).status == 200
        for model, size in (("m", 70_000), ("m", 300_000), ("wide", 40_000_000)):
            answer = await bridge.request(filled(model, size))  # all of it is sent before an answer is read
            assert (answer.status, answer.error()["code"]) == (413, "request_too_large")
    assert len(server.requests) == 2


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\nx-trailer: 1\r\n\r\n"])
async def test_an_upload_in_chunks(end: bytes, server: UpstreamServer) -> None:
    data = json.dumps(HELLO).encode()
    async with running_before(server) as bridge, bridge.connect() as client:
        for _ in range(2):
            await client.send(headers={"Transfer-Encoding": "chunked"})
            for number in range(0, len(data), 7):
                piece = data[number : number + 7]
                await client.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await client.write(end)
            assert (await client.response()).completion().choice.text == "hello"
    assert [request.data for request in server.requests] == [data, data]


async def too_much_in_chunks(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.send(headers={"Transfer-Encoding": "chunked"})
        for _ in range(40):  # more than the largest of the limits
            await client.write(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
        answer = await client.response()
        assert (answer.status, answer.error()["code"]) == (413, "request_too_large")


async def test_an_upload_in_chunks_has_the_same_limit(server: UpstreamServer) -> None:
    small = ROUTES.split("  - {models: built")[0]
    async with run_bridge(small, {"UPSTREAM": server.url}) as bridge:
        await too_much_in_chunks(bridge)


async def test_what_is_packed_is_not_unpacked(server: UpstreamServer) -> None:
    async with running_before(server) as bridge:
        for coding in ("gzip", "deflate", "x-none"):
            packed = gzip.compress(json.dumps(HELLO).encode())
            answer = await bridge.request(packed, headers={"Content-Encoding": coding})
            assert (answer.status, answer.error()["code"]) == (415, "unsupported_encoding")
        assert (await bridge.request(HELLO, headers={"Content-Encoding": "identity"})).status == 200


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
async def test_expect_is_heard(expect: str, server: UpstreamServer) -> None:
    data = json.dumps(HELLO).encode()
    async with running_before(server) as bridge, bridge.connect() as client:
        await client.send(headers={"Expect": expect, "Content-Length": str(len(data))})
        assert (await client.head())[0] == 100
        await client.write(data)
        assert (await client.response()).completion().choice.text == "hello"
        await client.send(HELLO)  # the connection is still good
        assert (await client.response()).status == 200


async def test_expect_is_refused_before_the_body_is_sent(server: UpstreamServer) -> None:
    async with running_before(server) as bridge, bridge.connect() as client:
        await client.send(headers={"Expect": "100-continue", "Content-Length": "99999999"})
        answer = await client.response()
        assert (answer.status, answer.error()["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "noise",
    [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
     b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n"],
)  # fmt: skip
async def test_noise_is_a_400(noise: bytes, server: UpstreamServer) -> None:
    async with running_before(server) as bridge:
        async with bridge.connect() as client:
            await client.write(noise)
            answer = await client.response()
            assert (answer.status, answer.error()["code"]) == (400, "bad_request")
            assert await client.at_end()
        assert (await bridge.request(HELLO)).status == 200


async def test_half_a_request_is_nothing(server: UpstreamServer) -> None:
    async with running_before(server) as bridge:
        async with bridge.connect() as client:
            await client.write(b"POST " + CHAT.encode())
            client.writer.write_eof()
            assert await client.at_end()
        assert (await bridge.request(HELLO)).status == 200


async def test_a_chunk_size_that_is_none_is_400(server: UpstreamServer) -> None:
    async with running_before(server) as bridge:
        async with bridge.connect() as client:
            await client.send(headers={"Transfer-Encoding": "chunked"})
            await client.write(b"zz\r\nhello\r\n")
            answer = await client.response()
            assert (answer.status, answer.error()["code"]) == (400, "bad_request")
            assert await client.at_end()
        assert (await bridge.request(HELLO)).status == 200
