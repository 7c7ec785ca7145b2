"""Anthropic's Messages API: the checks of a request, the encoders of messages and streams, and the endpoint.

A request is translated to a chat request, and the deltas of its response are encoded as blocks. Source:
Anthropic's API reference, "Messages", "Streaming" and "Errors" (version 2023-06-01, as of 2025).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.core import json
from bridge.openai.endpoint_spec import BodySchema, EndpointSpec, MemberCheck
from bridge.openai.event_stream import EventBuffer
from bridge.openai.folded_tool_calls import FoldedToolCalls
from bridge.openai.messages_request import messages_to_chat
from bridge.openai.request_validation import COMMON_MEMBERS, are_strings, check_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.deltas import Delta, Usage
    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.openai.response_encoder import ResponseInfo

__all__ = ["MESSAGES", "MessageEncoder", "MessageStreamEncoder"]

_STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}  # by finish reason
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class MessageEncoder:
    """Encodes deltas as one message."""

    __slots__ = ("_blocks", "_calls", "_finish", "_info", "_open", "_pieces", "_refused")

    started = False  # nothing is sent before the end, so that a failure keeps its status

    def __init__(self, info: ResponseInfo) -> None:
        self._info = info
        self._finish = "stop"
        self._refused = False
        self._blocks: list[JSONObject] = []
        self._open: JSONObject | None = None  # the block that deltas are added to
        self._pieces: list[str] = []  # of the open block
        self._calls = FoldedToolCalls()

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """Keep the deltas of the only choice."""
        for delta in deltas:
            if delta.choice:
                continue
            if delta.reasoning:
                self._add("thinking", delta.reasoning)
            if delta.replaces:
                self._pieces.clear()
            if delta.text:
                self._add("text", delta.text)
            refusal = delta.rest.message.get("refusal") if delta.rest is not None else None
            if isinstance(refusal, str) and refusal:
                self._add("text", refusal)
                self._refused = True  # the finish reason of a refusal is `stop`
            for fragment in delta.tool_calls or ():
                self._calls.add(fragment)
            self._finish = delta.finish_reason or self._finish
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the message."""
        self._end()
        return json.dumps({**self._message(), "stop_reason": self._stop_reason, "usage": _usage(usage)})

    def fail(self, error: BridgeError) -> bytes:
        """Return nothing, since nothing was sent."""
        return b""

    @property
    def _stop_reason(self) -> str:
        if self._calls:
            return "tool_use"
        if self._refused:
            return "refusal"
        return _STOP_REASONS.get(self._finish, "end_turn")

    def _message(self) -> JSONObject:
        return {
            "id": self._info.id, "type": "message", "role": "assistant", "model": self._info.model,
            "content": self._blocks, "stop_reason": None, "stop_sequence": None, "usage": _usage(None),
        }  # fmt: skip

    def _add(self, kind: str, text: str) -> None:
        if self._open is None or self._open["type"] != kind:
            self._close_block()
            block: JSONObject = {"type": kind, kind: ""}
            self._open_block(block | ({"signature": ""} if kind == "thinking" else {}))
        self._pieces.append(text)
        self._emit_delta({"type": f"{kind}_delta", kind: text})

    def _end(self) -> None:
        """End the open block, and add the blocks of calls, each whole."""
        self._close_block()
        for number, call in enumerate(self._calls.complete()):
            arguments = call["function"]["arguments"]
            id_ = call["id"] or f"toolu_{self._info.id.removeprefix('msg_')}_{number}"
            block: JSONObject = {"type": "tool_use", "id": id_, "name": call["function"]["name"], "input": {}}
            self._open_block(block)
            self._emit_delta({"type": "input_json_delta", "partial_json": arguments})
            block["input"] = _arguments(arguments)
            self._open = None
            self._emit("content_block_stop", {"index": len(self._blocks) - 1})

    def _open_block(self, block: JSONObject) -> None:
        self._open, self._pieces = block, []
        self._blocks.append(block)
        self._emit("content_block_start", {"index": len(self._blocks) - 1, "content_block": {**block}})

    def _close_block(self) -> None:
        block = self._open
        if block is None:
            return
        block[block["type"]] = "".join(self._pieces)
        self._open = None
        self._emit("content_block_stop", {"index": len(self._blocks) - 1})

    def _emit_delta(self, delta: JSONObject) -> None:
        self._emit("content_block_delta", {"index": len(self._blocks) - 1, "delta": delta})

    def _emit(self, event: str, members: JSONObject) -> None:
        """Ignore an event."""


