"""The Responses API: the checks of a request, the encoders of responses and streams, and the endpoint.

A request is translated to a chat request, and the deltas of its response are encoded as output items. Source:
OpenAI's API reference, "Responses" and "Streaming events" (2025).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.core import json
from bridge.openai.endpoint_spec import BodySchema, EndpointSpec, MemberCheck
from bridge.openai.event_stream import EventBuffer
from bridge.openai.request_validation import COMMON_MEMBERS, STRING, missing_member
from bridge.openai.responses_items import OutputItems
from bridge.openai.responses_request import custom_tool_names, responses_to_chat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.deltas import Delta, Usage
    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.openai.response_encoder import ResponseInfo

__all__ = ["RESPONSES", "ResponsesEncoder", "ResponsesStreamEncoder"]

_ID_PREFIX = "resp_"
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}  # reasons by finish reason


class ResponsesEncoder:
    """Encodes deltas as one response."""

    __slots__ = ("_finish", "_info", "_items")

    started = False  # nothing is sent before the end, so that a failure keeps its status

    def __init__(self, info: ResponseInfo) -> None:
        self._info = info
        self._finish = "stop"
        reasoning = info.request_body.get("reasoning") or {}
        summary = reasoning.get("summary") is not None or reasoning.get("generate_summary") is not None
        self._items = OutputItems(
            info.id.removeprefix(_ID_PREFIX),
            custom_tool_names({**info.request_body}),
            self._emit,
            summary=summary,
        )

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """Keep the deltas of the only choice."""
        for delta in deltas:
            if delta.choice == 0:
                self._items.add(delta)
                self._finish = delta.finish_reason or self._finish
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the response."""
        return json.dumps(self._complete(usage))

    def fail(self, error: BridgeError) -> bytes:
        """Return nothing, since nothing was sent."""
        return b""

    def _emit(self, event: str, members: JSONObject) -> None:
        """Ignore an event."""

    def _complete(self, usage: Usage | None) -> JSONObject:
        """End all items, and return the response."""
        reason = _INCOMPLETE.get(self._finish)
        self._items.close("incomplete" if reason else "completed")
        response = self._response("incomplete" if reason else "completed")
        response["incomplete_details"] = {"reason": reason} if reason else None
        response["usage"] = _usage(usage)
        return response

    def _response(self, status: str) -> JSONObject:
        """Return the response as it is now, with the parameters of the request, as OpenAI repeats them."""
        request = self._info.request_body
        reasoning = request.get("reasoning") or {}
        return {
            "id": self._info.id,
            "object": "response",
            "created_at": self._info.created,
            "status": status,
            "completed_at": self._info.created if status == "completed" else None,
            "error": None,
            "incomplete_details": None,
            "model": self._info.model,
            "output": self._items.items,
            "usage": None,
            **{name: _or(request.get(name), default) for name, default in _ECHOED.items()},
            "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
            "text": {"format": {"type": "text"}} | (request.get("text") or {}),
        }


class ResponsesStreamEncoder(ResponsesEncoder):
    """Encodes deltas as a stream of events."""

    __slots__ = ("_events", "_number", "started")

    def __init__(self, info: ResponseInfo) -> None:
        super().__init__(info)
        self._events = EventBuffer()
        self._number = 0  # of the next event
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
        response = self._complete(usage)
        self._emit(f"response.{response['status']}", {"response": response})
        return self._events.take()

    def fail(self, error: BridgeError) -> bytes:
        """Return the events that end a stream that has failed."""
        self._start()
        response = self._response("failed")
        response["error"] = {"code": error.code or error.type, "message": error.message}
        self._emit("response.failed", {"response": response})
        return self._events.take()

    def _start(self) -> None:
        if not self.started:
            self.started = True
            for event in ("response.created", "response.in_progress"):
                self._emit(event, {"response": self._response("in_progress")})

    def _emit(self, event: str, members: JSONObject) -> None:
        self._events.add(event, {**members, "sequence_number": self._number})
        self._number += 1


_ECHOED: Final[JSONObject] = {
    "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "parallel_tool_calls": True,
    "previous_response_id": None, "prompt_cache_key": None, "safety_identifier": None,
    "service_tier": "default", "store": False, "temperature": 1.0, "tool_choice": "auto", "tools": [],
    "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "user": None, "metadata": {},
    "background": False, "presence_penalty": 0.0, "frequency_penalty": 0.0,
}  # fmt: skip
"""The parameters that a response repeats, with their values where the request has none."""


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _usage(usage: Usage | None) -> JSONObject | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }


def _check_input(body: JSONObject) -> None:
    if body.get("input") is None:
        raise missing_member("input")


def _expand_sample(text: Any) -> JSONObject:
    return {"output": [{"type": "message", "content": [{"type": "output_text", "text": str(text)}]}]}


_OBJECT = MemberCheck("an object", (dict,))
_MEMBERS = {
    **{name: COMMON_MEMBERS[name] for name in ("model", "stream", "temperature", "top_p", "tools", "user")},
    "input": MemberCheck("a string or an array of items", (str, list)),
    "instructions": STRING,
    "max_output_tokens": MemberCheck("an integer", (int,)),
    "metadata": _OBJECT,
    "reasoning": _OBJECT,
    "text": _OBJECT,
    "include": MemberCheck("an array", (list,)),
    "tool_choice": COMMON_MEMBERS["tool_choice"],
    "previous_response_id": STRING,
}

RESPONSES: Final = EndpointSpec(
    name="responses",
    path="responses",
    operation="chat",
    input_member="input",
    body=BodySchema.of(_MEMBERS, _check_input),
    has_messages=True,
    example={"input": "Hello!"},
    estimate_prompt=None,
    output="text",
    slots=("text", "reasoning", "finish_reason", "tool_calls"),
    object="response",
    id_prefix=_ID_PREFIX,
    encoder=ResponsesEncoder,
    stream_encoder=ResponsesStreamEncoder,
    expand_sample=_expand_sample,
    to_chat=responses_to_chat,
)
