"""Upstream responses with text, tool calls or both, in each tool format.

    SERVERS["anthropic"].whole("Let me see.", [ModelCall("c1", "pick", {"n": 1})])  ─▶ a body
    SERVERS["anthropic"].streamed("Let me see.", [ModelCall(…)], pieces)            ─▶ frames

Written from the public references of the APIs: Anthropic's and Bedrock's streams of blocks, Gemini's chunks,
Cohere's v2 events, Ollama's lines. `pieces` splits the arguments of a call if the upstream streams fragments.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from tests.tool_formats.format_routes import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SERVERS", "Format", "ModelCall", "event_stream"]

Body = dict[str, Any]


class ModelCall(NamedTuple):
    """A tool call of a model."""

    id: str
    name: str
    arguments: Body


class Format(NamedTuple):
    """A tool format: the rules of a route, and responses. `ids`: the format has ids of calls."""

    rules: str
    whole: Callable[[str, list[ModelCall]], bytes]
    streamed: Callable[[str, list[ModelCall], Callable[[str], list[str]]], list[bytes]]
    ids: bool = True


def _anthropic_whole(text: str, calls: list[ModelCall]) -> bytes:
    content: list[Body] = [{"type": "text", "text": text}] if text else []
    content += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in calls
    ]
    reason = "tool_use" if calls else "end_turn"
    return _json({"id": "msg_1", "type": "message", "role": "assistant", "content": content,
                  "stop_reason": reason, "usage": {"input_tokens": 9, "output_tokens": 5}})  # fmt: skip


def _anthropic_streamed(text: str, calls: list[ModelCall], pieces: Any) -> list[bytes]:
    def events() -> Iterator[Body]:
        yield {"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "content": []}}
        index = 0
        if text:
            yield _block(index, {"type": "text", "text": ""})
            yield {"type": "ping"}
            yield _delta(index, {"type": "text_delta", "text": text})
            yield {"type": "content_block_stop", "index": index}
            index += 1
        for call in calls:
            yield _block(index, {"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
            yield _delta(index, {"type": "input_json_delta", "partial_json": ""})
            for piece in pieces(json.dumps(call.arguments)) if call.arguments else []:
                yield _delta(index, {"type": "input_json_delta", "partial_json": piece})
            yield {"type": "content_block_stop", "index": index}
            index += 1
        reason = "tool_use" if calls else "end_turn"
        yield {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}}
        yield {"type": "message_stop"}

    return [_event(event["type"], event) for event in events()]


def _block(index: int, block: Body) -> Body:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: int, delta: Body) -> Body:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _bedrock_whole(text: str, calls: list[ModelCall]) -> bytes:
    content: list[Body] = [{"text": text}] if text else []
    content += [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}} for call in calls
    ]
    return _json({"output": {"message": {"role": "assistant", "content": content}},
                  "stopReason": "tool_use" if calls else "end_turn"})  # fmt: skip


def _bedrock_streamed(text: str, calls: list[ModelCall], pieces: Any) -> list[bytes]:
    def events() -> Iterator[tuple[str, Body]]:
        yield "messageStart", {"role": "assistant", "p": "abc"}
        index = 0
        if text:
            yield "contentBlockDelta", {"contentBlockIndex": index, "delta": {"text": text}}
            yield "contentBlockStop", {"contentBlockIndex": index}
            index += 1
        for call in calls:
            begun = {"toolUse": {"toolUseId": call.id, "name": call.name}}
            yield "contentBlockStart", {"contentBlockIndex": index, "start": begun, "p": "abcdef"}
            for piece in pieces(json.dumps(call.arguments)) if call.arguments else []:
                said = {"toolUse": {"input": piece}}
                yield "contentBlockDelta", {"contentBlockIndex": index, "delta": said, "p": "a"}
            yield "contentBlockStop", {"contentBlockIndex": index}
            index += 1
        yield "messageStop", {"stopReason": "tool_use" if calls else "end_turn"}
        yield "metadata", {"usage": {"inputTokens": 9, "outputTokens": 5, "totalTokens": 14}}

    return [event_stream(name, event) for name, event in events()]


def event_stream(name: str, payload: Body) -> bytes:
    """One message of an AWS event stream."""
    told = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + len(value).to_bytes(2, "big") + value.encode()
        for key, value in told.items()
    )
    data = _json(payload)
    lengths = (len(headers) + len(data) + 16).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    message = lengths + crc32(lengths).to_bytes(4, "big") + headers + data
    return message + crc32(message).to_bytes(4, "big")


def _gemini_part(call: ModelCall) -> Body:
    return {"functionCall": {"name": call.name, "args": call.arguments}}


def _gemini_whole(text: str, calls: list[ModelCall]) -> bytes:
    parts: list[Body] = [{"text": text}] if text else []
    return _json(_candidate(parts + list(map(_gemini_part, calls)), "STOP"))


def _gemini_streamed(text: str, calls: list[ModelCall], pieces: Any) -> list[bytes]:
    """Return a stream with the first call alone in a chunk and all others in the next chunk."""
    parts = list(map(_gemini_part, calls))
    chunks = [[{"text": text}] if text else [], parts[:1], parts[1:]]
    told = [_candidate(chunk) for chunk in chunks if chunk]
    return [b"data: " + _json(body) + b"\r\n\r\n" for body in [*told, _candidate([{"text": ""}], "STOP")]]


def _candidate(parts: list[Body], reason: str = "") -> Body:
    ended = {"finishReason": reason} if reason else {}
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **ended}]}


def _cohere_call(call: ModelCall) -> Body:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _cohere_whole(text: str, calls: list[ModelCall]) -> bytes:
    message: Body = {"role": "assistant"}
    if calls:
        message |= {"tool_plan": text, "tool_calls": list(map(_cohere_call, calls))}
    else:
        message["content"] = [{"type": "text", "text": text}]
    return _json({"id": "m1", "message": message, "finish_reason": "TOOL_CALL" if calls else "COMPLETE"})


def _cohere_streamed(text: str, calls: list[ModelCall], pieces: Any) -> list[bytes]:
    def events() -> Iterator[Body]:
        yield {"type": "message-start", "id": "m1", "delta": {"message": {"role": "assistant"}}}
        if text and calls:
            yield {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": text}}}
        elif text:
            block = {"type": "text", "text": ""}
            yield {"type": "content-start", "index": 0, "delta": {"message": {"content": block}}}
            yield {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}}
            yield {"type": "content-end", "index": 0}
        for index, call in enumerate(calls):
            begun = _cohere_call(call) | {"function": {"name": call.name, "arguments": ""}}
            yield {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": begun}}}
            for piece in pieces(json.dumps(call.arguments)):
                said = {"tool_calls": {"function": {"arguments": piece}}}
                yield {"type": "tool-call-delta", "index": index, "delta": {"message": said}}
            yield {"type": "tool-call-end", "index": index}
        yield {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL" if calls else "COMPLETE"}}

    return [_event(event["type"], event) for event in events()]


def _ollama_call(call: ModelCall) -> Body:
    return {"function": {"name": call.name, "arguments": call.arguments}}


def _ollama_line(message: Body, *, done: bool = False) -> Body:
    ended = {"done_reason": "stop", "prompt_eval_count": 9, "eval_count": 5} if done else {}
    return {"model": "m", "message": {"role": "assistant", "content": "", **message}, "done": done, **ended}


def _ollama_whole(text: str, calls: list[ModelCall]) -> bytes:
    told = {"tool_calls": list(map(_ollama_call, calls))} if calls else {}
    return _json(_ollama_line({"content": text, **told}, done=True))


def _ollama_streamed(text: str, calls: list[ModelCall], pieces: Any) -> list[bytes]:
    """Return a stream with the first call alone in a line and all others in the next line."""
    parts = list(map(_ollama_call, calls))
    said = [{"content": text}] if text else []
    called = [{"tool_calls": some} for some in (parts[:1], parts[1:]) if some]
    lines = [_ollama_line(message) for message in said + called]
    return [_json(line) + b"\n" for line in [*lines, _ollama_line({}, done=True)]]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _event(name: str, value: Body) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _json(value))


SERVERS = {
    "ollama": Format(RULES["ollama"], _ollama_whole, _ollama_streamed, ids=False),
    "anthropic": Format(RULES["anthropic"], _anthropic_whole, _anthropic_streamed),
    "gemini": Format(RULES["gemini"], _gemini_whole, _gemini_streamed, ids=False),
    "bedrock": Format(RULES["bedrock"], _bedrock_whole, _bedrock_streamed),
    "cohere": Format(RULES["cohere"], _cohere_whole, _cohere_streamed),
}
"""By the format's name."""
