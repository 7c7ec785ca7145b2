"""AWS event streams through the bridge: messages, faults and exceptions."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from tests.framing.event_stream_encoder import bedrock_event, event_stream_message, raw_message
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, head, run_upstream
from tests.running_bridge import run_bridge

ROUTES = """
x-common: &common
  upstream: {url: "${UPSTREAM}/model", timeouts: {first_byte: 300ms, idle: 300ms}}
  limits: {frame: 64KiB}
  response: false
  error:
    when: {$.message: {not: null}}
    message: $.message
    type: {field: ":exception-type"}
    status:
      field: ":exception-type"
      map: {throttlingException: 429, validationException: 400}
      default: 502

routes:
  - <<: *common
    models: converse
    stream:
      framing: eventstream
      text: {path: $.delta.text, when: {event: contentBlockDelta}}
      finish_reason: {path: $.stopReason, map: {end_turn: stop, max_tokens: length}}
      usage: {prompt_tokens: $.usage.inputTokens, completion_tokens: $.usage.outputTokens}
      done: {event: metadata}
  - {<<: *common, models: invoke, stream: {framing: eventstream, inner: base64, text: $.completion}}
  - {<<: *common, models: lines, stream: {framing: eventstream, inner: sse, text: $.text, done: "[DONE]"}}
"""

STREAMS = head(200, content_type="application/vnd.amazon.eventstream", transfer_encoding="chunked")


def delta(text: str) -> bytes:
    return bedrock_event(
        "contentBlockDelta", json.dumps({"contentBlockIndex": 0, "delta": {"text": text}}).encode()
    )


def exception(kind: str, message: str) -> bytes:
    payload = json.dumps({"message": message}).encode()
    return event_stream_message({":exception-type": kind, ":message-type": "exception"}, payload)


GOOD = [
    bedrock_event("messageStart", b'{"role":"assistant","p":"abc"}'),
    delta("hel"),
    delta("lo"),
    bedrock_event("contentBlockStop", b'{"contentBlockIndex":0}'),
    bedrock_event("messageStop", b'{"stopReason":"max_tokens"}'),
    bedrock_event("metadata", b'{"usage":{"inputTokens":21,"outputTokens":5,"totalTokens":26}}'),
]


def sends(*messages: bytes, size: int = 0, ends: bool = True):  # type: ignore[no-untyped-def]
    """Return a handler that sends these messages, one per chunk or in chunks of one size."""

    async def behave(peer: Connection) -> None:
        await peer.request()
        body = b"".join(messages)
        pieces = [body[at : at + size] for at in range(0, len(body), size)] if size else messages
        await peer.send(STREAMS + b"".join(map(chunk, pieces)) + (chunk(b"") if ends else b""))

    return behave


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [0, 1, 7, 64, 10_000])
async def test_a_response_of_bedrock_is_read(size: int, *, stream: bool) -> None:
    async with (
        run_upstream(sends(*GOOD, size=size)) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        body = {**HELLO, "model": "converse", "stream": stream, "stream_options": {"include_usage": True}}
        if not stream:
            del body["stream_options"]
        response = await bridge.request(body)
        result = response.stream() if stream else response.completion()
        assert (result.choice.text, result.choice.finish_reason) == ("hello", "length")
        assert result.usage is not None
        assert result.usage["total_tokens"] == 26


FAULTS = {
    "ends without metadata": (GOOD[:3], "upstream_disconnect", ""),
    "ends within a message": (
        [*GOOD[:3], delta("more")[:-1]],
        "upstream_disconnect",
        "ended inside a message",
    ),
    "has a wrong checksum": ([*GOOD[:3], delta("more")[:-1] + b"\0"], "upstream_garbled", "checksum"),
    "has an oversized length": (
        [*GOOD[:3], raw_message(b"", b"{}", total=2**31)],
        "upstream_limit",
        "limits.frame",
    ),
    "sends JSON": ([*GOOD[:3], b'{"message":"no such model"}'], "upstream_garbled", "checksum"),
    "is throttled": ([*GOOD[:3], exception("throttlingException", "slow down")], "", "slow down"),
    "fails": (
        [
            *GOOD[:3],
            event_stream_message(
                {":message-type": "error", ":error-code": "x", ":error-message": "we broke"}
            ),
        ],
        "x",
        "we broke",
    ),
}


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_after_output_ends_with_an_error(fault: str, size: int, *, ends: bool) -> None:
    messages, code, result = FAULTS[fault]
    async with (
        run_upstream(sends(*messages, size=size, ends=ends)) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        stream = (await bridge.request({**HELLO, "model": "converse", "stream": True})).stream()
        assert stream.choice.text == "hello"
        assert stream.error is not None
        assert (stream.error["code"] or "").startswith(code)
        assert not ends or result in stream.error["message"]
        response = await bridge.request({**HELLO, "model": "converse"})
        assert response.status in (429, 502)
        assert not ends or result in response.error()["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["converse", "invoke", "lines"])
@pytest.mark.parametrize(
    ("kind", "status"), [("throttlingException", 429), ("validationException", 400), ("modelError", 502)]
)
async def test_an_exception_has_the_status_of_the_error_rule(
    kind: str, status: int, model: str, *, stream: bool
) -> None:
    async with (
        run_upstream(sends(exception(kind, "no, thank you"))) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request({**HELLO, "model": model, "stream": stream})
        assert response.status == status
        assert response.error()["message"] == "no, thank you"
        assert response.error()["type"] == kind


async def test_base64_payloads_are_read() -> None:
    def wrapped(text: str) -> bytes:
        result = b64encode(json.dumps({"completion": text}).encode()).decode()
        return bedrock_event("chunk", json.dumps({"bytes": result, "p": "abcdefgh"}).encode())

    async with (
        run_upstream(sends(wrapped("hel"), wrapped("lo"))) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request({**HELLO, "model": "invoke"})
        assert response.completion().choice.text == "hello"


async def test_sse_in_messages_is_read() -> None:
    messages = [
        bedrock_event("PayloadPart", piece)
        for piece in (b'data: {"text":"hel', b'lo"}\n\nda', b"ta: [DONE]\n\n")
    ]
    async with (
        run_upstream(sends(*messages)) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request({**HELLO, "model": "lines"})
        assert response.completion().choice.text == "hello"


async def test_an_empty_stream_is_an_error() -> None:
    async with run_upstream(sends()) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for model in ("converse", "invoke", "lines"):
            response = await bridge.request({**HELLO, "model": model})
            assert (response.status, response.error()["code"][:9]) == (502, "upstream_")