class MessageStreamEncoder(MessageEncoder):
    """Encodes deltas as a stream of events."""

    __slots__ = ("_events", "started")

    def __init__(self, info: ResponseInfo) -> None:
        super().__init__(info)
        self._events = EventBuffer()
        self.started = False

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """Return the events of deltas."""
        if deltas:
            self._start()
        super().write(deltas)
        return self._events.take()

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the events that end the stream."""
        self._start()
        self._end()
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        self._emit("message_delta", {"delta": delta, "usage": _usage(usage)})
        self._emit("message_stop", {})
        return self._events.take()

    def fail(self, error: BridgeError) -> bytes:
        """Return the event of an error."""
        self._emit("error", {"error": _error(error)})
        return self._events.take()

    def _start(self) -> None:
        if not self.started:
            self.started = True
            self._emit("message_start", {"message": self._message()})
            self._emit("ping", {})

    def _emit(self, event: str, members: JSONObject) -> None:
        self._events.add(event, members)


def _arguments(text: str) -> Any:
    """Return the arguments of a call; an object with the text if the model did not write an object."""
    try:
        value = json.loads_text(text) if text else {}
    except ValueError:
        return {"text": text}
    return value if isinstance(value, dict) else {"value": value}


def _usage(usage: Usage | None) -> JSONObject:
    """Return token counts. Anthropic counts tokens of its cache apart from the input."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    cached = usage.cached_tokens or 0
    counts = {"input_tokens": max(usage.prompt_tokens - cached, 0), "output_tokens": usage.completion_tokens}
    return counts | {"cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}


def _error(error: BridgeError) -> JSONObject:
    fallback = "api_error" if error.status >= 500 else "invalid_request_error"
    return {"type": _ERROR_TYPES.get(error.status, fallback), "message": error.message}


def error_body(error: BridgeError) -> JSONObject:
    """Return the body of an error response in Anthropic's form."""
    return {"type": "error", "error": _error(error)}


def _expand_sample(text: Any) -> JSONObject:
    return {"content": [{"type": "text", "text": str(text)}]}


_OBJECT = MemberCheck("an object", (dict,))
_SHARED = ("max_tokens", "messages", "model", "stream", "temperature", "tools", "top_p")
_MEMBERS = {
    **{name: COMMON_MEMBERS[name] for name in _SHARED},
    "system": MemberCheck("a string or an array of blocks", (str, list)),
    "stop_sequences": MemberCheck("an array of strings", (), are_strings),
    "tool_choice": _OBJECT,
    "thinking": _OBJECT,
    "metadata": _OBJECT,
    "output_config": _OBJECT,
    "top_k": MemberCheck("an integer", (int,)),
}


MESSAGES: Final = EndpointSpec(
    name="messages",
    path="messages",
    operation="chat",
    input_member="messages",
    body=BodySchema.of(_MEMBERS, check_messages),
    has_messages=True,
    example={"max_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]},
    estimate_prompt=None,
    output="text",
    slots=("text", "reasoning", "finish_reason", "tool_calls"),
    object="message",
    id_prefix="msg_",
    encoder=MessageEncoder,
    stream_encoder=MessageStreamEncoder,
    expand_sample=_expand_sample,
    to_chat=messages_to_chat,
    error_body=error_body,
)
